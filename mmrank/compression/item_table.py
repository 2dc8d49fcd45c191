"""The tokens of a catalogue as an export stores them, read back in their original dtype."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from mmrank.schema import did_you_mean

FULL = "full"
LARGEST = 127  # largest value of a symmetric int8: -128 is not used


class FullTokens(tf.Module):
    """Tokens [N, M, D] stored in the ranker's own dtype.

    Args:
      tokens: [N, M, D] float32; bfloat16 or float16 for a ranker in mixed precision.

    Example:
      >>> import numpy as np
      >>> import tensorflow as tf
      >>> tokens = FullTokens(np.ones([2, 1, 3], np.float32))
      >>> tokens.gather(tf.constant([1, 1])).shape
      TensorShape([2, 1, 3])
    """

    def __init__(self, tokens: np.ndarray):
        super().__init__(name="item_tokens")
        self.stored = tf.Variable(tokens, trainable=False, name="item_tokens")

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns the tokens [..., M, D] of some rows [...], in their original dtype."""
        return tf.gather(self.stored, rows)


class Float16Tokens(tf.Module):
    """Tokens [N, M, D] stored in float16; arguments as for `FullTokens`.

    Example:
      >>> import numpy as np
      >>> import tensorflow as tf
      >>> tokens = Float16Tokens(np.full([1, 1, 2], 0.1, np.float32))
      >>> read = tokens.gather(tf.constant([0]))
      >>> read.dtype, bool(tf.reduce_all(tf.abs(read - 0.1) < 1e-4))
      (tf.float32, True)
    """

    def __init__(self, tokens: np.ndarray):
        super().__init__(name="item_tokens")
        self.dtype = tf.as_dtype(tokens.dtype)
        half = tokens.astype(np.float16)
        self.stored = tf.Variable(half, trainable=False, name="item_tokens")

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns the tokens [..., M, D] of some rows [...], in their original dtype."""
        return tf.cast(tf.gather(self.stored, rows), self.dtype)


class Int8Tokens(tf.Module):
    """Tokens [N, M, D] stored as int8 with a scale for each token; arguments as for `FullTokens`.

    A token x is read back as round(x / s) · s with s = max |x| / 127, so that each number has an
    error of at most s / 2.

    Source: Jacob et al. 2018, "Quantization and Training of Neural Networks", equation 1 with
    zero point 0 and one scale a token.

    Example:
      >>> import numpy as np
      >>> import tensorflow as tf
      >>> tokens = Int8Tokens(np.array([[[127.0, -63.5, 1.0]]], np.float32))
      >>> tokens.stored.dtype, tokens.gather(tf.constant([0])).numpy().tolist()  # steps of 1
      (tf.int8, [[[127.0, -64.0, 1.0]]])
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
        """Returns the tokens [..., M, D] of some rows [...], in their original dtype."""
        steps = tf.cast(tf.gather(self.stored, rows), tf.float32)
        return tf.cast(steps * tf.gather(self.scale, rows), self.dtype)


STORAGES: Mapping[str, type[FullTokens] | type[Float16Tokens] | type[Int8Tokens]] = {
    FULL: FullTokens,
    "float16": Float16Tokens,
    "int8": Int8Tokens,
}


class ItemTable(tf.Module):
    """A catalogue's tokens and their presence, gathered by row.

    Rows of `match` hold hashes as well as vectors, so they are stored unchanged.

    Args:
      table: tokens [N, M, D], present [N, M] bool and perhaps match [N, W] float32.
      storage: A name of `STORAGES`: how the tokens are stored.

    Raises:
      ValueError: The storage is unknown.

    Example:
      >>> import numpy as np
      >>> import tensorflow as tf
      >>> table = {"tokens": np.ones([2, 1, 3], np.float32), "present": np.array([[True], [False]])}
      >>> rows = ItemTable(table, "float16").gather(tf.constant([1]))
      >>> rows["tokens"].shape, rows["tokens"].dtype, rows["present"].numpy().tolist()
      (TensorShape([1, 1, 3]), tf.float32, [[False]])
    """

    def __init__(self, table: Mapping[str, np.ndarray], storage: str = FULL):
        super().__init__(name="item_table")
        if storage not in STORAGES:
            raise ValueError(
                f"unknown storage {storage!r} of tokens{did_you_mean(storage, STORAGES)}"
            )
        self.tokens = STORAGES[storage](table["tokens"])
        self.kept = {
            n: tf.Variable(a, trainable=False, name=f"item_{n}")
            for n, a in table.items()
            if n != "tokens"
        }

    def gather(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the values of some rows [...] by name.

        They are tokens [..., M, D], present [..., M] and perhaps match [..., W].
        """
        kept = {n: tf.gather(v, rows) for n, v in self.kept.items()}
        return {"tokens": self.tokens.gather(rows), **kept}
