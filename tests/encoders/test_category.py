"""Categories and ids: known words, shared buckets, ids as texts, dropout."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.encoders.category import Category
from mmrank.schema import Feature

BRANDS = pd.Series(["Nike"] * 3 + ["安踏"] * 3 + ["Puma"] * 2 + ["Asics", "", None])


def category(**options: object) -> Category:
    return Category(Feature("brand", "category", "item", "brand"), options)


def fitted(values: pd.Series = BRANDS, **options: object) -> Category:
    kind = category(**options)
    kind.fit(values)
    return kind


def rows(kind: Category, *words: object) -> list[int]:
    return kind.arrays(pd.Series(list(words)), None)[0].tolist()


def test_known_words_are_the_frequent_ones_in_order_of_frequency():
    """Ties are in the order of code points; the empty text is not a word."""
    assert fitted().vocabulary == ("Nike", "安踏", "Puma")
    assert fitted(min_count=1).vocabulary == ("Nike", "安踏", "Puma", "Asics")
    assert fitted(min_count=3).vocabulary == ("Nike", "安踏")
    assert fitted(max_words=1).vocabulary == ("Nike",)


def test_known_words_have_rows_of_their_own_behind_the_buckets():
    assert rows(fitted(oov_buckets=5), "Nike", "安踏", "Puma", " Nike ") == [5, 6, 7, 5]


def test_unseen_words_share_the_buckets_and_have_finite_embeddings():
    kind = fitted(oov_buckets=3)
    given = rows(kind, *[f"new{i}" for i in range(60)])
    assert set(given) == {0, 1, 2}
    assert given == rows(kind, *[f"new{i}" for i in range(60)])
    embedded = kind.encoder(4)(tf.constant(given))
    assert embedded.shape == (60, 4)
    assert np.isfinite(embedded.numpy()).all()


@pytest.mark.parametrize("words", [[], ["once"]])
def test_a_column_without_a_known_word_still_encodes(words):
    kind = fitted(pd.Series(words, dtype=object))
    assert kind.vocabulary == ()
    assert kind.encoder(4)(tf.constant(rows(kind, "any", ""))).shape == (2, 4)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series(["007", "7", None]), ["007", "7", ""]),
        (pd.Series([17.0, np.nan, 3.0]), ["17", "", "3"]),
        (pd.Series([17, 3], dtype="Int64"), ["17", "3"]),
        (pd.Series([38.5, 38.0]), ["38.5", "38"]),
        (pd.Series(["a", ""], dtype="category"), ["a", ""]),
    ],
)
def test_ids_are_read_as_text(column, expected):
    words, present = category().read(column, None)
    assert words.tolist() == expected
    assert present.tolist() == [w != "" for w in expected]


def test_what_was_fitted_survives_a_round_trip():
    other = category()
    other.restore(fitted().state())
    assert rows(other, "Puma", "new") == rows(fitted(), "Puma", "new")


def test_dropout_sends_known_words_to_buckets_in_training_only():
    """0.25 of 4,000 rows are dropped, within five deviations; unseen words do not change."""
    tf.keras.utils.set_random_seed(0)
    kind = fitted(oov_buckets=2, dropout=0.25)
    encoder = kind.encoder(4)
    known = tf.fill([4000], tf.constant(3, tf.int64))
    own = encoder(known, training=False).numpy()
    assert (own == encoder.table(3).numpy()).all()
    trained = encoder(known, training=True).numpy()
    dropped = (trained == encoder.table(3 % 2).numpy()).all(1)
    assert (dropped | (trained == own).all(1)).all()
    assert abs(dropped.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 4000)
    unseen = tf.zeros([99], tf.int64)
    np.testing.assert_array_equal(encoder(unseen, training=True), encoder(unseen))


def test_no_bucket_at_all_is_refused():
    with pytest.raises(ConfigError, match="'brand'.*oov_buckets: expected 1 or more, got 0"):
        category(oov_buckets=0)


def test_a_dropped_id_and_an_unseen_id_are_one_embedding():
    """With one bucket, an id dropped in training has the embedding of an unseen id in serving."""
    kind = fitted(oov_buckets=1, dropout=0.9)
    encoder = kind.encoder(4)
    unseen = encoder(tf.constant(rows(kind, "never met")), training=False).numpy()[0]
    known = tf.constant(rows(kind, "Nike") * 200)
    trained = encoder(known, training=True).numpy()
    dropped = (trained != encoder(known[:1]).numpy()).any(1)
    assert dropped.any()
    np.testing.assert_array_equal(trained[dropped], np.tile(unseen, (dropped.sum(), 1)))
