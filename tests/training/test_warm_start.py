"""A ranker initialised from another's weights: which weights are taken, matched by word."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mmrank.build import build_features, build_model
from mmrank.config import Config
from mmrank.data.simulator import simulate
from mmrank.data.tables import Dataset, load_dataset
from mmrank.encoders.word_rows import word_rows
from mmrank.features import Features
from mmrank.models import RankingModel
from mmrank.scoring import ListScorer
from mmrank.training.callbacks import Progress
from mmrank.training.loop import INIT_FILE, train_run
from mmrank.training.state import State
from mmrank.training.warm_start import NEW, OTHER_SHAPE, TAKEN, UNUSED, warm_start


@pytest.fixture(scope="module")
def config(tiny_config: Config) -> Config:
    """Every kind of encoder except the photo, which is slow to trace; a fusion with weights."""
    fusion = dataclasses.replace(tiny_config.model.fusion, name="cross_attention")
    drop = ("photo", "description", "rating", "rating_count", "sales")
    model = dataclasses.replace(tiny_config.model, drop=drop, fusion=fusion)
    return dataclasses.replace(tiny_config, model=model)


@pytest.fixture(scope="module")
def source(config: Config, shop: Dataset) -> tuple[RankingModel, Features]:
    return made(config, shop, seed=1)


@pytest.fixture(scope="module")
def other_shop(tmp_path_factory) -> Dataset:
    """A shop with other items, and therefore other words and ids."""
    folder = tmp_path_factory.mktemp("other") / "shop"
    simulate(folder, items=60, queries=40, users=10, seed=9)
    return load_dataset(folder)


def made(config: Config, dataset: Dataset, seed: int = 2) -> tuple[RankingModel, Features]:
    features = build_features(config, dataset.schema)
    features.fit(dataset)
    tf.keras.utils.set_random_seed(seed)
    return build_model(config, features), features


def named_rows(model: RankingModel, features: Features, name: str) -> dict[str, np.ndarray]:
    """The rows of a feature's first table, by word."""
    (encoder,) = (f.encoder for f in model.encoders if f.name == name)
    table, words = word_rows(encoder, features.columns[name].core)[0]
    assert table.shape[0] == len(words)
    return dict(zip(words, table.numpy(), strict=True))


@pytest.mark.slow
def test_on_the_same_shop_the_scores_are_those_of_the_source(config, shop, source):
    model, features = made(config, shop)
    arrays = features.arrays(shop, shop.rows("valid"))
    expected = ListScorer(source[0], 4, config.data.buckets)(arrays)
    scorer = ListScorer(model, 4, config.data.buckets)
    assert np.abs(scorer(arrays) - expected).max() > 0.01
    moved = warm_start(model, features, *source)
    assert {m.state for m in moved} == {TAKEN}, moved
    np.testing.assert_allclose(scorer(arrays), expected, atol=1e-5)
    for own, given in zip(model.network.weights, source[0].network.weights, strict=True):
        np.testing.assert_array_equal(own, given)


def test_rows_of_words_and_ids_are_matched_by_name(config, source, other_shop):
    """With another vocabulary, known words get their rows; new words keep their initial rows."""
    model, features = made(config, other_shop)
    first = {n: named_rows(model, features, n) for n in ("title", "brand", "tags")}
    warm_start(model, features, *source)
    for name, before in first.items():
        given = named_rows(*source, name)
        after = named_rows(model, features, name)
        both = set(after) & set(given)
        assert both
        assert [w for w in after if w in both] != list(given)[: len(both)]
        for word, row in after.items():
            wanted = given[word] if word in given else before[word]
            np.testing.assert_array_equal(row, wanted, err_msg=f"{name} {word}")
    assert set(first["title"]) - set(named_rows(*source, "title"))


def test_parts_that_do_not_match_are_reported_and_unchanged(config, shop, source):
    """No tags, a wider text encoder and another feature: the scorer reads other tokens."""
    encoders = {**config.model.encoders, "query": {"hidden": 24}}
    dropped = (*config.model.drop, "tags")
    dropped = tuple(n for n in dropped if n != "sales")
    changed = dataclasses.replace(config.model, encoders=encoders, drop=dropped)
    model, features = made(dataclasses.replace(config, model=changed), shop)
    before = {id(w): w.numpy() for w in model.network.weights}
    moved = {m.part: m for m in warm_start(model, features, *source)}
    states = {part: m.state for part, m in moved.items()}
    assert states["tags"] == UNUSED
    assert states["sales"] == NEW
    assert states["query"] == OTHER_SHAPE
    assert "different hidden" not in moved["title"].note
    assert {states[n] for n in ("title", "brand", "price")} == {TAKEN}
    assert {states[n] for n in ("fusion", "head", "item_summary", "history_encoder")} == {NEW}
    (query,) = (f.encoder for f in model.encoders if f.name == "query")
    for weight in [*model.scorer.get_layer("head").weights, *query.weights]:
        np.testing.assert_array_equal(weight, before[id(weight)])
    tokens = model.item_tower.get_layer("item_tokens")
    given = source[0].item_tower.get_layer("item_tokens")
    for name in ("title", "brand"):
        i, j = tokens.names.index(name), given.names.index(name)
        np.testing.assert_array_equal(
            tokens.projections[i].kernel, given.projections[j].kernel, err_msg=name
        )
        np.testing.assert_array_equal(tokens.absent[i], given.absent[j])
    i = tokens.names.index("sales")
    np.testing.assert_array_equal(tokens.absent[i], before[id(tokens.absent)][i])


class Stop(RuntimeError):
    """Raised by the test to stop training."""


@pytest.mark.slow
def test_a_run_starts_from_a_source_only_once(quick_config, shop, tmp_path, monkeypatch):
    """A run stopped in its second epoch resumes after the source is deleted."""
    drop = (*quick_config.model.drop, "query", "history", "user", "brand")
    config = dataclasses.replace(
        quick_config,
        model=dataclasses.replace(quick_config.model, drop=drop),
        training=dataclasses.replace(quick_config.training, epochs=2, steps_per_epoch=2),
    )
    for name in ("source", "whole", "part"):
        (tmp_path / name).mkdir()
    source = tmp_path / "source"
    train_run(config, shop, source)
    train_run(config, shop, tmp_path / "whole", init_from=source)
    actual = (tmp_path / "whole" / INIT_FILE).read_text(encoding="utf-8")
    assert actual.splitlines()[0] == str(source.resolve())
    assert State.load(tmp_path / "whole" / "state.json").init_from == str(source.resolve())

    def stop(self: Progress, batch: int, logs: object = None) -> None:
        if self._epoch == 1:
            raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(Progress, "on_train_batch_end", stop)
        with pytest.raises(Stop):
            train_run(config, shop, tmp_path / "part", init_from=source)
    source.rename(tmp_path / "elsewhere")
    train_run(config, shop, tmp_path / "part", resume=True)
    own, part, whole = (
        State.load(tmp_path / n / "state.json").history for n in ("elsewhere", "part", "whole")
    )
    for epoch, expected in zip(part, whole, strict=True):
        assert epoch == pytest.approx(expected, abs=1e-6)
    assert whole[0]["loss"] != pytest.approx(own[0]["loss"], abs=1e-6)
