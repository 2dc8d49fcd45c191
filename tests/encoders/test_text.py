"""Texts: Chinese and English pieces, one tokenizer in and outside graphs, BERT, TF-Hub models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.encoders.text import RESERVED, Text
from mmrank.schema import Feature

SMALL = {"layers": 1, "heads": 2, "hidden": 8, "intermediate": 8, "max_tokens": 6}
PIECES = (*RESERVED, "iphone", "case", "手", "机", "壳", "##s", "cafe")


def text(name: str = "title", side: str = "item", **options: object) -> Text:
    return Text(Feature(name, "text", side, name), {**SMALL, **options})


def known(**options: object) -> Text:
    kind = text(**options)
    kind.restore({"vocabulary": PIECES})
    return kind


@pytest.mark.parametrize(
    ("value", "pieces"),
    [
        ("手机壳", ["手", "机", "壳"]),
        ("iPhone case", ["iphone", "case"]),
        ("iPhone手机壳", ["iphone", "手", "机", "壳"]),
        ("壳iPHONEs", ["壳", "iphone", "##s"]),
        ("Café 车", ["cafe", "[UNK]"]),
        ("手机壳手机壳手机壳", ["手", "机", "壳", "手", "机", "壳"]),
        ("", []),
    ],
)
def test_cjk_characters_are_tokens_and_case_is_folded(value, pieces):
    (ids,) = known().arrays(pd.Series([value]), None)[0]
    expected = [PIECES.index(p) for p in pieces]
    assert ids.tolist() == expected + [0] * (6 - len(expected))


def test_fitted_pieces_cover_the_corpus():
    """No piece of the training texts is unknown; every CJK character is a separate piece."""
    column = pd.Series(["iPhone手机壳", "Red DRESS", "红色 dress", None, "手机壳 for iphone"] * 3)
    kind = text()
    kind.fit(column)
    assert kind.vocabulary[:4] == RESERVED
    assert {"手", "机", "壳", "红", "色"} <= set(kind.vocabulary)
    pieces = [p.removeprefix("##") for p in kind.vocabulary[4:]]
    assert not [p for p in pieces if p != p.lower() or ("手" in p and len(p) > 1)]
    ids = kind.arrays(column, None)[0]
    assert not (ids == kind.vocabulary.index("[UNK]")).any()


def test_missing_texts_are_absent():
    raw, present = text().read(pd.Series(["a", None, "  ", np.nan]), None)
    assert raw.tolist() == ["a", "", "", ""]
    assert present.tolist() == [True, False, False, False]


def test_preprocess_in_a_graph_equals_arrays():
    values = ["iPhone手机壳", "", "手 case", "unknown words here"]
    ids = known().arrays(pd.Series(values), None)[0]
    kind = known()
    assert kind.input_spec().is_compatible_with(tf.constant(ids))
    graph = tf.function(lambda raw: kind.preprocess(raw))
    np.testing.assert_array_equal(graph(tf.constant(values)), ids)
    np.testing.assert_array_equal(kind.preprocess(tf.constant(values)), ids)


def test_equal_options_share_an_encoder_and_others_do_not():
    key = text().sharing()
    assert text("query", "query").sharing() == key
    for other in ({"hidden": 16}, {"group": "reviews"}, {"max_tokens": 7}):
        assert text(**other).sharing() != key


def test_bert_ignores_padding_and_returns_zeros_for_an_empty_text():
    encoder = known().encoder(99)
    given = encoder(tf.constant([[4, 6, 0, 0], [4, 6, 7, 8], [0, 0, 0, 0]])).numpy()
    assert given.shape == (3, 8)
    np.testing.assert_allclose(encoder(tf.constant([[4, 6]])).numpy()[0], given[0], atol=1e-6)
    assert np.abs(given[1] - given[0]).max() > 1e-3
    assert not given[2].any()
    assert type(encoder).from_config(encoder.get_config()).get_config() == encoder.get_config()


class Hashed(tf.train.Checkpoint):
    """Embeddings [N, 3] of texts [N] by a hash of the whole text, as a reusable SavedModel.

    Not a tf.Module: TF-Hub reads the attribute `trainable_variables`, which a tf.Module does not
    save.
    """

    def __init__(self) -> None:
        super().__init__()
        values = np.random.default_rng(0).normal(size=[7, 3])
        self.table = tf.Variable(values, dtype=tf.float32)
        self.variables = self.trainable_variables = [self.table]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.table, tf.strings.to_hash_bucket_fast(texts, 7))


@pytest.fixture(scope="module")
def handle(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("hub") / "hashed"
    tf.saved_model.save(Hashed(), str(folder))
    return str(folder)


@pytest.mark.parametrize("trainable", [False, True])
def test_a_hub_model_of_a_local_folder_is_used_frozen_or_trained(handle, trainable):
    kind = text(encoder="hub", handle=handle, trainable=trainable)
    kind.fit(pd.Series(["a"]))
    assert kind.vocabulary == ()
    raw = kind.arrays(pd.Series(["red dress", "手机壳", None]), None)[0]
    assert kind.input_spec().is_compatible_with(tf.constant(raw))
    encoder = kind.encoder(99)
    with tf.GradientTape() as tape:
        given = encoder(tf.constant(raw))
        value = tf.reduce_sum(given)
    np.testing.assert_allclose(given, Hashed()(tf.constant(raw)), atol=1e-6)
    assert len(encoder.trainable_variables) == int(trainable)
    if trainable:
        (gradient,) = tape.gradient(value, encoder.trainable_variables)
        assert np.isclose(np.sum(tf.convert_to_tensor(gradient)), 9)  # 1 per text and column


def test_hub_models_are_shared_by_handle(handle):
    one = text(encoder="hub", handle=handle)
    assert one.sharing() == text("query", "query", encoder="hub", handle=handle).sharing()
    assert one.sharing() != text(encoder="hub", handle=handle + "2").sharing()


def test_an_unknown_encoder_is_refused_with_those_known():
    with pytest.raises(ConfigError, match="'title'.*text encoder 'gpt'; known: bert, hub"):
        text(encoder="gpt")


def test_a_hub_encoder_needs_a_handle():
    with pytest.raises(ConfigError, match="'title'.*needs `handle`, a TF-Hub URL or a local"):
        text(encoder="hub")


def test_an_unknown_option_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"'title'.*max_token.*max_tokens"):
        text(max_token=3)


def test_texts_cannot_be_on_the_side_of_pairs():
    with pytest.raises(ConfigError, match="'pair'; use item, query, user"):
        text(side="pair")


def test_what_was_fitted_survives_a_round_trip():
    other = text()
    other.restore(known().state())
    assert other.vocabulary == PIECES
