"""Tags: splitting, padding, real lists, and the mean over present tags."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.encoders.tags import Tags
from mmrank.schema import Feature

COLUMN = pd.Series(["red|cotton", "red| summer |cotton", "red", "", None, "rare"])


def tags(**options: object) -> Tags:
    return Tags(Feature("tags", "tags", "item", "tags"), options)


def fitted(values: pd.Series = COLUMN, **options: object) -> Tags:
    kind = tags(**options)
    kind.fit(values)
    return kind


def rows(kind: Tags, *texts: object) -> list[list[int]]:
    return kind.arrays(pd.Series(list(texts), dtype=object), None)[0].tolist()


def test_tags_are_split_stripped_and_counted():
    assert fitted().vocabulary == ("red", "cotton")
    assert fitted(min_count=1).vocabulary == ("red", "cotton", "rare", "summer")


def test_rows_are_padding_buckets_and_known_tags():
    """Row 0 is padding, rows 1 to 4 are buckets, then the known tags follow by frequency."""
    kind = fitted(max_tags=3)
    assert rows(kind, "cotton|red", " red ", "", "|| red|") == [
        [6, 5, 0],
        [5, 0, 0],
        [0, 0, 0],
        [5, 0, 0],
    ]
    (unseen,) = rows(kind, "a|b|c")
    assert set(unseen) <= {1, 2, 3, 4}


def test_the_separator_is_an_option():
    kind = fitted(pd.Series(["a,b", "b,c|d"]), separator=",", min_count=1)
    assert kind.vocabulary == ("b", "a", "c|d")


def test_only_the_first_tags_are_used():
    kind = fitted(max_tags=2)
    assert rows(kind, "red|cotton|red") == rows(kind, "red|cotton")


@pytest.mark.parametrize(
    "cell", [["red", "cotton"], ("red", "cotton"), np.array(["red", "cotton"])]
)
def test_a_cell_may_hold_a_list(cell):
    values = pd.Series([cell, [], None], dtype=object)
    raw, present = tags().read(values, None)
    assert raw.tolist() == ["red|cotton", "", ""]
    assert present.tolist() == [True, False, False]


def test_an_embedding_is_the_mean_of_the_present_tags():
    encoder = fitted().encoder(4)
    given = encoder(tf.constant([[5, 6, 0, 0], [5, 0, 0, 0], [0, 0, 0, 0]])).numpy()
    table = encoder.table.embeddings.numpy()
    expected = [(table[5] + table[6]) / 2, table[5], np.zeros(4)]
    np.testing.assert_allclose(given, expected, atol=1e-6)
    encoder.table.embeddings[0].assign(tf.fill([4], 1e6))
    np.testing.assert_array_equal(encoder(tf.constant([[5, 6, 0, 0]])).numpy()[0], given[0])


def test_every_row_has_an_embedding_even_with_nothing_known():
    kind = fitted(pd.Series([None], dtype=object))
    given = kind.encoder(4)(tf.constant(rows(kind, "a|b|c|d|e|f|g")))
    assert np.isfinite(given.numpy()).all()


def test_what_was_fitted_survives_a_round_trip():
    other = tags()
    other.restore(fitted().state())
    assert rows(other, "red|new") == rows(fitted(), "red|new")


def test_no_bucket_at_all_is_refused():
    with pytest.raises(ConfigError, match="'tags'.*oov_buckets: expected 1 or more, got 0"):
        tags(oov_buckets=0)


def test_absent_entries_of_a_list_are_not_tags():
    assert rows(fitted(), ["red", None, float("nan")]) == rows(fitted(), "red")
