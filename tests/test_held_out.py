"""Nothing that is fitted, chosen or calibrated reads a test list."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import types
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from mmrank.build import build_features
from mmrank.collaborative.options import CollaborativeOptions
from mmrank.collaborative.scorers import SCORERS
from mmrank.collaborative.served import fit_served
from mmrank.collaborative.snapshots import AsOfScores
from mmrank.config import HYBRID, TREES_FILE, Config
from mmrank.data.as_of import training_end
from mmrank.data.frequency import training_counts
from mmrank.data.tables import Dataset, load_dataset
from mmrank.defaults import completed
from mmrank.evaluate import BEST, _thresholds
from mmrank.evaluation.baselines import baseline_scores
from mmrank.evaluation.calibration import calibrate
from mmrank.job import train
from mmrank.propensity.log import read_log
from mmrank.ranking.task_outputs import TaskOutputs
from mmrank.ranking.tasks import TaskSpec
from mmrank.schema import PSEUDO
from mmrank.training.row_weights import training_weights
from mmrank.training.state import State

Value = Any


def change(folder: pathlib.Path, splits: tuple[str, ...]) -> None:
    """Overwrites the lists of some splits: labels, queries, users, items, times, lengths."""
    rng = np.random.default_rng(8)
    lists = pd.read_parquet(folder / "lists.parquet").astype({"grade": float, "time": float})
    catalog = pd.read_parquet(folder / "catalog.parquet")["item_id"].to_numpy()
    users = lists["user_id"].unique()
    for number, (_, rows) in enumerate(lists[lists["split"].isin(splits)].groupby("list_id")):
        at, count = rows.index, len(rows)
        lists.loc[at, "query"] = f"unheard{number} of 501 mm" + " and longer" * 30
        lists.loc[at, "user_id"] = rng.choice(users)
        lists.loc[at, "item_id"] = rng.choice(catalog, count, replace=False)
        lists.loc[at, "time"] = rng.uniform(*lists["time"].quantile([0.1, 0.9]))
        lists.loc[at, "position"] = np.arange(count, 0, -1)
        lists.loc[at, "grade"] = np.roll(rows["grade"], 1) + 0.5
        for label in ("click", "purchase"):
            lists.loc[at, label] = 1 - rows[label]
        lists.loc[at, "dwell"] = rng.uniform(100, 200, count)
        lists = lists.drop(at[-1:])
    lists.to_parquet(folder / "lists.parquet", index=False)


@pytest.fixture(scope="module")
def shops(tiny_shop: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    """The shop with collaborative scores: unchanged, with other test lists, with all others new."""
    made = {}
    for name, splits in (("before", ()), ("test", ("test",)), ("rest", ("train", "valid"))):
        folder = tmp_path_factory.mktemp("shops") / name
        shutil.copytree(tiny_shop, folder)
        schema = yaml.safe_load((folder / "schema.yaml").read_text(encoding="utf-8"))
        schema["features"] += [{"name": "others", "kind": "collaborative", "side": "pair"}]
        text = yaml.safe_dump(schema, allow_unicode=True)
        (folder / "schema.yaml").write_text(text, encoding="utf-8")
        change(folder, splits)
        made[name] = load_dataset(folder)
    return made


def by_price(dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """The scores of a ranker that ranks by price."""
    prices = dataset.catalog["price"].fillna(0.0).to_numpy(np.float64)
    return -np.log1p(prices[rows["_item"].to_numpy()])


class PriceRun:
    """A ranker that needs no training, with a task whose probability it predicts."""

    outputs = TaskOutputs((TaskSpec("click", "click"),))
    score = staticmethod(by_price)

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def raw(self, dataset: Dataset, rows: pd.DataFrame) -> dict[str, np.ndarray]:
        # The score includes the click itself, so that the slope is positive.
        return {"click": by_price(dataset, rows) + rows["click"].to_numpy(float)}

    def with_calibration(self, fitted: dict[str, tuple[float, float]]) -> Value:
        return fitted


def chosen(dataset: Dataset, config: Config, folder: pathlib.Path) -> dict[str, Value]:
    """Everything that is fitted, chosen and calibrated, except what training learns."""
    features = build_features(config, dataset.schema)
    features.fit(dataset)
    features.save(folder / "features.json")
    states = json.loads((folder / "features.json").read_text(encoding="utf-8"))
    job: Any = types.SimpleNamespace(
        threshold=BEST, dataset=dataset, run=PriceRun(folder), folder=folder
    )
    log = read_log(dataset.folder)
    unseen = dataclasses.replace(dataset, events=None)
    run: Any = PriceRun(folder)
    return {
        "config": completed(dataset.schema, dataset)[0],
        **{f"feature {name}": state for name, state in states.items()},
        "end of training": training_end(dataset),
        "counts": training_counts(dataset),
        "counts of rows": training_counts(unseen),
        "popularity of rows": baseline_scores(unseen, dataset.rows("train"), ["popularity"]),
        "weights": training_weights(dataset, 0.5, 1.0),
        "clicks": (log.clicks, log.positions, log.lists, log.pairs, log.features),
        "calibration": calibrate(run, dataset, "platt"),
        "threshold": _thresholds(job, "grade", 1.0),
    }


def same(one: Value, other: Value) -> bool:
    """Whether both are bitwise equal."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    left, right = np.asarray(one), np.asarray(other)
    return np.array_equal(left, right, equal_nan=left.dtype.kind == right.dtype.kind == "f")


def test_fits_and_choices_do_not_depend_on_test_lists(
    shops: dict[str, Dataset], tiny_config: Config, tmp_path: pathlib.Path
) -> None:
    assert PSEUDO not in shops["before"].lists  # its thresholds are tested separately
    scorers = {"collaborative": {"scorers": ("itemknn", "pmi"), "factors": 2, "snapshots": 3}}
    encoders = {**tiny_config.model.encoders, **scorers}
    drop = ("photo", "description", "brand", "tags", "rating", "rating_count", "sales")
    model = dataclasses.replace(tiny_config.model, drop=drop, encoders=encoders)
    config = dataclasses.replace(tiny_config, model=model)
    found = {}
    for name, dataset in shops.items():
        (tmp_path / name).mkdir()
        found[name] = chosen(dataset, config, tmp_path / name)
    before = found.pop("before")
    moved = {n: {key for key in before if not same(before[key], found[n][key])} for n in found}
    assert moved["test"] == set()
    # The check can fail: the lists used for fitting and choosing do matter.
    assert moved["rest"] >= {
        *(
            "config",
            "calibration",
            "threshold",
            "clicks",
            "counts of rows",
            "popularity of rows",
            "weights",
        ),
        *(f"feature {name}" for name in ("query", "price", "others", "match:")),
    }


def test_collaborative_scores_do_not_depend_on_test_lists(shops: dict[str, Dataset]) -> None:
    pytest.importorskip("implicit")
    options = CollaborativeOptions(tuple(SCORERS), factors=2, epochs=2, snapshots=3)
    found = []
    for split in ("before", "test"):
        dataset = shops[split]
        others = (dataset.lists["_split"] != "test").to_numpy()
        as_of = AsOfScores(dataset, options)
        scores = {name: of[others] for name, of in as_of.scores(list(SCORERS)).items()}
        served = fit_served(dataset, options)
        assert served is not None
        fitted = {
            f"{name} {array}": values
            for name, scorer in served.scorers.items()
            for array, values in scorer.arrays().items()
        }
        counts = {"shoppers": as_of.user_events[others], "items": as_of.item_events[others]}
        found.append(scores | fitted | counts | {"usable": as_of.usable[others]})
    before, after = found
    for name in before:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    assert all(np.any(before[name]) for name in SCORERS)


@pytest.mark.slow
def test_training_does_not_depend_on_test_lists(
    shops: dict[str, Dataset], tiny_config: Config, tmp_path: pathlib.Path
) -> None:
    """The weights and their epoch, the trees, and the trees' share in a hybrid on numbers."""
    words = ("title", "query", "description", "tags", "brand")
    drop = ("photo", *words, "user", "history", "others")
    trees = dataclasses.replace(
        tiny_config.model.trees, losses=("QueryRMSE",), depths=(3,), rounds=20
    )
    head = dataclasses.replace(tiny_config.model.head, attention_layers=None, rank_model="none")
    model = dataclasses.replace(
        tiny_config.model, name=HYBRID, trees=trees, drop=drop, head=head, width=8
    )
    training = dataclasses.replace(tiny_config.training, epochs=2)
    config = dataclasses.replace(tiny_config, model=model, training=training)
    states, blends, weights = [], [], []
    for split in ("before", "test"):
        run = train(config, shops[split], tmp_path / split)
        states.append(State.load(run.folder / "state.json"))
        blends.append(json.loads((run.folder / TREES_FILE).read_text(encoding="utf-8")))
        weights.append(run.model.network.get_weights())
    before, after = states
    assert after.best_weights == before.best_weights
    assert after.best == pytest.approx(before.best, abs=1e-6)
    for one, other in zip(before.history, after.history, strict=True):
        assert other == pytest.approx(one, rel=1e-5, abs=1e-6)
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(other, one, atol=2e-5)
    for key, value in blends[0].items():
        if isinstance(value, float):
            assert blends[1][key] == pytest.approx(value, rel=1e-4), key
        else:
            assert blends[1][key] == value, key
