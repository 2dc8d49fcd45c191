"""How well one text of a candidate answers a query, as a few numbers between 0 and about 1."""

from __future__ import annotations

import tensorflow as tf

from mmrank.matching.quantities import agreement
from mmrank.matching.terms import Terms

K1, B = 1.2, 0.75
# In the order in which `text_features` returns them.
TEXT_FEATURES = (
    "bm25",
    "idf_covered",
    "covered",
    "covered_exactly",
    "all_covered",
    "pairs",
    "triples",
    "last_word",
    "first_place",
    "of_the_text",
    "grams",
    "grams_both",
    "numbers",
    "other_numbers",
    "length",
)


def text_features(
    query: Terms, weights: tf.Tensor, text: Terms, average: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Features [B, L, F] in the order of `TEXT_FEATURES`, and which stems were found [B, L, T].

      bm25             over the stems, divided by its largest possible value
      idf_covered      share of the query's stems that are in the text, weighted by idf
      covered          the same, each stem counting once
      covered_exactly  share of the query's words that are in the text unchanged
      all_covered      whether every stem is in the text
      pairs, triples   share of two (three) neighbouring stems that are neighbours in the text
      last_word        whether the query's last stem, in English mostly the noun, is in the text
      first_place      1 / (1 + index in the text of the first stem that is found)
      of_the_text      share of the text's stems that are in the query
      grams            share of the query's runs of three characters that are in the text
      grams_both       twice those, divided by the runs of query and text (the Dice coefficient)
      numbers          share of the query's numbers that the text has
      other_numbers    share for which the text has another number of the same unit
      length           log(1 + words) / 5

    Args:
      query: The terms of B queries.
      weights: The idf of each of the queries' stems, [B, T] float32, 0 for padding.
      text: The terms of B · L candidates, [B, L, ...].
      average: Mean number of words of the text over the catalogue.

    Masking: a candidate without the text has zeros, and so has every candidate of a query without
      words.

    Source: Robertson and Zaragoza 2009, "The probabilistic relevance framework", equation 3.15.

    Example:
      The query "red dress" and the text "a red dress", with an idf of 1 for both stems:

      >>> import tensorflow as tf
      >>> from mmrank.matching.terms import TermLayout
      >>> layout = TermLayout(words=4)
      >>> query = layout.unpack(layout.pack(tf.constant(["red dress"])))
      >>> text = layout.unpack(layout.pack(tf.constant(["a red dress"]))[None])
      >>> features, found = text_features(query, tf.constant([[1.0, 1.0, 0.0, 0.0]]), text, 3.0)
      >>> named = dict(zip(TEXT_FEATURES, features[0, 0].numpy().tolist(), strict=True))
      >>> named["covered"], named["pairs"], named["first_place"], round(named["of_the_text"], 4)
      (1.0, 1.0, 0.5, 0.6667)
    """
    asked = query.stems > 0
    count = tf.reduce_sum(tf.cast(asked, tf.float32), -1)
    words = tf.maximum(count, 1.0)[:, None]
    size = tf.reduce_sum(tf.cast(text.stems > 0, tf.float32), -1)
    equal = equal_terms(query.stems, text.stems)  # [B, L, T, U]
    times = tf.reduce_sum(tf.cast(equal, tf.float32), -1)
    found = times > 0
    hits = tf.cast(found, tf.float32)
    total = tf.maximum(tf.reduce_sum(weights, -1), 1e-6)[:, None]
    norm = K1 * (1.0 - B + B * size / max(average, 1.0))[..., None]
    bm25 = tf.reduce_sum(weights[:, None] * times / (times + norm), -1) / total
    exact = tf.reduce_any(equal_terms(query.words, text.words), -1)
    covered = tf.reduce_sum(hits, -1) / words
    two = equal[:, :, :-1, :-1] & equal[:, :, 1:, 1:]
    three = two[:, :, :-1, :-1] & two[:, :, 1:, 1:]
    last = tf.one_hot(tf.cast(count, tf.int32) - 1, query.stems.shape[-1])[:, None]
    positions = tf.range(text.stems.shape[-1], dtype=tf.float32)
    anywhere = tf.reduce_any(equal, 2)  # [B, L, U]
    first = tf.reduce_max(tf.where(anywhere, 1.0 / (1.0 + positions), 0.0), -1)
    share_of_text = tf.reduce_sum(tf.cast(anywhere, tf.float32), -1) / tf.maximum(size, 1.0)
    grams, both = _grams(query.grams, text.grams)
    same, other = agreement(query.quantities, text.quantities)
    features = [
        bm25,
        tf.reduce_sum(weights[:, None] * hits, -1) / total,
        covered,
        tf.reduce_sum(tf.cast(exact, tf.float32), -1) / words,
        tf.cast((covered > 0.999) & (count > 0)[:, None], tf.float32),
        _share(two, count - 1.0),
        _share(three, count - 2.0),
        tf.reduce_sum(hits * last, -1),
        first,
        share_of_text,
        grams,
        both,
        same,
        other,
        tf.math.log1p(size) / 5.0,
    ]
    there = (size > 0) & (count > 0)[:, None]
    return tf.where(there[..., None], tf.stack(features, -1), 0.0), found


def equal_terms(asked: tf.Tensor, offered: tf.Tensor) -> tf.Tensor:
    """Which terms are equal, [B, L, T, U] bool, of asked [B, T] and offered [B, L, U].

    Example:
      >>> import tensorflow as tf
      >>> equal_terms(tf.constant([[1.0, 2.0]]), tf.constant([[[2.0, 0.0]]])).numpy().tolist()
      [[[[False, False], [True, False]]]]
    """
    # Padding is replaced by a value that no text has: cheaper than a second pass over all pairs.
    one = tf.where(asked > 0, asked, -1.0)[:, None, :, None]
    return one == offered[:, :, None, :]


def _share(runs: tf.Tensor, most: tf.Tensor) -> tf.Tensor:
    """Share [B, L] of a query's `most` [B] runs that occur in a text."""
    found = tf.reduce_sum(tf.cast(tf.reduce_any(runs, -1), tf.float32), -1)
    return found / tf.maximum(most, 1.0)[:, None]


def _grams(asked: tf.Tensor, offered: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Share of the query's grams found, and the Dice coefficient, [B, L]."""
    if 0 in (asked.shape[-1], offered.shape[-1]):
        none = tf.zeros(tf.shape(offered)[:2])
        return none, none
    found = tf.reduce_any(equal_terms(asked, offered), -1)
    hits = tf.reduce_sum(tf.cast(found, tf.float32), -1)
    mine = tf.reduce_sum(tf.cast(asked > 0, tf.float32), -1)[:, None]
    theirs = tf.reduce_sum(tf.cast(offered > 0, tf.float32), -1)
    return hits / tf.maximum(mine, 1.0), 2.0 * hits / tf.maximum(mine + theirs, 1.0)
