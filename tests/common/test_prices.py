from pathlib import Path

import pytest

from genesis.common.errors import UserError
from genesis.common.prices import COLUMNS, find_price, read_prices

SEED = Path(__file__).parents[2] / "data/seed/prices.csv"
GOOD = "own,box,A100,2,1.5,,312,2026-01-01,mine"


def write(folder: Path, *rows: str, header: str = ",".join(COLUMNS)) -> Path:
    path = folder / "prices.csv"
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return path


def test_the_seed_list_is_declared_and_names_what_the_plan_needs():
    prices = read_prices(SEED)
    assert prices["8xh100"].usd_per_hour("on_demand") == 24
    assert {"1xh200", "8xa100", "1xl4", "1xa10g", "cpu2"} <= set(prices)
    assert all(price.source.startswith("declared") for price in prices.values())
    assert prices["cpu2"].usd_per_hour("on_demand") < 0.10
    assert all((price.usd_per_hour_spot or 0) < price.usd_per_hour_on_demand for price in prices.values())
    assert prices["8xh100"].node_peak_tflops == 8 * 989


def test_a_missing_node_or_market_is_named(tmp_path):
    prices = read_prices(write(tmp_path, GOOD))
    assert prices["box"].node_peak_tflops == 624
    with pytest.raises(UserError, match=r"prices.csv: no price for node 'gone'; known nodes: box; add"):
        find_price(prices, "gone", tmp_path / "prices.csv")
    with pytest.raises(UserError, match=r"node 'box' has no price spot"):
        prices["box"].usd_per_hour("spot")
    with pytest.raises(UserError, match=r"unknown market 'futures'; expected on_demand or spot"):
        prices["box"].usd_per_hour("futures")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (GOOD.replace("1.5", "-1"), "usd_per_hour_on_demand: expected a number above 0, found '-1'"),
        (GOOD.replace("1.5", "nan"), "usd_per_hour_on_demand: expected a number above 0, found 'nan'"),
        (GOOD.replace("1.5", ""), "usd_per_hour_on_demand: expected a number above 0, found ''"),
        (GOOD.replace("312", "fast"), "peak_tflops_bf16: expected a number above 0, found 'fast'"),
        (GOOD.replace(",2,", ",two,"), "gpu_count: expected a whole number"),
        (GOOD.replace("own", ""), "provider: expected text, found nothing"),
        (GOOD + ",more", "expected 9 fields, found 10"),
        (GOOD, "node: 'box' stands twice"),
    ],
)
def test_a_malformed_row_is_named_by_file_line_and_field(tmp_path, row, said):
    with pytest.raises(UserError) as error:
        read_prices(write(tmp_path, GOOD, "", row))
    assert str(error.value).startswith(f"{tmp_path / 'prices.csv'}:4: {said}")


def test_a_file_that_is_no_list_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"prices.csv:1: expected the header provider,node"):
        read_prices(write(tmp_path, header="a,b"))
    with pytest.raises(UserError, match="no node; add a row"):
        read_prices(write(tmp_path))
    (tmp_path / "prices.csv").write_text("")
    with pytest.raises(UserError, match="empty; expected the header"):
        read_prices(tmp_path / "prices.csv")
    (tmp_path / "prices.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"prices.csv:1: not UTF-8"):
        read_prices(tmp_path / "prices.csv")
    with pytest.raises(UserError, match=r"gone.csv: no such file"):
        read_prices(tmp_path / "gone.csv")
