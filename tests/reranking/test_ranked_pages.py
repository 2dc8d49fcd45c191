"""Pages of a ranker, and what users of a simulated shop know of them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from mmrank.config import ConfigError
from mmrank.data.simulator.clicks import ClickModel
from mmrank.data.simulator.world import ATTRIBUTES
from mmrank.data.tables import DataError, load_dataset
from mmrank.reranking.columns import PageColumns
from mmrank.reranking.ranked_pages import ranked_pages, seen_page, unit_vectors
from mmrank.reranking.ranker_pages import pages_of_ranker
from mmrank.reranking.shop_truth import ShopTruth

SIZE = 4
COLUMNS = PageColumns(click="", purchase="", dwell="")


@pytest.fixture(scope="module")
def truth(dataset) -> ShopTruth:
    return ShopTruth.of(load_dataset(dataset.folder))


@pytest.fixture(scope="module")
def pages(run, dataset, truth):
    return ranked_pages(run, dataset, dataset.rows("test"), COLUMNS, SIZE, truth)


def test_pages_are_the_top_of_the_rankers_lists(run, dataset, pages) -> None:
    rows = dataset.rows("test")
    scores = run.score(dataset, rows)
    encoded = run.encode(dataset, rows)
    known = dict(zip(np.unique(run.arrays(dataset, rows).candidates), range(10**6), strict=False))
    for page, (_, part) in zip(
        pages, rows.assign(s=scores).groupby("list_id", sort=False), strict=True
    ):
        best = part.sort_values("s", ascending=False, kind="stable").iloc[:SIZE]
        assert page.item.tolist() == best["item_id"].tolist()
        np.testing.assert_allclose(page.score, best["s"], rtol=1e-5)
        np.testing.assert_allclose(page.attraction, 1 / (1 + np.exp(-best["s"])), rtol=1e-5)
        catalog = dataset.catalog.set_index("item_id").loc[best["item_id"]]
        np.testing.assert_allclose(page.price, catalog["price"])
        assert page.group.tolist() == catalog["brand"].tolist()
        for vector, number in zip(page.vector, best["_item"], strict=True):
            tokens = encoded["tokens"][known[number]][encoded["present"][known[number]]]
            mean = tokens.sum(0)
            np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


def test_the_truth_is_that_of_the_click_model(dataset, pages) -> None:
    model, grades = ClickModel(), dataset.lists.set_index(["list_id", "item_id"])["grade"]
    lists = dataset.rows("test")["list_id"].drop_duplicates()
    table = pd.read_parquet(dataset.folder / "truth.parquet").set_index("item_id")
    for page, name in zip(pages, lists, strict=True):
        for k, item in enumerate(page.item):
            grade = int(grades[name, item])
            assert page.real.attraction[k] == pytest.approx(float(model.attraction(grade)))
            assert page.real.purchase[k] == model.purchase[grade]
            median, sigma = model.dwell_median[grade], model.dwell_sigma
            assert page.real.dwell[k] == pytest.approx(median * math.exp(sigma**2 / 2))
            longer = 0.5 * math.erfc((math.log(30) - math.log(median)) / sigma / math.sqrt(2))
            assert page.real.satisfaction[k] == pytest.approx(longer)
        first, second = table.loc[page.item[0]], table.loc[page.item[1]]
        names = ["type", *ATTRIBUTES]
        alike = sum(first[n] == second[n] for n in names) / len(names)
        assert page.real.vector[0] @ page.real.vector[1] == pytest.approx(alike)


def test_what_is_not_known_has_its_usual_value() -> None:
    given = {"score": np.zeros(3), "tasks": {"click": np.full(3, 0.2)}, "vector": np.ones([3, 1])}
    page = seen_page(PageColumns(), price=np.array([-1.0, 4.0, 9.0]), **given)
    assert page.price.tolist() == pytest.approx([6.0, 4.0, 9.0])
    assert page.attraction.tolist() == [0.2] * 3
    assert page.purchase.tolist() == page.dwell.tolist() == [0.0] * 3
    nothing = seen_page(PageColumns(), price=np.full(3, np.nan), **given)
    assert nothing.price.tolist() == [1.0] * 3


def test_an_item_with_nothing_present_has_no_direction() -> None:
    vectors = unit_vectors(np.ones([1, 2, 3]), np.zeros([1, 2], bool))
    assert vectors.tolist() == [[0.0] * 3]


def test_pages_to_learn_from_and_to_compare_on(run, dataset) -> None:
    pages = pages_of_ranker(run, dataset, PageColumns(), SIZE, most_test=2)
    assert len(pages.test) == 2
    assert len(pages.train) == dataset.rows("train")["list_id"].nunique()
    assert pages.columns == COLUMNS
    drawn = pages.draw(np.random.default_rng(1))
    assert any(drawn is page for page in pages.train)


def test_refusals(run, dataset, tmp_path) -> None:
    elsewhere = dataclasses.replace(dataset, folder=tmp_path)
    with pytest.raises(ConfigError, match="no task of clicks"):
        pages_of_ranker(run, elsewhere, PageColumns(), SIZE, most_test=2)
    (tmp_path / "simulation.yaml").write_text("click_model: {eta: 1}\n")
    with pytest.raises(DataError, match="write the shop again"):
        ShopTruth.of(dataclasses.replace(dataset, folder=tmp_path))
    few = dataset.lists[dataset.lists["_split"] == "train"]
    with pytest.raises(DataError, match="no test list has two candidates"):
        pages_of_ranker(
            run, dataclasses.replace(dataset, lists=few), PageColumns(), SIZE, most_test=2
        )
