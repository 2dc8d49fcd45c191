"""A run with frozen encoders: those of another run, and a hub model."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from mmrank.build import build_features, build_model
from mmrank.config import (
    FEATURES_FILE,
    STATE_FILE,
    Config,
    ConfigError,
    Head,
    from_mapping,
    save_config,
)
from mmrank.data.media import open_media
from mmrank.data.tables import Dataset
from mmrank.encoders.donor import donor_of, take_weights
from mmrank.features import Features
from mmrank.models import RankingModel
from mmrank.schema import Feature, save_schema
from mmrank.scoring import ListScorer
from mmrank.serving.export import export_run
from mmrank.serving.ranker import Ranker
from mmrank.trained_run import Run, load_run
from mmrank.training.callbacks import Progress
from mmrank.training.loop import train_run
from mmrank.training.state import State
from pipelines.benchmarks.frozen_towers import give_weights, in_graph

USED = ("title", "query", "photo", "price", "description")


class Sizes(tf.train.Checkpoint):
    """Embeddings [N, 2] of texts [N]: their bytes and 1. Not a tf.Module; see test_text.py."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = tf.Variable(0.1)
        self.variables = self.trainable_variables = [self.scale]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        bytes_ = self.scale * tf.cast(tf.strings.length(texts), tf.float32)
        return tf.stack([bytes_, tf.ones_like(bytes_)], -1)


def with_encoders(config: Config, encoders: dict, shop: Dataset, cache: str | None) -> Config:
    names = {f.name for f in shop.schema.side("item", "query", "user", "pair")}
    model = dataclasses.replace(
        config.model,
        encoders=encoders,
        drop=tuple(sorted(names - set(USED))),
        head=Head(hidden=(16,)),
    )
    training = dataclasses.replace(config.training, epochs=2)
    data = dataclasses.replace(config.data, cache=cache)
    return dataclasses.replace(config, model=model, training=training, data=data)


@pytest.fixture(scope="module")
def donor(tiny_config, shop, tmp_path_factory) -> tuple[pathlib.Path, Features, RankingModel]:
    """The folder of a run with random weights, its features and its model."""
    run = tmp_path_factory.mktemp("donor")
    encoders = {**tiny_config.model.encoders, "title": {"dropout": 0.2}, "query": {"dropout": 0.2}}
    config = with_encoders(tiny_config, encoders, shop, None)
    features = build_features(config, shop.schema)
    features.fit(shop)
    model = build_model(config, features)
    for weight in model.network.weights:
        if "kernel" in weight.name and len(weight.shape) == 4:
            weight.assign(1.5 * weight)  # otherwise a new network's outputs are almost equal
    model.network.save_weights(run / "best-1")
    save_config(config, run / "config.yaml")
    save_schema(shop.schema, run)
    features.save(run / FEATURES_FILE)
    State(data=str(shop.folder), best_weights="best-1").save(run / STATE_FILE)
    return run, features, model


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("hub") / "sizes"
    tf.saved_model.save(Sizes(), str(folder))
    return folder


@pytest.fixture(scope="module")
def config(tiny_config, shop, donor, hub, tmp_path_factory) -> Config:
    taken = {"weights": str(donor[0]), "trainable": False}
    encoders = {
        "title": taken,
        "query": taken,
        "photo": taken,
        "description": {"encoder": "hub", "handle": str(hub)},
    }
    cache = tmp_path_factory.mktemp("cache")
    return with_encoders(tiny_config, encoders, shop, str(cache))


@pytest.fixture(scope="module")
def whole(config, shop, tmp_path_factory) -> Run:
    """The trained ranker of a run without interruption."""
    run = tmp_path_factory.mktemp("whole")
    train_run(config, shop, run)
    return load_run(run)


def encoder_of(model: RankingModel, name: str) -> tf.keras.layers.Layer:
    return next(f.encoder for f in model.encoders if f.name == name)


def test_embeddings_are_those_of_the_other_runs_encoders(donor, whole, shop):
    _, features, model = donor
    theirs, ours = features.item_arrays(shop), whole.items(shop)
    for name in ("title", "photo"):
        there = ours[f"{name}_present"]
        assert there.sum() > 0
        expected = encoder_of(model, name)(theirs[name], training=False).numpy()
        np.testing.assert_allclose(ours[name][there], expected[there], rtol=1e-4, atol=5e-4)
        assert np.ptp(expected[there], axis=0).max() > 1e-2
        assert not ours[name][~there].any()
    assert whole.fitted.columns["title"].inner.vocabulary == features.columns["title"].vocabulary
    frozen = [w.shape for w in model.item_tower.weights if len(w.shape) == 4]
    assert frozen
    assert not [w for w in whole.model.network.weights if w.shape in frozen]


def test_scores_equal_those_with_the_encoders_in_the_graph(whole, shop):
    features = in_graph(whole.fitted)
    graph = build_model(whole.config, features)
    give_weights(whole.model, graph)
    rows = shop.rows("test")
    arrays = features.arrays(shop, rows)
    expected = ListScorer(graph, 4, whole.config.data.buckets)(arrays)
    given = whole.score(shop, rows)
    np.testing.assert_allclose(given, expected, atol=1e-5)
    assert np.ptp(given) > 1e-2


@pytest.mark.slow
def test_the_export_holds_the_frozen_encoders(whole, shop, tmp_path):
    """Raw titles and photos, as of a new product, and ids give the same scores as Keras."""
    ranker = Ranker.load(export_run(whole, tmp_path / "export", shop))
    rows = shop.rows("test")
    one = rows[rows["list_id"] == rows["list_id"].iloc[0]]
    items = shop.catalog.iloc[one["_item"]]
    columns = {k.name: k for k in whole.fitted.of_side("item")}
    media = open_media(shop)
    candidates = []
    for _, item in items.iterrows():
        raw = {n: item[k.feature.column] for n, k in columns.items()}
        raw = {n: v for n, v in raw.items() if v is not None and v == v and v != ""}
        if "photo" in raw:
            raw["photo"] = media.read(raw["photo"])
        candidates.append(raw)
    there = whole.has(shop, "photo")[one["_item"]]
    assert there.sum() > 1
    for raw, photo in zip(candidates, there, strict=True):
        if not photo:  # missing or broken
            raw.pop("photo", None)
    query = one[whole.fitted.columns["query"].feature.column].iloc[0]
    expected = whole.score(shop, one)
    assert np.ptp(expected) > 1e-2
    np.testing.assert_allclose(ranker.scores(query, candidates), expected, atol=1e-5)
    ids = list(items[shop.schema.catalog.item])
    np.testing.assert_allclose(ranker.scores(query, ids), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [0, 1])
def test_a_resumed_run_ends_as_one_that_was_not_stopped(
    config, shop, whole, tmp_path, monkeypatch, epoch
):
    """The second start finds all embeddings on disk and builds no encoder."""

    class Stop(RuntimeError):
        pass

    def fail(self: Progress, batch: int, logs: object = None) -> None:
        if self._epoch == epoch and batch == 1:
            raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(Progress, "on_train_batch_end", fail)
        with pytest.raises(Stop):
            train_run(config, shop, tmp_path)
    train_run(config, shop, tmp_path, resume=True)
    given = State.load(tmp_path / STATE_FILE).history
    expected = State.load(whole.folder / STATE_FILE).history
    assert len(given) == 2
    for one, other in zip(given, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_changed_weights_are_reported_at_load(whole, hub, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(whole.folder, copy)
    states = json.loads((copy / FEATURES_FILE).read_text("utf-8"))
    states["description"]["frozen"]["weights"] = "0" * 32
    (copy / FEATURES_FILE).write_text(json.dumps(states), "utf-8")
    with pytest.raises(ConfigError, match=r"'description'.*not those that the ranker was trained"):
        load_run(copy)


def test_a_run_without_a_matching_encoder_is_refused(donor):
    run, _, model = donor
    other = tf.keras.Sequential([tf.keras.layers.Dense(3, input_shape=[2])])
    with pytest.raises(ConfigError, match="here: none of the trained encoders"):
        take_weights(other, run, "here")


def test_the_feature_of_another_run_goes_by_name_or_is_the_only_one_of_its_kind(donor):
    run, _, _ = donor
    taken, options = donor_of(Feature("title", "text", "item", "other_column"), run)
    assert (taken.name, options["dropout"]) == ("title", 0.2)
    assert donor_of(Feature("front", "image", "item", "front"), run)[0].name == "photo"
    with pytest.raises(ConfigError, match=r"'abstract'.*no text feature.*title, description"):
        donor_of(Feature("abstract", "text", "item", "abstract"), run)


def test_weights_that_are_not_a_run_are_refused(config, shop, tmp_path):
    encoders = {"title": {"weights": str(tmp_path)}}
    model = dataclasses.replace(config.model, encoders=encoders)
    with pytest.raises(ConfigError, match=r"'title'.*is not the folder of a trained run"):
        build_features(dataclasses.replace(config, model=model), shop.schema)


def test_the_setting_of_the_cache():
    assert from_mapping(Config, {}, "c").data.cache == "auto"
    assert from_mapping(Config, {"data": {"cache": None}}, "c").data.cache is None
