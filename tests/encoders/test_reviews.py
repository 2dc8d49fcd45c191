"""Reviews: packed, tokenised in the graph, pooled by attention independently of their order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.data.tables import DataError
from mmrank.encoders.reviews import Reviews, ReviewsEncoder
from mmrank.encoders.text import RESERVED, Text
from mmrank.schema import Feature

SMALL = {"layers": 1, "heads": 2, "hidden": 8, "intermediate": 8, "max_tokens": 4}
PIECES = (*RESERVED, "good", "bad", "手", "机")
COLUMN = pd.Series(
    [
        [
            {"text": "手机 good", "age_days": 3, "helpful": 12},
            "bad",
            {"text": "ＢＡＤ", "helpful": 99},
        ],
        None,
        ["good"],
        [" ", {"text": "\u200b", "helpful": 4}],
        [{"text": f"good {i}", "helpful": i} for i in range(5)],
    ]
)


def reviews(**options: object) -> Reviews:
    feature = Feature("reviews", "reviews", "item", "reviews", {"max_reviews": 3})
    kind = Reviews(feature, {**SMALL, **options})
    kind.restore({"vocabulary": PIECES})
    return kind


def test_rows_of_tokens_age_and_votes():
    """The most helpful review comes first; an item without a non-empty review is absent."""
    ids, present = reviews().arrays(COLUMN, None)
    assert present.tolist() == [True, False, True, False, True]
    padding = [0, 0, 0, 0, -1, -1]
    unknown = PIECES.index("[UNK]")
    assert ids[0].tolist() == [[5, 0, 0, 0, -1, 99], [6, 7, 4, 0, 3, 12], [5, 0, 0, 0, -1, -1]]
    assert ids[1].tolist() == ids[3].tolist() == [padding] * 3
    assert ids[2].tolist() == [[4, 0, 0, 0, -1, -1], padding, padding]
    assert ids[4].tolist() == [[4, unknown, 0, 0, -1, votes] for votes in (4, 3, 2)]
    assert reviews().input_spec().is_compatible_with(tf.constant(ids))


def test_ages_count_from_the_latest_review_of_the_column():
    column = pd.Series(
        [[{"text": "good", "time": "2024-01-01"}], [{"text": "bad", "time": "2024-01-31"}]]
    )
    ids = reviews().arrays(column, None)[0]
    assert ids[:, 0, 4].tolist() == [30, 0]


@pytest.mark.parametrize(
    ("raw", "rows"),
    [
        ("good\x1f3.9\x1f12\x1ebad", [[4, 3, 12], [5, -1, -1]]),
        ("good\x1f \x1f x", [[4, -1, -1]]),
        ("good\x1f1\x1f2\x1fmore", [[4, 1, 2]]),
        ("\x1e\x1f3\x1e good \x1e", [[4, -1, -1]]),
        ("\x1f3\x1e\u3000\x1f5", []),
        ("good\x1ebad\x1egood\x1ebad", [[4, -1, -1], [5, -1, -1], [4, -1, -1]]),
        (b"\xff\x1ebad", [[1, -1, -1], [5, -1, -1]]),
        ("", []),
    ],
)
def test_values_that_a_client_may_send(raw, rows):
    kind = reviews()
    cleaned = kind.clean(tf.constant([raw]))
    assert (cleaned.numpy()[0] != b"") == bool(rows)
    got = tf.function(kind.preprocess)(cleaned).numpy()[0]
    assert got[:, [0, 4, 5]].tolist() == rows + [[0, -1, -1]] * (3 - len(rows))
    np.testing.assert_array_equal(kind.preprocess(tf.constant([raw]))[0], got)


class Embedded(tf.keras.layers.Layer):
    """The mean [M, 4] of fixed vectors of the ids [M, T], in place of a text encoder."""

    table = tf.constant(np.random.default_rng(0).normal(size=[9, 4]), tf.float32)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.gather(self.table, inputs), 1)


def encoder_with_weights(seed: int = 1) -> ReviewsEncoder:
    layer = ReviewsEncoder(Embedded(), 5)
    layer(tf.ones([1, 3, 4], tf.int32))
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    return layer


def test_pooling_equals_numpy():
    layer = encoder_with_weights()
    rows = np.array(
        [
            [[1, 2, 30, 4], [3, 1, -1, 0], [5, 5, 400, -1]],
            [[2, 2, 0, 7], [0, 0, -1, -1], [0, 0, -1, -1]],
        ]
    )
    weight, bias = (w.numpy() for w in layer.hidden.weights)
    v, u = layer.attention.kernel.numpy()[:, 0], layer.facts.kernel.numpy()[:, 0]
    expected = []
    for item in rows:
        embedded, logits = [], []
        for a, b, age, votes in item:
            if a == b == 0:
                continue
            e = (Embedded.table[a] + Embedded.table[b]).numpy() / 2
            f = [
                np.log1p(age) if age >= 0 else 0,
                np.log1p(votes) if votes >= 0 else 0,
                age >= 0,
                votes >= 0,
            ]
            embedded.append(e)
            logits.append(v @ np.tanh(weight.T @ e + bias) + u @ np.array(f, float))
        share = np.exp(logits) / np.sum(np.exp(logits))
        expected.append(share @ np.array(embedded))
    given = layer(tf.constant(rows, tf.int32))
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(tf.function(layer)(tf.constant(rows, tf.int32)), given, atol=1e-6)


def test_padding_and_order_change_nothing():
    layer = encoder_with_weights()
    rows = np.array([[1, 2, 3, 4], [3, 1, 3, 0], [5, 5, 3, 9]])
    padding = np.full([2, 4], [0, 0, -1, -1])
    alone = layer(tf.constant(rows[None], tf.int32))
    shuffled = np.concatenate([padding[:1], rows[[2, 0, 1]], padding[1:]])
    np.testing.assert_allclose(layer(tf.constant(shuffled[None], tf.int32)), alone, atol=1e-6)
    assert not layer(tf.constant(padding[None], tf.int32)).numpy().any()


def test_gradients_reach_ages_and_votes_and_stay_finite():
    layer = ReviewsEncoder(Embedded(), 5)
    rows = tf.constant([[[1, 2, 30, 4], [3, 1, -1, 0], [0, 0, -1, -1]], [[0, 0, -1, -1]] * 3])
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(layer(rows) ** 2)
    gradients = tape.gradient(value, layer.trainable_variables)
    assert all(np.isfinite(g).all() for g in gradients)
    assert np.abs(gradients[-1]).max() > 0  # zero at the start, but with a gradient


def test_texts_of_equal_options_share_vocabulary_and_encoder():
    kind = reviews()
    assert kind.core.sharing() == Text(Feature("title", "text", "item", "title"), SMALL).sharing()
    assert kind.sharing() is None  # the pooling is not shared
    words = kind.corpus(COLUMN)
    assert words[:3].tolist() == ["手机 good", "bad", "ＢＡＤ"]
    assert len(words) == 9
    shared = kind.core.encoder(9)
    assert kind.around(shared).text.encoder is shared
    assert kind.state() == {"vocabulary": list(PIECES)}


class Hashed(tf.train.Checkpoint):
    """Embeddings [N, 3] of texts [N] by a hash, as a reusable SavedModel."""

    def __init__(self) -> None:
        super().__init__()
        values = np.random.default_rng(0).normal(size=[7, 3])
        self.table = tf.Variable(values, dtype=tf.float32)
        self.variables = self.trainable_variables = [self.table]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.table, tf.strings.to_hash_bucket_fast(texts, 7))


def test_hub_models_read_reviews_too(tmp_path):
    tf.saved_model.save(Hashed(), str(tmp_path / "hashed"))
    kind = reviews(encoder="hub", handle=str(tmp_path / "hashed"))
    packed, present = kind.arrays(COLUMN, None)
    assert packed[0].tolist()[1] == ["手机 good".encode(), b"3", b"12"]
    assert kind.input_spec().is_compatible_with(tf.constant(packed))
    layer = kind.encoder(9)
    given = layer(tf.constant(packed))
    np.testing.assert_allclose(given[2], Hashed()(tf.constant(["good"]))[0], atol=1e-6)
    assert not given.numpy()[~present].any()
    assert not layer.text.trainable_variables  # by default hub models are not trained


def test_the_saved_graph_equals_eager(tmp_path):
    kind = reviews()
    layer = kind.encoder(9)
    module = tf.Module()
    module.layer, module.kept = layer, kind.tracked()
    module.encode = tf.function(
        lambda raw: layer(kind.preprocess(kind.clean(raw)), training=False),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    raw = tf.constant([r or "" for r in kind.read(COLUMN, None)[0]])
    eager = layer(kind.arrays(COLUMN, None)[0], training=False)
    tf.saved_model.save(module, str(tmp_path / "saved"))
    saved = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(saved.encode(raw), eager, atol=1e-6)
    assert np.unique(np.round(eager, 5), axis=0).shape[0] == 4  # the two absent ones are equal


def test_errors_of_unreadable_cells_name_the_row():
    with pytest.raises(DataError, match=r"'reviews', row 2: expected a list of reviews, got 5"):
        reviews().read(pd.Series([["a"], 5], dtype=object), None)


def test_options_are_checked():
    with pytest.raises(ConfigError, match="max_reviews: expected 1 or more, got 0"):
        reviews(max_reviews=0)
    with pytest.raises(ConfigError, match="unknown text encoder 'gpt'"):
        reviews(encoder="gpt")
