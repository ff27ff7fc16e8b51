"""The price list, data/seed/prices.csv: what one hour of each node costs, on demand and spot.

All prices are declared list prices; a row more, or a file of one's own (`cost.prices`), is all that a new node needs.
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from genesis.common.chat import raise_first, read_lines
from genesis.common.errors import UserError

MARKETS = ("on_demand", "spot")
TEXTS = ("provider", "node", "gpu", "date", "source")
NUMBERS = ("usd_per_hour_on_demand", "usd_per_hour_spot", "peak_tflops_bf16")
COLUMNS = ("provider", "node", "gpu", "gpu_count", *NUMBERS, "date", "source")


@dataclass
class Cost:
    """Section `cost`.

    Attributes:
        node: the row of the price list that runs the stages.
        market: on_demand or spot.
        vendor: whose agents are the baseline, as data/seed/declared.yaml names them.
        prices, declared: the two declared inputs.
        mfu: share of a GPU node's peak for projections; null takes the declared one.
    """

    node: str = "cpu2"
    market: str = "on_demand"
    vendor: str = "openai"
    prices: str = "data/seed/prices.csv"
    declared: str = "data/seed/declared.yaml"
    mfu: float | None = None


@dataclass(frozen=True)
class Price:
    """One node of the list.

    Attributes:
        provider, node: who rents it out, and the name that `cost.node` uses.
        gpu, gpu_count: what it holds; a CPU node has gpu `none` and count 0.
        usd_per_hour_on_demand, usd_per_hour_spot: for the whole node; spot is None where it is not offered.
        peak_tflops_bf16: dense bf16 peak of one GPU; for a CPU node, of the whole node in float32.
        date, source: when and where the price was read.
    """

    provider: str
    node: str
    gpu: str
    gpu_count: int
    usd_per_hour_on_demand: float
    usd_per_hour_spot: float | None
    peak_tflops_bf16: float
    date: str
    source: str

    @property
    def node_peak_tflops(self) -> float:
        """The peak of all its GPUs together, or of its cores."""
        return self.peak_tflops_bf16 * max(1, self.gpu_count)

    def usd_per_hour(self, market: str) -> float:
        """Its price on a market.

        Raises:
            UserError: unknown market, or the node is not offered there.
        """
        if market not in MARKETS:
            raise UserError(f"cost.market: unknown market '{market}'; expected {' or '.join(MARKETS)}")
        price = getattr(self, f"usd_per_hour_{market}")
        if price is None:
            raise UserError(
                f"node '{self.node}' has no price {market}; fill usd_per_hour_{market}, or change cost.market"
            )
        return price


def read_prices(path: Path) -> dict[str, Price]:
    """Read the list, by node.

    Raises:
        UserError: file:line: field of the first bad row and the count of all; a node twice; no row at all.
    """
    lines = list(read_lines(path))
    if not lines:
        raise UserError(f"{path}: empty; expected the header {','.join(COLUMNS)}")
    (first, _), *_ = lines
    header, *rows = csv.reader(text for _, text in lines)
    if tuple(name.strip() for name in header) != COLUMNS:
        raise UserError(f"{path}:{first}: expected the header {','.join(COLUMNS)}")
    prices: dict[str, Price] = {}
    problems = []
    for (number, _), cells in zip(lines[1:], rows, strict=False):
        found = _price([cell.strip() for cell in cells])
        if isinstance(found, str):
            problems.append(f"{path}:{number}: {found}")
        elif found.node in prices:
            problems.append(f"{path}:{number}: node: '{found.node}' stands twice; give it another name")
        else:
            prices[found.node] = found
    raise_first(problems)
    if not prices:
        raise UserError(f"{path}: no node; add a row for the one you run on")
    return prices


def find_price(prices: dict[str, Price], node: str, path: Path) -> Price:
    """The row of one node.

    Raises:
        UserError: it is not on the list; names it and the nodes that are.
    """
    if node not in prices:
        raise UserError(f"{path}: no price for node '{node}'; known nodes: {', '.join(prices)}; add a row for it")
    return prices[node]


def own_price(cost: Cost) -> Price:
    """The row of the node that runs the stages.

    Raises:
        UserError: see `read_prices` and `find_price`.
    """
    return find_price(read_prices(Path(cost.prices)), cost.node, Path(cost.prices))


def usd_text(usd: float) -> str:
    """Dollars with cents; four significant digits below one dollar."""
    return f"${usd:,.2f}" if usd >= 1 or usd == 0 else f"${usd:.4g}"


def _price(cells: list[str]) -> Price | str:
    """A row, or what is wrong with it."""
    if len(cells) != len(COLUMNS):
        return f"expected {len(COLUMNS)} fields, found {len(cells)}"
    row = dict(zip(COLUMNS, cells, strict=True))
    for name in TEXTS:
        if not row[name]:
            return f"{name}: expected text, found nothing"
    if not row["gpu_count"].isdecimal():
        return f"gpu_count: expected a whole number (0 for a CPU node), found '{row['gpu_count']}'"
    numbers: dict[str, float | None] = {}
    for name in NUMBERS:
        if name == "usd_per_hour_spot" and not row[name]:
            numbers[name] = None
            continue
        value = _positive(row[name])
        if value is None:
            return f"{name}: expected a number above 0, found '{row[name]}'"
        numbers[name] = value
    return Price(**{name: row[name] for name in TEXTS}, gpu_count=int(row["gpu_count"]), **numbers)


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
