"""SentencePiece in the graph: token ids as in XLM-R, multilingual E5, BGE-M3 and USE."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf
import tensorflow_text


@dataclasses.dataclass(frozen=True)
class PieceWords:
    """How an encoder tokenizes texts by a SentencePiece model.

    Attributes:
      model: The serialized SentencePiece model.
      size: How many pieces it has.
      model_unknown: The id that the model gives to unknown pieces.
      offset: Added to the model's ids to get the encoder's.
      unknown, start, end, padding: The encoder's special ids.
      lowercase: Whether texts are converted to lower case first.
    """

    model: bytes
    size: int
    model_unknown: int
    offset: int
    unknown: int
    start: int
    end: int
    padding: int
    lowercase: bool = False


class PieceTokens(tf.keras.layers.Layer):
    """Token ids [N, T] int32 and their mask [N, T] int32 of texts [N]; T is the longest's length.

    The model normalises texts itself (mostly NFKC, with white space joined).

    Masking: padding has the id `words.padding` and mask 0.

    Args:
      words: Model and special ids.
      max_tokens: Maximum number of tokens of a text, including start and end.

    Source: Kudo and Richardson 2018, "SentencePiece"; the offset is that of fairseq's vocabularies
      (Conneau et al. 2020, "XLM-R").
    """

    def __init__(self, words: PieceWords, max_tokens: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.words, self.max_tokens = words, max_tokens
        self.pieces = tensorflow_text.SentencepieceTokenizer(words.model)

    def call(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        words = self.words
        texts = tf.strings.lower(inputs, encoding="utf-8") if words.lowercase else inputs
        cut = self.pieces.tokenize(texts)[:, : self.max_tokens - 2]
        known = tf.not_equal(cut.flat_values, words.model_unknown)
        ids = tf.where(known, cut.flat_values + words.offset, words.unknown)
        marked, _ = tensorflow_text.combine_segments(
            [cut.with_flat_values(ids)], words.start, words.end
        )
        mask = tf.sequence_mask(marked.row_lengths(), dtype=tf.int32)
        return tf.cast(marked.to_tensor(words.padding), tf.int32), mask


class Prefixed(tf.keras.layers.Layer):
    """Texts [N] with a prefix before each, such as the `query: ` that E5 was trained with.

    Args:
      prefix: The prefix.
    """

    def __init__(self, prefix: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.prefix = prefix

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.strings.join([self.prefix, inputs])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"prefix": self.prefix}
