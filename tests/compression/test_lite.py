"""TensorFlow Lite: the ranker's scores, within the precision of eight bits."""

from __future__ import annotations

import dataclasses
import pathlib
import types

import numpy as np
import pytest
import tensorflow as tf

from mmrank.build import build_features, build_model
from mmrank.compression.lite import LiteError, LiteRanker, check_interpreter, write_lite
from mmrank.config import Config
from mmrank.data.tables import load_dataset
from mmrank.scoring import ListScorer
from mmrank.versions import CLASSIC, CURRENT, version_set_of


@pytest.fixture(scope="module")
def config(tiny_config: Config) -> Config:
    """The tiny config without the features that take long to convert."""
    drop = ("photo", "title", "description", "tags")
    head = dataclasses.replace(tiny_config.model.head, hidden=(32,), attention_layers=0)
    model = dataclasses.replace(tiny_config.model, drop=drop, head=head)
    return dataclasses.replace(tiny_config, model=model)


def test_scores_equal_the_rankers_within_eight_bits(
    config: Config, tiny_shop: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    dataset = load_dataset(tiny_shop)
    features = build_features(config, dataset.schema)
    features.fit(dataset)
    tf.keras.utils.set_random_seed(4)
    model = build_model(config, features)
    arrays = features.arrays(dataset, dataset.rows("valid"))
    scorer = ListScorer(model, 4, config.data.buckets)
    if version_set_of() is not CLASSIC:
        with pytest.raises(LiteError, match="with Python 3.11"):
            write_lite(model, tmp_path / "lite")
        return
    write_lite(model, tmp_path / "lite")
    lite = LiteRanker(model, tmp_path / "lite")
    small = ListScorer(model, 4, config.data.buckets, lite.encode, lite.score)

    exact, quantised = scorer(arrays), small(arrays)
    assert not np.array_equal(exact, quantised)
    assert np.abs(exact - quantised).max() < 0.1 * exact.std()
    # Some weights are in fact stored in eight bits.
    kept = {
        str(detail["dtype"])
        for file in (tmp_path / "lite").iterdir()
        for detail in tf.lite.Interpreter(str(file)).get_tensor_details()
    }
    assert str(np.int8) in kept


def test_without_an_interpreter_of_all_ops_it_is_refused() -> None:
    check_interpreter(CLASSIC)
    with pytest.raises(LiteError, match="2.21.* with Python 3.11, or leave dynamic_range out"):
        check_interpreter(CURRENT)


def test_texts_are_refused(tmp_path: pathlib.Path) -> None:
    titles = tf.keras.Input([], dtype=tf.string, name="title")
    tower = tf.keras.Model({"title": titles}, tf.strings.length(titles))
    model = types.SimpleNamespace(item_tower=tower, context_tower=tower, scorer=tower)
    reason = "title takes texts" if version_set_of() is CLASSIC else "with Python 3.11"
    with pytest.raises(LiteError, match=reason):
        write_lite(model, tmp_path / "lite")  # type: ignore[arg-type]
