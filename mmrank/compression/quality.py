"""The scores of a compressed ranker on lists with known grades."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.compression.item_table import FULL, ItemTable
from mmrank.compression.lite import LiteRanker
from mmrank.data.batches import ListArrays
from mmrank.data.tables import Dataset
from mmrank.scoring import ListScorer, traced_tower
from mmrank.trained_run import Run

Tensors = Mapping[str, tf.Tensor]


class ScoredLists:
    """Scores some lists with the current weights of a run, in the way that its export would.

    Args:
      run: The ranker; its weights may change between two calls.
      dataset: The run's dataset.
      rows: The lists, the rows of each list consecutive.
    """

    def __init__(self, run: Run, dataset: Dataset, rows: pd.DataFrame):
        self._run, self._dataset, self._rows = run, dataset, rows
        self._arrays: ListArrays = run.fitted.arrays(dataset, rows, run.items(dataset))

    def scores(self, storage: str = FULL) -> np.ndarray:
        """Returns scores [rows] with tokens that were stored in a table.

        Args:
          storage: How the tokens are stored, a name of `mmrank.compression.item_table.STORAGES`.
        """
        if storage == FULL:
            return self._run.score(self._dataset, self._rows)
        encode = through_table(traced_tower(self._run.model), storage)
        return self._scorer(encode)(self._arrays)

    def lite_scores(self, folder: pathlib.Path) -> np.ndarray:
        """Returns scores [rows] of the files for TensorFlow Lite in a folder."""
        lite = LiteRanker(self._run.model, folder)
        return self._scorer(lite.encode, lite.score)(self._arrays)

    def _scorer(
        self,
        encode: Callable[[Tensors], Tensors],
        score: Callable[[Tensors, Tensors], Tensors] | None = None,
    ) -> ListScorer:
        config = self._run.config
        return ListScorer(
            self._run.model, config.training.batch_lists, config.data.buckets, encode, score
        )


def through_table(
    encode: Callable[[Tensors], Tensors], storage: str
) -> Callable[[Tensors], dict[str, tf.Tensor]]:
    """Returns an encoder of items whose tokens are stored in a table and read back.

    Args:
      encode: Item features [N, ...] → tokens [N, M, D] and present [N, M].
      storage: A name of `mmrank.compression.item_table.STORAGES`.
    """

    def encoded(inputs: Tensors) -> dict[str, tf.Tensor]:
        table = {n: t.numpy() for n, t in encode(inputs).items()}
        return ItemTable(table, storage).gather(tf.range(len(table["present"])))

    return encoded
