"""Query words in the catalogue's spelling: corrected, joined or split, within the graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from mmrank.matching.edits import (
    LONGEST,
    NONE,
    SHORTEST,
    Lookup,
    Numbered,
    edits_of,
    least,
    patterns_of,
)
from mmrank.matching.words import hashes, stemmed, words_of

SMALLEST_PART = 2  # minimum letters of each half of a word that is split
LETTERS = r".*\pL.*"  # a number is neither split nor joined to another


class SpellingCorrector:
    """The catalogue's spellings of query words: raw texts [N] → rows [N, 3 · words] float32.

    For every word a row has the hashes of one or two stems, and their likeness to the word: 1 minus
    one edit divided by the letters of the longer one, where a space counts as an edit too. A word
    without another spelling has zeros.

    - Two neighbours that the catalogue writes as one (`screw driver`, `dcd 771`) get that word.
    - A word that the catalogue does not know gets the most common stem that differs by one added,
      missing or other letter, or by two swapped neighbours (Damerau and Levenshtein). If there is
      no such stem, it gets the two words that it is made of (`dcd771`), chosen such that the rarer
      one is as common as possible. A word with digits is only split, since another digit means
      another product. A number is left unchanged.

    Args:
      stems: Of the catalogue, the most common first.
      words: How many words of a text are read.

    Source: Damerau 1964, "A technique for computer detection and correction of spelling errors".
    """

    def __init__(self, stems: Sequence[str], words: int):
        self._words, self.width = words, 3 * words
        correctable = [(i, s) for i, s in enumerate(stems) if s.isalpha() and _typed(s)]
        patterns = [(p, i) for i, s in correctable for p in patterns_of(s)]
        with tf.init_scope():
            self._stems = Numbered(stems)
            self._patterns = Numbered([p for p, _ in patterns], [i for _, i in patterns])
            # The last entry is for a word without another spelling.
            self._hashes = np.append(hashes(tf.constant([*stems, ""])).numpy()[:-1], 0.0)
        self._lengths = np.array([*(len(s) for s in stems), 0], np.int32)

    def __call__(self, raw: tf.Tensor) -> tf.Tensor:
        words = words_of(raw)[:, : self._words]
        flat = words.flat_values
        count = tf.size(flat)
        length = tf.strings.length(flat, unit="UTF8_CHAR")
        known = self._stems.lookup()
        joined, joined_length = _joined(flat, length, words.value_rowids(), known)
        stems = stemmed(flat)
        unknown = (known(stems) == NONE) & (length <= LONGEST)
        corrected = self._corrected(stems, unknown, count, known)
        left, right = _parted(flat, unknown, count, known)

        # At most one correction for each word: joined, else corrected, else split.
        is_joined, is_corrected, is_parted = joined < NONE, corrected < NONE, left < NONE
        first = tf.where(is_joined, joined, tf.where(is_corrected, corrected, left))
        second = tf.where(is_joined | is_corrected, NONE, right)
        last = len(self._lengths) - 1
        longer = tf.maximum(
            tf.strings.length(stems, unit="UTF8_CHAR"),
            tf.gather(tf.constant(self._lengths), tf.minimum(corrected, last)),
        )
        size = tf.where(is_joined, joined_length + 1, tf.where(is_corrected, longer, length + 1))
        alike = 1.0 - 1.0 / tf.cast(tf.maximum(size, 1), tf.float32)
        alike = tf.where(is_joined | is_corrected | is_parted, alike, 0.0)
        numbers = tf.constant(self._hashes.astype(np.float32))
        parts = [
            tf.gather(numbers, tf.minimum(first, last)),
            tf.gather(numbers, tf.minimum(second, last)),
            alike,
        ]
        rows = [words.with_flat_values(p).to_tensor(0.0, shape=[None, self._words]) for p in parts]
        return tf.ensure_shape(tf.concat(rows, -1), [None, self.width])

    def _corrected(
        self, stems: tf.Tensor, unknown: tf.Tensor, count: tf.Tensor, known: Lookup
    ) -> tf.Tensor:
        """The index of the most common stem one edit from each unknown one, [N]; else `NONE`."""
        length = tf.strings.length(stems, unit="UTF8_CHAR")
        letters = tf.strings.regex_full_match(stems, r"[\pL\pM]+")
        at = tf.where(unknown & letters & (length >= SHORTEST))[:, 0]
        edits = edits_of(tf.gather(stems, at))
        found = tf.minimum(known(edits.words), self._patterns.lookup()(edits.patterns))
        best = least(found, edits.of_word, tf.size(at))
        return tf.tensor_scatter_nd_update(tf.fill([count], NONE), at[:, None], best)


def _joined(
    words: tf.Tensor, length: tf.Tensor, rows: tf.Tensor, known: Lookup
) -> tuple[tf.Tensor, tf.Tensor]:
    """The word that each word [N] forms with the previous or else the next one, and its length.

    A word is given as the index of its stem, `NONE` if the catalogue has no such word.
    """
    pairs = words[:-1] + words[1:]
    letters = tf.strings.regex_full_match(pairs, LETTERS) & (rows[:-1] == rows[1:])
    found = tf.where(letters, known(stemmed(pairs)), NONE)
    sizes = length[:-1] + length[1:]
    none = tf.fill([tf.minimum(tf.size(words), 1)], NONE)
    before, after = tf.concat([none, found], 0), tf.concat([found, none], 0)
    no_size = tf.zeros_like(none)
    size = tf.where(before < NONE, tf.concat([no_size, sizes], 0), tf.concat([sizes, no_size], 0))
    return tf.where(before < NONE, before, after), size


def _parted(
    words: tf.Tensor, unknown: tf.Tensor, count: tf.Tensor, known: Lookup
) -> tuple[tf.Tensor, tf.Tensor]:
    """The indices of the two stems that each unknown word [N] is made of; `NONE` without."""
    length = tf.strings.length(words, unit="UTF8_CHAR")
    letters = tf.strings.regex_full_match(words, LETTERS)
    at = tf.where(unknown & letters & (length >= 2 * SMALLEST_PART))[:, 0]
    whole = tf.gather(words, at)
    ways = tf.gather(length, at) - 2 * SMALLEST_PART + 1
    of_word = tf.repeat(tf.range(tf.size(at)), ways)
    cut = tf.ragged.range(ways).flat_values + SMALLEST_PART
    whole = tf.gather(whole, of_word)
    start = tf.strings.substr(whole, tf.zeros_like(cut), cut, unit="UTF8_CHAR")
    rest = tf.strings.substr(whole, cut, tf.fill(tf.shape(cut), LONGEST), unit="UTF8_CHAR")
    left, right = known(stemmed(start)), known(stemmed(rest))
    rarer = tf.maximum(left, right)
    best = tf.gather(least(rarer, of_word, tf.size(at)), of_word)
    chosen = (rarer == best) & (best < NONE)
    # If several splits share the rarer word, the first split counts.
    way = least(tf.where(chosen, cut, NONE), of_word, tf.size(at))
    chosen &= cut == tf.gather(way, of_word)
    found = []
    for part in (left, right):
        value = least(tf.where(chosen, part, NONE), of_word, tf.size(at))
        empty = tf.fill([count], NONE)
        found.append(tf.tensor_scatter_nd_update(empty, at[:, None], value))
    return found[0], found[1]


def _typed(stem: str) -> bool:
    """Whether a stem is as long as the words that may have been mistyped."""
    return SHORTEST <= len(stem) <= LONGEST + 1
