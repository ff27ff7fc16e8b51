"""The gates: each declared target beside its measured value, its interval and the file that the value came from.

A value that nothing has measured gives the verdict `not measured`; it never counts as met.
"""

import operator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genesis.common.errors import UserError
from genesis.common.jsonfile import number, read_json
from genesis.common.prices import usd_text
from genesis.costs.declared import Gate

MET, NOT_MET, NOT_MEASURED = "met", "not met", "not measured"
COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def check_gates(gates: list[Gate], metrics: Path) -> dict[str, dict[str, Any]]:
    """Read each gate's value from the folder `metrics` and judge it.

    Returns:
        By name: the declared gate, `value`, `interval` (95 %, where the file has `<key>_low` and `<key>_high`),
        `verdict`, and `source`, the file and key.

    Raises:
        UserError: a metrics file is damaged.
    """
    return {gate.name: _check(gate, metrics) for gate in gates}


def unmet(gates: dict[str, dict[str, Any]], required: list[str]) -> list[str]:
    """Those of `required` whose verdict is not `met`.

    Raises:
        UserError: a name that is no gate.
    """
    for name in required:
        if name not in gates:
            raise UserError(f"no gate '{name}'; known gates: {', '.join(gates)}")
    return [name for name in required if gates[name]["verdict"] != MET]


def table(gates: dict[str, dict[str, Any]]) -> str:
    """The gates as aligned text."""
    rows = [("gate", "target", "value", "95 % interval", "verdict", "source")]
    for gate in gates.values():
        unit = gate["unit"]
        low_high = " … ".join(_text(value, unit) for value in gate["interval"]) if gate["interval"] else ""
        source = gate["source"] or f"needs {gate['needs']}"
        words = "" if unit in ("share", "USD") else f" {unit}"
        target = f"{gate['comparison']} {_text(gate['target'], unit)}{words}"
        value = "" if gate["value"] is None else _text(gate["value"], unit)
        rows.append((gate["name"], target, value, low_high, gate["verdict"], source))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def _check(gate: Gate, metrics: Path) -> dict[str, Any]:
    value, interval = None, None
    if gate.file and (metrics / gate.file).is_file():
        path = metrics / gate.file
        found = read_json(path)
        value = number(path, found, gate.key) if gate.key in found else None
        ends = [number(path, {name: found.get(name)}, name) for name in (f"{gate.key}_low", f"{gate.key}_high")]
        interval = ends if None not in ends else None
    verdict = NOT_MEASURED
    if value is not None:
        verdict = MET if COMPARE[gate.comparison](value, gate.target) else NOT_MET
    source = f"metrics/{gate.file}: {gate.key}" if gate.file else None
    return {**asdict(gate), "value": value, "interval": interval, "verdict": verdict, "source": source}


def _text(value: float, unit: str) -> str:
    """Shares in percent, dollars with cents (four significant digits below one), else four significant digits."""
    if unit == "share":
        return f"{100 * value:.1f} %"
    if unit == "USD":
        return usd_text(value)
    return f"{value:.4g}"
