"""Several tasks in the export: every output, the order, and another order without training."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from mmrank.build import build_features, build_model
from mmrank.config import Config, Loss, Task
from mmrank.data.tables import Dataset, load_dataset
from mmrank.serving.export import export_run
from mmrank.serving.ranker import Ranker
from mmrank.serving.request import RankError
from mmrank.trained_run import Run

TASKS = {
    "click": Task(),
    "purchase": Task(given="click"),
    "stay": Task(label="dwell", loss=Loss("mean_squared_loss")),
}
CALIBRATION = {"purchase": (1.5, -0.25)}


@pytest.fixture(scope="module")
def shop(tiny_shop) -> Dataset:
    return load_dataset(tiny_shop)


@pytest.fixture(scope="module")
def run(shop, tiny_config) -> Run:
    """A ranker on numbers with random weights and a calibration."""
    kept = ("price", "sales")
    drop = [f.name for f in shop.schema.side("item", "query", "user") if f.name not in kept]
    config: Config = dataclasses.replace(
        tiny_config,
        model=dataclasses.replace(
            tiny_config.model, drop=tuple(drop), order="click^0.3 * purchase^0.7"
        ),
        training=dataclasses.replace(tiny_config.training, tasks=TASKS),
    )
    tf.keras.utils.set_random_seed(5)
    features = build_features(config, shop.schema)
    features.fit(shop)
    model = build_model(config, features, CALIBRATION)
    return Run(pathlib.Path("nowhere"), config, shop.folder, features, model)


@pytest.fixture(scope="module")
def exported(run, shop, tmp_path_factory) -> pathlib.Path:
    return export_run(run, tmp_path_factory.mktemp("tasks") / "export", shop)


@pytest.fixture(scope="module")
def outputs(run, shop) -> tuple[list[str], dict[str, np.ndarray]]:
    """The items of a list, and the outputs of its tasks in plain NumPy."""
    rows = shop.rows("test")
    rows = rows[rows["list_id"] == rows["list_id"].iloc[0]]
    raw = {n: v.astype(np.float64) for n, v in run.raw(shop, rows).items()}
    slope, offset = CALIBRATION["purchase"]
    return list(rows["item_id"]), {
        "click": 1 / (1 + np.exp(-raw["click"])),
        "purchase": 1 / (1 + np.exp(-(slope * raw["purchase"] + offset))),
        "stay": np.maximum(np.expm1(raw["stay"]), 0.001),
    }


def test_every_output_is_that_of_the_model(exported, outputs, run, shop):
    items, expected = outputs
    ranker = Ranker.load(exported)
    assert ranker.tasks == tuple(TASKS)
    given = ranker.outputs(candidates=items)
    for name, values in expected.items():
        np.testing.assert_allclose(given[name], values, rtol=1e-4)
    scores = 0.3 * np.log(expected["click"]) + 0.7 * np.log(expected["purchase"])
    np.testing.assert_allclose(given["scores"], scores, rtol=1e-4)
    rows = shop.rows("test")
    rows = rows[rows["list_id"] == rows["list_id"].iloc[0]]
    np.testing.assert_allclose(given["scores"], run.score(shop, rows), rtol=1e-5)
    first = ranker.rank(candidates=items)[0]
    assert first.index == int(np.argmax(scores))
    assert first.outputs == pytest.approx(
        {n: v[first.index] for n, v in expected.items()}, rel=1e-4
    )


def test_raw_candidates_and_padding(exported, outputs, shop):
    """Raw features have the same outputs as ids; padding has the score −1e9 and outputs of 0."""
    items, expected = outputs
    ranker = Ranker.load(exported)
    catalog = shop.catalog.set_index("item_id")
    raw = [{n: float(catalog.loc[i, n]) for n in ("price", "sales")} for i in items]
    given = ranker.outputs(candidates=raw)
    for name, values in expected.items():
        np.testing.assert_allclose(given[name], values, rtol=1e-4)
    padded = ranker.signatures["rank_items"](items=tf.constant([[*items, ""]]))
    assert set(padded) == {"scores", *TASKS}
    assert float(padded["scores"][0, -1]) == -1e9
    for name in TASKS:
        assert float(padded[name][0, -1]) == 0
        np.testing.assert_allclose(padded[name][0, :-1], expected[name], rtol=1e-4)


def test_another_order_needs_no_training(exported, outputs, run, shop, tmp_path):
    """Both in the ranker and by a new export, candidates are ordered by the new formula."""
    items, expected = outputs
    formula = "(purchase / click)^2 * stay^0.5"
    by_hand = 2 * np.log(expected["purchase"] / expected["click"]) + 0.5 * np.log(expected["stay"])
    order = np.argsort(-by_hand, kind="stable")
    before = [position.index for position in Ranker.load(exported).rank(candidates=items)]
    assert before != list(order)
    changed = Ranker.load(exported, order=formula)
    again = Ranker.load(export_run(run.with_order(formula), tmp_path / "export", shop))
    for ranker in (changed, again):
        np.testing.assert_allclose(ranker.scores(candidates=items), by_hand, rtol=1e-3, atol=1e-5)
        assert [position.index for position in ranker.rank(candidates=items)] == list(order)


def test_an_order_that_does_not_fit_is_refused(exported):
    with pytest.raises(RankError, match="unknown task 'sty'; did you mean 'stay'"):
        Ranker.load(exported, order="click * sty")
