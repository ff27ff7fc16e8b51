"""The table of gates in README.md: generated between two marks, so that a test can hold it equal to metrics/gates.json."""

from pathlib import Path

from genesis.common.errors import UserError
from genesis.common.jsonfile import read_json
from genesis.report import tables
from genesis.report.tables import Table

START, END = "<!-- gates -->", "<!-- /gates -->"
SHOWN = 5  # columns: where a value came from stands in the report
NONE = "No run is committed."


def refreshed(text: str, gates: Path) -> str:
    """The README's text with the table of the gates in `gates` between its marks.

    Raises:
        UserError: there is no pair of marks, or the file of gates is damaged.
    """
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise UserError(f"README.md: expected the marks {START} and {END}, with the table of gates between them")
    return f"{before}{START}\n{table(gates)}\n{END}{after}"


def table(gates: Path) -> str:
    """Verdict, gate, target, value and interval as Markdown."""
    if not gates.is_file():
        return NONE
    whole = tables.gates(read_json(gates))
    return Table(whole.columns[:SHOWN], [row[:SHOWN] for row in whole.rows], texts=frozenset({0, 1})).markdown()
