"""The encoded catalogue in an export: tokens and presence of its items by their ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from mmrank.compression.item_table import FULL, ItemTable
from mmrank.serving.raw import id_lookup


class StoredItems(tf.Module):
    """The item tower's outputs for N items and for an item with nothing present.

    Attributes:
      absent: Tokens [M, D] float32 of the item with nothing present; they replace the tokens of
        absent modalities.

    Args:
      ids: Item ids [N], unique texts.
      table: tokens [N + 1, M, D], present [N + 1, M] and perhaps match [N + 1, W] of these items;
        the last row is that of an item with nothing present, and is used for every unknown id.
      storage: How the tokens are stored, a name of `mmrank.compression.item_table.STORAGES`.
    """

    def __init__(self, ids: Sequence[str], table: Mapping[str, np.ndarray], storage: str = FULL):
        super().__init__(name="stored_items")
        self._unknown = len(ids)
        self._rows = id_lookup(ids, range(len(ids)), default=len(ids))
        self._table = ItemTable(table, storage)
        # Read back from the table, so that an absent modality has the same vector everywhere, even
        # if the storage rounds it.
        absent = self.gather(tf.constant(len(ids)))["tokens"]
        self.absent = tf.Variable(absent, trainable=False, name="absent_tokens")

    def rows(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the rows int32 of some ids and whether each id is known, of the ids' shape."""
        rows = self._rows.lookup(ids)
        return rows, rows < self._unknown

    def gather(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the values of some rows [...] by name.

        They are tokens [..., M, D] float32, present [..., M] bool and perhaps match [..., W]
        float32.
        """
        stored = self._table.gather(rows)
        return {**stored, "tokens": tf.cast(stored["tokens"], tf.float32)}
