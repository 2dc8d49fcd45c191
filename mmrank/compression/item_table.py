"""The tokens of a catalogue as an export stores them, read back as numbers of full precision."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from mmrank.schema import did_you_mean

FULL = "full"
LARGEST = 127  # of a symmetric int8: -128 is not used


class FullTokens(tf.Module):
    """Tokens [N, M, D] in the dtype that the ranker gave them.

    Args:
      tokens: [N, M, D], float32, or bfloat16 or float16 of a ranker in mixed precision.
    """

    def __init__(self, tokens: np.ndarray):
        super().__init__(name="item_tokens")
        self.stored = tf.Variable(tokens, trainable=False, name="item_tokens")

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """Tokens [..., M, D] of some rows [...], in the dtype that they had before."""
        return tf.gather(self.stored, rows)


class Float16Tokens(tf.Module):
    """Tokens [N, M, D] kept in float16; arguments as of `FullTokens`."""

    def __init__(self, tokens: np.ndarray):
        super().__init__(name="item_tokens")
        self.dtype = tf.as_dtype(tokens.dtype)
        half = tokens.astype(np.float16)
        self.stored = tf.Variable(half, trainable=False, name="item_tokens")

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """Tokens [..., M, D] of some rows [...], in the dtype that they had before."""
        return tf.cast(tf.gather(self.stored, rows), self.dtype)


class Int8Tokens(tf.Module):
    """Tokens [N, M, D] kept as int8 with a scale for each token; arguments as of `FullTokens`.

    A token x is round(x / s) · s with s = max |x| / 127, so that no number is off by more than
    s / 2.

    Source: Jacob et al. 2018, "Quantization and Training of Neural Networks", equation 1 with
    zero point 0 and one scale a token.
    """

    def __init__(self, tokens: np.ndarray):
        super().__init__(name="item_tokens")
        self.dtype = tf.as_dtype(tokens.dtype)
        exact = tokens.astype(np.float32)
        scale = np.abs(exact).max(-1, keepdims=True) / LARGEST
        steps = np.rint(exact / np.where(scale > 0, scale, 1)).astype(np.int8)
        self.stored = tf.Variable(steps, trainable=False, name="item_tokens")
        self.scale = tf.Variable(scale, trainable=False, name="item_scales")

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """Tokens [..., M, D] of some rows [...], in the dtype that they had before."""
        steps = tf.cast(tf.gather(self.stored, rows), tf.float32)
        return tf.cast(steps * tf.gather(self.scale, rows), self.dtype)


STORAGES: Mapping[str, type[FullTokens] | type[Float16Tokens] | type[Int8Tokens]] = {
    FULL: FullTokens,
    "float16": Float16Tokens,
    "int8": Int8Tokens,
}


class ItemTable(tf.Module):
    """A catalogue's tokens and which of them are present, to be gathered by row.

    Rows of `match` hold hashes beside vectors, and are kept as they are.

    Args:
      table: tokens [N, M, D], present [N, M] bool and perhaps match [N, W] float32.
      storage: A name of `STORAGES`: how the tokens are kept.

    Raises:
      ValueError: There is no such storage.
    """

    def __init__(self, table: Mapping[str, np.ndarray], storage: str = FULL):
        super().__init__(name="item_table")
        if storage not in STORAGES:
            raise ValueError(f"no storage {storage!r} of tokens{did_you_mean(storage, STORAGES)}")
        self.tokens = STORAGES[storage](table["tokens"])
        self.kept = {
            n: tf.Variable(a, trainable=False, name=f"item_{n}")
            for n, a in table.items()
            if n != "tokens"
        }

    def gather(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """Tokens [..., M, D], present [..., M] and perhaps match [..., W] of some rows [...]."""
        kept = {n: tf.gather(v, rows) for n, v in self.kept.items()}
        return {"tokens": self.tokens.gather(rows), **kept}
