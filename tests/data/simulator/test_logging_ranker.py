"""Options of the ranker that ordered the logged pages; without them nothing changes."""

from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd
import pytest
import yaml

from mmrank.data.simulator import simulate
from mmrank.data.tables import load_dataset
from mmrank.outputs import UserError

SMALL = {"items": 60, "queries": 150, "users": 5, "seed": 2}


def within_pages(lists: pd.DataFrame, column: str) -> float:
    """The correlation of a column with the position, each relative to the mean of its page."""
    pages = lists.groupby("list_id")
    parts = [lists[c] - pages[c].transform("mean") for c in (column, "position")]
    return float(np.corrcoef(*parts)[0, 1])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("plain") / "shop"
    simulate(folder, **SMALL)
    return folder


def test_random_pages_keep_the_items_of_the_first_page(
    plain: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    simulate(tmp_path / "shop", **SMALL, randomised=1.0, match=True)
    lists = pd.read_parquet(tmp_path / "shop" / "lists.parquet")
    assert (lists["randomised"] == 1).all()
    usual = pd.read_parquet(plain / "lists.parquet")
    assert "randomised" not in usual
    assert "shared_words" not in usual
    first = [set(t.loc[t["list_id"] == "L0000000", "item_id"]) for t in (lists, usual)]
    assert first[0] == first[1]
    # In random order the position does not depend on the shared words; in the usual order it does.
    simulate(tmp_path / "sorted", **SMALL, match=True)
    ordered = pd.read_parquet(tmp_path / "sorted" / "lists.parquet")
    pd.testing.assert_frame_equal(ordered.drop(columns="shared_words"), usual)
    tie = [within_pages(t, "shared_words") for t in (lists, ordered)]
    assert abs(tie[0]) < 0.08  # about 3,000 rows: a standard deviation of .02
    assert tie[1] < -0.15
    assert load_dataset(tmp_path / "sorted").schema.feature("shared_words").side == "pair"


def test_sales_weight_and_eta_are_recorded_as_the_truth(
    plain: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    simulate(tmp_path / "shop", **SMALL, eta=1.5, sales_weight=3.0)
    actual = yaml.safe_load((tmp_path / "shop" / "simulation.yaml").read_text())
    assert actual["examination_by_position"][:3] == [1.0, round(2**-1.5, 6), round(3**-1.5, 6)]
    sales = pd.read_parquet(plain / "catalog.parquet").set_index("item_id")["sales"]

    def tie(folder: pathlib.Path) -> float:
        lists = pd.read_parquet(folder / "lists.parquet")
        return float(np.corrcoef(np.log1p(sales[lists["item_id"]]), lists["position"])[0, 1])

    assert tie(tmp_path / "shop") < tie(plain) - 0.2


@pytest.mark.parametrize("wrong", [{"eta": -0.1}, {"sales_weight": 11.0}, {"randomised": 1.5}])
def test_values_out_of_range_are_refused(tmp_path: pathlib.Path, wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        simulate(tmp_path / "shop", **SMALL, **wrong)
