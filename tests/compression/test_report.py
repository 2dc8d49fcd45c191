"""The loss of a smaller ranker, against NDCG computed by hand."""

from __future__ import annotations

import math
import pathlib

import numpy as np
import pytest

from mmrank.compression.report import (
    CompressionRefused,
    Measured,
    Quality,
    as_table,
    check_loss,
    qualities,
)
from mmrank.data.tables import Dataset, load_dataset
from mmrank.evaluation.significance import Interval

GRADES = (3.0, 0.0, 1.0)


@pytest.fixture
def shop(tmp_path: pathlib.Path) -> Dataset:
    """Two lists of three candidates; each list has one grade 3 and one grade 1."""
    (tmp_path / "schema.yaml").write_text(
        "catalog: {file: catalog.csv}\nlists: {file: lists.csv, split: split}\nfeatures:\n"
        "  - {name: price, kind: number, side: item}\n"
        "  - {name: grade, kind: number, side: label}\n"
    )
    (tmp_path / "catalog.csv").write_text("item_id,price\na,1\nb,2\nc,3\n")
    rows = [f"{n},{i},{g:g},valid" for n in (1, 2) for i, g in zip("abc", GRADES, strict=True)]
    (tmp_path / "lists.csv").write_text("\n".join(["list_id,item_id,grade,split", *rows]) + "\n")
    return load_dataset(tmp_path)


def ndcg(order: list[float]) -> float:
    """NDCG with gains 2^grade − 1; `order` has the grades from the first position to the last."""

    def dcg(grades: list[float]) -> float:
        return sum((2**g - 1) / math.log2(i + 2) for i, g in enumerate(grades))

    return dcg(order) / dcg(sorted(order, reverse=True))


def test_loss_is_the_lost_share_of_ndcg(shop: Dataset) -> None:
    rows = shop.rows("valid")
    scores = {
        "as trained": np.array([9.0, 1, 5, 9, 1, 5]),
        "worse": np.array([9.0, 1, 5, 1, 9, 5]),  # second list: from grade 0 to 3
        "same": np.array([3.0, 1, 2, 3, 1, 2]),
    }
    found = qualities(shop, rows, "grade", scores)
    worst = ndcg([0.0, 1.0, 3.0])
    assert found["as trained"].ndcg == pytest.approx(1)
    assert found["as trained"].change is None
    assert found["worse"].ndcg == pytest.approx((1 + worst) / 2)
    assert found["worse"].loss == pytest.approx((1 - worst) / 2)
    assert found["worse"].change is not None
    assert found["worse"].change.mean == pytest.approx((worst - 1) / 2)
    assert found["same"].loss == 0


def test_a_loss_above_the_limit_is_refused() -> None:
    check_loss("int8 items", Quality(0.5, loss=0.01), 0.01)
    check_loss("int8 items", Quality(0.5, loss=-0.2), 0)
    with pytest.raises(CompressionRefused) as error:
        check_loss("prune=0.9, int8 items", Quality(0.5, loss=0.0213), 0.01)
    for word in ("prune=0.9, int8 items", "2.13%", "1.00%", "--max-loss 0.022"):
        assert word in str(error.value)


def test_table_has_a_row_per_ranker_and_dashes_for_missing_figures() -> None:
    change = Interval(-0.01, -0.02, 0.005, 7)
    table = as_table(
        {"as trained": Quality(0.5), "int8 items": Quality(0.49, change, 0.02)},
        {"as trained": Measured(3 * 2**20, 2**19, 4.25)},
        ["a note"],
    )
    head, first, second, note = table.splitlines()
    assert head.split()[:5] == ["MB", "gzip", "MB", "ms", "ndcg@10"]
    assert first.split() == ["as", "trained", "3.00", "0.50", "4.25", "0.5000"]
    assert second.split()[2:6] == ["–", "–", "–", "0.4900"]
    assert "-2.00% [-0.0200 +0.0050]" in second
    assert note == "a note"
