"""Numbers in texts, with units converted: `3/4 in`, `500ml`, `0.5 l` and `42"` can be compared."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import tensorflow as tf

from mmrank.data.units import UNITS
from mmrank.matching.words import hashes

# What a number counts: nothing, a bare number, or from 2 on what its unit measures.
NONE, BARE = 0, 1
CLOSE = 0.005  # difference of logarithms below which two numbers are equal: half a percent


@dataclasses.dataclass(frozen=True)
class Quantities:
    """The first Q numbers of some texts.

    Attributes:
      kinds: What each number counts, [..., Q]: 0 for padding, 1 for a bare number, else what its
        unit measures.
      amounts: Logarithms of the numbers in base units of what is measured, [..., Q].
      numbers: Logarithms of the numbers as written, [..., Q].

    Example:
      >>> import tensorflow as tf
      >>> from mmrank.matching.words import words_of
      >>> found = quantities_of(words_of(tf.constant(["pack of 6", "red"])), width=2)
      >>> found.kinds.numpy().tolist()  # a bare number and padding
      [[1.0, 0.0], [0.0, 0.0]]
    """

    kinds: tf.Tensor
    amounts: tf.Tensor
    numbers: tf.Tensor


def quantities_of(words: tf.RaggedTensor, width: int) -> Quantities:
    """The numbers among words [N, words], at most Q = `width` for each text, float32.

    An integer before a fraction forms one number with it: `1 1/2` is 1.5. A unit is the word after
    the number, or the two words after it.

    Example:
      >>> import tensorflow as tf
      >>> from mmrank.matching.words import words_of
      >>> found = quantities_of(words_of(tf.constant(["500 ml", "1 1/2 l"])), width=1)
      >>> tf.exp(found.amounts).numpy().round(4).tolist()  # litres
      [[0.5], [1.5]]
      >>> tf.exp(found.numbers).numpy().round(4).tolist()  # as written
      [[500.0], [1.5]]
    """
    flat, rows = words.flat_values, words.value_rowids()
    decimal = tf.strings.regex_full_match(flat, r"\d{1,12}(\.\d{1,9})?")
    fraction = tf.strings.regex_full_match(flat, r"\d{1,4}/0*[1-9]\d{0,3}")
    value = tf.strings.to_number(tf.where(decimal, flat, "0"))
    upper = tf.strings.to_number(tf.where(fraction, tf.strings.regex_replace(flat, "/.*", ""), "0"))
    lower = tf.strings.to_number(tf.where(fraction, tf.strings.regex_replace(flat, ".*/", ""), "1"))
    value += upper / lower

    following = _next(rows, -1)  # the word after a text's last one belongs to another text
    same = rows == following
    joined = (
        decimal
        & same
        & _next(fraction, False)
        & (_next(value, 0.0) < 1.0)
        & (value == tf.floor(value))
        & (value < 1000.0)
    )
    value = tf.where(joined, value + _next(value, 0.0), value)
    there = (decimal | fraction) & ~_last(joined) & (value > 0)

    # The word after the number; after `1 1/2` the word after the fraction.
    first = tf.where(same, _next(flat, ""), "")
    second = tf.where(same & _next(same, False), _next(_next(flat, ""), ""), "")
    third = tf.where(_next(_next(same, False), False), _next(_next(_next(flat, ""), ""), ""), "")
    near = tf.where(joined, second, first)
    far = tf.where(joined, tf.where(second == "", "", third), second)
    kind_two, scale_two = _units(tf.strings.join([near, far]))
    kind_one, scale_one = _units(near)
    two = (kind_two > BARE) & (far != "")
    kind, scale = tf.where(two, kind_two, kind_one), tf.where(two, scale_two, scale_one)
    number = tf.math.log(tf.maximum(value, 1e-9))

    def packed(values: tf.Tensor) -> tf.Tensor:
        kept = tf.ragged.boolean_mask(words.with_flat_values(values), words.with_flat_values(there))
        return kept.to_tensor(0.0, shape=[None, width])

    return Quantities(packed(kind), packed(number + scale), packed(number))


def agreement(asked: Quantities, offered: Quantities) -> tuple[tf.Tensor, tf.Tensor]:
    """Shares [B, L] of the query's numbers that a candidate has, and that it contradicts.

    A candidate has a number if one of its own is within half a percent of it in the same unit; if
    either is bare, the numbers are compared as written. It contradicts a number if it has numbers
    of that unit, but not this one. Both shares are 0 for a query without numbers.

    Args:
      asked: The numbers of queries, [B, Q].
      offered: The numbers of candidates, [B, L, R].

    Example:
      A query for 500 ml, and three candidates:

      >>> import tensorflow as tf
      >>> from mmrank.matching.words import words_of
      >>> asked = quantities_of(words_of(tf.constant(["500ml"])), width=1)
      >>> offered = quantities_of(words_of(tf.constant(["0.5 l", "1 litre", "red"])), width=1)
      >>> of_list = Quantities(offered.kinds[None], offered.amounts[None], offered.numbers[None])
      >>> same, other = agreement(asked, of_list)
      >>> same.numpy().tolist(), other.numpy().tolist()
      ([[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    """

    def each(name: str) -> tuple[tf.Tensor, tf.Tensor]:
        return getattr(asked, name)[:, None, :, None], getattr(offered, name)[:, :, None, :]

    (kind, kinds), (amount, amounts), (number, numbers) = map(each, ("kinds", "amounts", "numbers"))
    real = (kind > NONE) & (kinds > NONE)
    bare = real & ((kind == BARE) | (kinds == BARE))
    alike = real & ~bare & (kind == kinds)
    equal = (alike & (tf.abs(amount - amounts) < CLOSE)) | (
        bare & (tf.abs(number - numbers) < CLOSE)
    )
    had = tf.reduce_any(equal, -1)
    otherwise = tf.reduce_any(alike, -1) & ~had
    count = tf.reduce_sum(tf.cast(asked.kinds > NONE, tf.float32), -1)[:, None]

    def share(flags: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.cast(flags, tf.float32), -1) / tf.maximum(count, 1.0)

    return share(had), share(otherwise)


def _next(values: tf.Tensor, last: object) -> tf.Tensor:
    """The next value of each."""
    end = tf.cast(tf.fill([1], last), values.dtype)
    return tf.concat([values[1:], end[: tf.size(values)]], 0)


def _last(flags: tf.Tensor) -> tf.Tensor:
    """The previous flag of each."""
    return tf.concat([tf.zeros_like(flags[:1]), flags[:-1]], 0)


def _units(words: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Kinds of unit [N], `BARE` where a word is not a unit, and logarithms of the unit sizes."""
    known, kinds, scales = _table()
    number = hashes(words)
    at = tf.minimum(tf.searchsorted(tf.constant(known), number), len(known) - 1)
    found = tf.gather(tf.constant(known), at) == number
    kind = tf.where(found, tf.gather(tf.constant(kinds), at), float(BARE))
    return kind, tf.where(found, tf.gather(tf.constant(scales), at), 0.0)


@functools.cache
def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hashes of the units in rising order, what they measure, and logarithms of their sizes.

    Units are spelled as `words_of` leaves them: units of two words, or of ideographs, as one word.
    """
    units = {s.replace(" ", ""): unit for s, unit in UNITS.items() if s.replace(" ", "").isalpha()}
    measured = sorted({what for what, _ in units.values()})
    with tf.init_scope():
        numbers = hashes(tf.constant(list(units))).numpy()
    order = np.argsort(numbers)
    kinds = np.array([BARE + 1 + measured.index(what) for what, _ in units.values()], np.float32)
    scales = np.array([math.log(size) for _, size in units.values()], np.float32)
    return numbers[order], kinds[order], scales[order]
