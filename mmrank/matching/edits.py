"""Words one edit apart, found by patterns that both share; uses TensorFlow's own ops."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

SHORTEST, LONGEST = 4, 24  # letters of words that may have been mistyped
ANY = "?"  # represents any letter; no word contains it
BUCKETS = 2**52  # hash buckets for patterns, so many that no two of a million share one
NONE = np.iinfo(np.int32).max  # in place of a number
Lookup = Callable[[tf.Tensor], tf.Tensor]


class Numbered:
    """The number of each of some strings, as a lookup in a sorted table.

    Args:
      strings: Distinct or not; of equal ones the first counts.
      numbers: The number of each string; None for 0, 1, 2, ...

    Example:
      >>> import tensorflow as tf
      >>> find = Numbered(["red", "blue"]).lookup()
      >>> found = find(tf.constant(["blue", "red", "green"])).numpy().tolist()
      >>> found[:2], found[2] == NONE
      ([1, 0], True)
    """

    def __init__(self, strings: Sequence[str], numbers: Sequence[int] | None = None):
        keys = _keys(tf.constant(list(strings), tf.string)).numpy()
        self._keys, first = np.unique(keys, return_index=True)
        found = np.arange(len(strings)) if numbers is None else np.array(numbers, np.int64)
        self._numbers = found[first].astype(np.int32)
        # Never empty: a search in an empty table has no nearest index.
        self._keys = np.append(self._keys, np.iinfo(np.int64).max)
        self._numbers = np.append(self._numbers, np.int32(NONE))

    def lookup(self) -> Lookup:
        """A function of strings of any shape → their numbers, int32; `NONE` for unknown strings.

        The function can be used within one graph only.
        """
        table, numbers = tf.constant(self._keys), tf.constant(self._numbers)

        def found(strings: tf.Tensor) -> tf.Tensor:
            keys = _keys(strings)
            at = tf.reshape(tf.searchsorted(table, tf.reshape(keys, [-1])), tf.shape(keys))
            return tf.where(tf.gather(table, at) == keys, tf.gather(numbers, at), NONE)

        return found


@dataclasses.dataclass(frozen=True)
class Edits:
    """Everything one edit away from some words, E in all.

    Attributes:
      of_word: The index of the word that each edit belongs to, [E] int32.
      words: The word with a letter left out, or with two neighbours swapped, [E]; empty if the
        edit does not exist.
      patterns: The word with one letter replaced by any letter, or with any letter added, [E];
        empty if the edit does not exist.

    Example:
      >>> import tensorflow as tf
      >>> edits = edits_of(tf.constant(["ab", "c"]))
      >>> edits.of_word.numpy().tolist()  # 2 · (2 + 1) edits of ab, 2 · (1 + 1) of c
      [0, 0, 0, 1, 1, 0, 0, 0, 1, 1]
      >>> edits.words.shape == edits.patterns.shape == edits.of_word.shape
      True
    """

    of_word: tf.Tensor
    words: tf.Tensor
    patterns: tf.Tensor


def edits_of(words: tf.Tensor) -> Edits:
    """The edits of words [N] string, 2 · (letters + 1) for each word.

    Example:
      >>> import tensorflow as tf
      >>> edits = edits_of(tf.constant(["ab"]))
      >>> sorted({word.decode() for word in edits.words.numpy()} - {""})
      ['a', 'b', 'ba']
      >>> sorted({pattern.decode() for pattern in edits.patterns.numpy()} - {""})
      ['?ab', '?b', 'a?', 'a?b', 'ab?']
    """
    letters = tf.strings.length(words, unit="UTF8_CHAR")
    of_word = tf.repeat(tf.range(tf.size(words)), letters + 1)
    at = tf.ragged.range(letters + 1).flat_values
    # Two more characters, so that an index after the last letter is valid; lengths exclude them.
    whole = tf.gather(words + "\x01\x01", of_word)
    length = tf.gather(letters, of_word)

    def part(first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        return tf.strings.substr(whole, first, tf.maximum(count, 0), unit="UTF8_CHAR")

    one = tf.ones_like(at)
    before, here = part(0 * at, at), part(at, one)
    following = tf.minimum(at + 1, length)
    after = part(following, length - at - 1)
    swapped = (
        before + part(following, one) + here + part(tf.minimum(at + 2, length), length - at - 2)
    )
    inside, paired = at < length, at < length - 1
    return Edits(
        tf.concat([of_word, of_word], 0),
        tf.concat([tf.where(inside, before + after, ""), tf.where(paired, swapped, "")], 0),
        tf.concat(
            [
                tf.where(inside, before + ANY + after, ""),
                before + ANY + part(at, length - at),
            ],
            0,
        ),
    )


def patterns_of(word: str) -> list[str]:
    """The patterns of a word: each of its letters in turn replaced by any letter.

    Example:
      >>> patterns_of("mug")
      ['?ug', 'm?g', 'mu?']
    """
    return [word[:i] + ANY + word[i + 1 :] for i in range(len(word))]


def least(numbers: tf.Tensor, of_word: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
    """The smallest of the numbers [E] int32 of each of `words` words, [words]; `NONE` if none."""
    return tf.math.unsorted_segment_min(numbers, of_word, words)


def _keys(strings: tf.Tensor) -> tf.Tensor:
    return tf.strings.to_hash_bucket_fast(strings, BUCKETS)
