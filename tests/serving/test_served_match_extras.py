"""Extra match features are the same in a run, its export and all ways of calling the export."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from mmrank.build import build_features, build_model
from mmrank.config import Config
from mmrank.data.tables import Dataset
from mmrank.matching.extras import EXTRAS
from mmrank.serving.export import export_run
from mmrank.serving.ranker import Ranker
from mmrank.serving.staged import StagedRanker
from mmrank.trained_run import Run

pytestmark = pytest.mark.slow
KEPT = ("query", "title", "brand", "price")


@pytest.fixture(scope="module")
def run(dataset: Dataset, tiny_config: Config) -> Run:
    """A ranker whose score depends only on the extras."""
    drop = tuple(f.name for f in dataset.schema.features if f.name not in KEPT)
    drop = tuple(n for n in drop if dataset.schema.feature(n).side != "label")
    model = dataclasses.replace(tiny_config.model, drop=drop, match_extra=tuple(EXTRAS))
    data = dataclasses.replace(tiny_config.data, buckets=(8, 64))
    config = dataclasses.replace(tiny_config, model=model, data=data)
    tf.keras.utils.set_random_seed(5)
    features = build_features(config, dataset.schema)
    features.fit(dataset)
    made = build_model(config, features)
    assert made.matcher is not None
    assert made.residual is not None
    assert features.matching is not None
    assert features.matching.plan is not None
    extras = features.matching.plan.extras.values()
    names = [f"query/{n}" for extra in extras for n in extra.names()]
    at = [made.matcher.names.index(n) for n in names]
    kernel = np.zeros([len(made.matcher.names), 1], np.float32)
    kernel[at, 0] = np.linspace(1.0, 2.0, len(at))
    made.residual.set_weights([kernel])
    for layer in made.scorer.get_layer("head").last_layers():
        layer.kernel.assign(tf.zeros_like(layer.kernel))
    return Run(pathlib.Path("nowhere"), config, dataset.folder, features, made)


@pytest.fixture(scope="module")
def exported(run: Run, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return export_run(run, tmp_path_factory.mktemp("run") / "export", dataset)


@pytest.fixture(scope="module")
def rows(dataset: Dataset) -> Any:
    """A list whose query has a typing error that the catalogue can correct."""
    list_id = dataset.schema.lists.list
    rows = max((r for _, r in dataset.lists.groupby(list_id, sort=False)), key=len).copy()
    words = [w for t in dataset.catalog["title"].dropna() for w in t.split()]
    longest = max((w for w in words if w.isascii() and w.isalpha()), key=len)
    rows["query"] = f"{longest[:2]}{longest[3:]} {words[0]}"
    return rows


def test_an_export_scores_extras_as_the_run_does(
    run: Run, dataset: Dataset, exported: pathlib.Path, rows: Any
) -> None:
    expected = run.score(dataset, rows)
    assert expected.std() > 0.1
    matcher = run.model.matcher
    assert matcher is not None
    features = dict(zip(matcher.names, run.match_features(dataset, rows).T, strict=True))
    for name in ("any/spelled_otherwise", "any/spelled", "brand/probable", "price/above_usual"):
        assert features[f"query/{name}"].any(), name
    ranker = Ranker.load(exported)
    query, ids = rows["query"].iloc[0], rows["item_id"].tolist()
    by_id = ranker.scores(query=query, candidates=ids)
    np.testing.assert_allclose(by_id, expected, rtol=0, atol=1e-5)
    columns = {f.name: f.column for f in run.fitted.schema.side("item") if f.name in KEPT}
    items = dataset.catalog.iloc[rows["_item"].to_numpy()]
    candidates = [
        {n: row[c] for n, c in columns.items() if row[c] == row[c] and row[c] is not None}
        for row in items.to_dict("records")
    ]
    raw = ranker.scores(query=query, candidates=candidates)
    np.testing.assert_allclose(raw, expected, rtol=0, atol=1e-5)
    staged = StagedRanker.load(exported).rank(query, ids)
    np.testing.assert_allclose(staged.scores, expected, rtol=0, atol=1e-5)


def test_fitted_extras_are_kept_with_the_run(
    run: Run, dataset: Dataset, tmp_path: pathlib.Path, rows: Any
) -> None:
    file = tmp_path / "features.json"
    run.fitted.save(file)
    again = build_features(run.config, dataset.schema)
    again.load(file)
    made = build_model(run.config, again)
    assert made.matcher is not None
    made.network.set_weights(run.model.network.get_weights())
    twin = Run(pathlib.Path("nowhere"), run.config, dataset.folder, again, made)
    np.testing.assert_allclose(twin.score(dataset, rows), run.score(dataset, rows), atol=1e-5)
    # A state that was saved before extras existed.
    states = json.loads(file.read_text(encoding="utf-8"))
    extras = states["match:"].pop("extras")
    assert set(extras) == set(EXTRAS)
    file.write_text(json.dumps(states), encoding="utf-8")
    plain = dataclasses.replace(run.config.model, match_extra=())
    old = build_features(dataclasses.replace(run.config, model=plain), dataset.schema)
    old.load(file)
    assert old.matching is not None
    assert old.matching.plan is not None
    assert not old.matching.plan.extras
