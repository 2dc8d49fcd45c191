"""CLIP's byte pairs in the graph: token ids of texts, by TensorFlow's own ops alone.

keras_nlp's `BytePairTokenizer` does not support pieces that end a word. It also remembers every
word that it has processed, which a server must not do.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.encoders.portable.unicode import SPACES, normalize_utf8

_MOST_BYTES = 4  # bytes read of a word per token of a text; longer words have too many tokens
# CLIP's pattern, with a space for `\s` in `[^\s\p{L}\p{N}]+`: by then all white space is a space.
_WORD = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^ \p{L}\p{N}]+"
_NEVER = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True)
class BytePairs:
    """How CLIP tokenizes texts.

    Attributes:
      size: How many pieces the vocabulary has.
      first: The pieces of the 256 bytes, then their pieces at the end of a word, [512].
      pairs: Two pieces that merge into one, in the order of the merges, [merges, 2].
      merged: The pieces that the pairs merge into, [merges].
      start, end: The pieces before and after every text.
      lowercase: Whether texts are converted to lower case first.
    """

    size: int
    first: np.ndarray
    pairs: np.ndarray
    merged: np.ndarray
    start: int
    end: int
    lowercase: bool = True


class BytePairTokens(tf.keras.layers.Layer):
    """Token ids [N, T] int32 and their mask [N, T] int32 of texts [N]; T is the longest's length.

    Texts are brought to NFC and lower case, and runs of white space become one space. A word is an
    English ending after an apostrophe, a run of letters, one digit, or a run of other marks. Only
    its first 4 · `max_tokens` bytes are read. Text that looks like a start or end piece remains
    text.

    Masking: padding has the id of the end and mask 0.

    Args:
      words: Pieces and pairs.
      max_tokens: Maximum number of tokens of a text, including start and end.

    Source: Sennrich et al. 2016, "Neural machine translation of rare words with subword units",
      algorithm 1, over bytes; Radford et al. 2021, section 2.4.
    """

    def __init__(self, words: BytePairs, max_tokens: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.words, self.max_tokens = words, max_tokens
        keys = words.pairs[:, 0].astype(np.int64) * words.size + words.pairs[:, 1]
        self.order = np.argsort(keys)
        self.keys = keys[self.order]

    def call(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        texts = normalize_utf8(tf.strings.unicode_transcode(inputs, "UTF-8", "UTF-8"), "NFC")
        texts = tf.strings.regex_replace(texts, SPACES, " ")
        if self.words.lowercase:
            texts = tf.strings.lower(texts, encoding="utf-8")
        spaced = tf.strings.regex_replace(texts, _WORD, r" \0 ")
        # A word has at least one piece.
        words = tf.strings.split(spaced)[:, : self.max_tokens - 2]
        distinct, which = tf.unique(words.flat_values)
        pieces = tf.gather(self._pieces(distinct), which)
        cut = words.with_flat_values(pieces).merge_dims(1, 2)[:, : self.max_tokens - 2]
        mark = tf.ones([tf.size(inputs), 1], tf.int32)
        marked = tf.concat([mark * self.words.start, cut, mark * self.words.end], 1)
        mask = tf.sequence_mask(marked.row_lengths(), dtype=tf.int32)
        return marked.to_tensor(self.words.end), mask

    def _pieces(self, words: tf.Tensor) -> tf.RaggedTensor:
        """Returns the pieces [W, n] int32 of words [W] that are not empty."""
        letters = tf.strings.bytes_split(tf.strings.substr(words, 0, _MOST_BYTES * self.max_tokens))
        numbers = tf.reshape(tf.io.decode_raw(letters.flat_values, tf.uint8), [-1])
        of_word = letters.value_rowids()
        last = tf.concat([of_word[1:] != of_word[:-1], tf.ones_like(of_word[:1], tf.bool)], 0)
        first = tf.constant(self.words.first, tf.int64)
        symbols = tf.gather(first, tf.cast(numbers, tf.int32) + 256 * tf.cast(last, tf.int32))
        symbols, of_word, _ = tf.while_loop(
            lambda symbols, of_word, more: more,
            self._step,
            (symbols, of_word, tf.size(symbols) > 0),
            shape_invariants=(tf.TensorShape([None]), tf.TensorShape([None]), tf.TensorShape([])),
        )
        return tf.RaggedTensor.from_value_rowids(
            tf.cast(symbols, tf.int32), of_word, tf.size(words, tf.int64)
        )

    def _step(
        self, symbols: tf.Tensor, of_word: tf.Tensor, more: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Merges, in each word, the pair that comes first in the order of merges."""
        count = tf.size(symbols, tf.int64)
        following = tf.concat([symbols[1:], [-1]], 0)
        inside = tf.concat([of_word[1:] == of_word[:-1], [False]], 0)
        wanted = symbols * self.words.size + following
        keys = tf.constant(self.keys, tf.int64)
        at = tf.minimum(tf.searchsorted(keys, wanted), len(self.keys) - 1)
        known = inside & (tf.gather(keys, at) == wanted)
        rank = tf.gather(tf.constant(self.order, tf.int64), at)
        # If a word has a pair twice, merge the first one.
        order = tf.where(known, rank * count + tf.range(count), _NEVER)
        chosen = known & (order == tf.gather(tf.math.segment_min(order, of_word), of_word))
        merged = tf.gather(tf.constant(self.words.merged, tf.int64), rank)
        symbols = tf.where(chosen, merged, symbols)
        kept = tf.concat([[True], ~chosen[:-1]], 0)
        return (
            tf.boolean_mask(symbols, kept),
            tf.boolean_mask(of_word, kept),
            tf.reduce_any(chosen),
        )
