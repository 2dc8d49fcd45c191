"""SigLIP's SentencePiece in the graph: every text is padded to all tokens, after its end piece."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_text

from mmrank.encoders.portable.unicode import SPACES

_PUNCTUATION = r"[!-/:-@\[-`{-~]"  # of ASCII


class StickyPieces(NamedTuple):
    """How SigLIP tokenizes texts.

    Attributes:
      model: The serialized SentencePiece model.
      end: The piece after every text.
      padding: The piece that fills up the rest; mostly the same as `end`.
      lowercase: Whether texts are converted to lower case first.
    """

    model: bytes
    end: int
    padding: int
    lowercase: bool = True


class StickyPieceTokens(tf.keras.layers.Layer):
    """Token ids [N, T] int32 of texts [N], and a mask [N, T] int32 of ones.

    Texts are converted to lower case, punctuation is removed, and runs of white space become one
    space.

    Masking: none, because the tower was trained with padding as a part of its texts.

    Args:
      words: Model and special ids.
      tokens: T.

    Source: Zhai et al. 2023, "Sigmoid loss for language image pre-training", and the preprocessing
      of its authors.
    """

    def __init__(self, words: StickyPieces, tokens: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.words, self.tokens = words, tokens
        self.pieces = tensorflow_text.SentencepieceTokenizer(words.model)

    def call(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        texts = tf.strings.unicode_transcode(inputs, "UTF-8", "UTF-8")
        if self.words.lowercase:
            texts = tf.strings.lower(texts, encoding="utf-8")
        texts = tf.strings.regex_replace(texts, _PUNCTUATION, "")
        texts = tf.strings.strip(tf.strings.regex_replace(texts, SPACES, " "))
        cut = self.pieces.tokenize(texts)[:, : self.tokens - 1]
        end = tf.fill([tf.size(inputs), 1], self.words.end)
        ids = tf.concat([cut, end], 1).to_tensor(self.words.padding, shape=[None, self.tokens])
        return ids, tf.ones_like(ids)
