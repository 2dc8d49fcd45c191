"""A text as one row of numbers: its words, stems, character runs, quantities and names."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from mmrank.matching.quantities import Quantities, quantities_of
from mmrank.matching.words import grams_of, hashed_rows, phrases_of, stems_of, words_of

LONGEST_NAME = 3  # maximum words of a name that is looked for in queries


@dataclasses.dataclass(frozen=True)
class Terms:
    """What a text is matched by, unpacked; 0 is padding.

    Attributes:
      words, stems: Hashes [..., words] in the order of the text.
      grams: Hashes of runs of three characters, [..., grams].
      quantities: Numbers with their units, [..., numbers].
      names: Hashes [..., names]: of a query every run of up to three words, of a category its whole
        value, of tags each value.

    Example:
      >>> import tensorflow as tf
      >>> layout = TermLayout(words=3, grams=8)
      >>> terms = layout.unpack(layout.pack(tf.constant(["red dresses", ""])))
      >>> terms.words.shape, terms.grams.shape
      (TensorShape([2, 3]), TensorShape([2, 8]))
      >>> (terms.stems > 0).numpy().tolist()
      [[True, True, False], [False, False, False]]
    """

    words: tf.Tensor
    stems: tf.Tensor
    grams: tf.Tensor
    quantities: Quantities
    names: tf.Tensor


@dataclasses.dataclass(frozen=True)
class TermLayout:
    """How many terms of each sort a row has.

    Attributes:
      words, grams, numbers, names: See `Terms`.
      phrases: Whether names are the runs of words of a query, rather than whole values.
      separator: Separates the values of one text, each a name; empty for a text of one value.

    Example:
      >>> import tensorflow as tf
      >>> layout = TermLayout(words=3)
      >>> rows = layout.pack(tf.constant(["red dresses"]))
      >>> rows.shape, layout.width  # three words and three stems
      (TensorShape([1, 6]), 6)
      >>> (layout.unpack(rows).words > 0).numpy().tolist()
      [[True, True, False]]
    """

    words: int
    grams: int = 0
    numbers: int = 0
    names: int = 0
    phrases: bool = False
    separator: str = ""

    @property
    def width(self) -> int:
        """How many numbers a row has."""
        return 2 * self.words + self.grams + 3 * self.numbers + self.names

    def pack(self, raw: tf.Tensor) -> tf.Tensor:
        """Rows [N, width] float32 of raw texts [N]; zeros for the empty text."""
        whole = raw
        if self.separator:
            whole = tf.strings.reduce_join(
                tf.strings.split(raw, self.separator), separator=" ", axis=-1
            )
        words = words_of(whole)
        parts = [hashed_rows(words, self.words), hashed_rows(stems_of(words), self.words)]
        if self.grams:
            parts.append(hashed_rows(grams_of(words), self.grams))
        if self.numbers:
            found = quantities_of(words, self.numbers)
            parts += [found.kinds, found.amounts, found.numbers]
        if self.names:
            parts.append(hashed_rows(self._names(raw, words), self.names))
        return tf.ensure_shape(tf.concat(parts, -1), [None, self.width])

    def _names(self, raw: tf.Tensor, words: tf.RaggedTensor) -> tf.RaggedTensor:
        if self.phrases:
            return phrases_of(words, LONGEST_NAME)
        if not self.separator:
            name = tf.strings.reduce_join(words, separator=" ", axis=-1)
            return tf.RaggedTensor.from_row_lengths(
                tf.boolean_mask(name, name != ""), tf.cast(name != "", tf.int64)
            )
        values = tf.strings.split(raw, self.separator)
        names = tf.strings.reduce_join(words_of(values.flat_values), separator=" ", axis=-1)
        named = values.with_flat_values(names)
        return tf.ragged.boolean_mask(named, named != "")

    def unpack(self, rows: tf.Tensor) -> Terms:
        """The terms in rows [..., width]."""
        sizes = [self.words, self.words, self.grams, *[self.numbers] * 3, self.names]
        words, stems, grams, kinds, amounts, numbers, names = tf.split(rows, sizes, axis=-1)
        return Terms(words, stems, grams, Quantities(kinds, amounts, numbers), names)
