"""Trains an autoencoder on sparse rows; only one batch at a time is dense."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import tensorflow as tf
from tqdm.keras import TqdmCallback

from mmrank.pretrain.autoencoder import Autoencoder
from mmrank.pretrain.likelihood import multinomial_log_likelihood
from mmrank.pretrain.variational import VariationalAutoencoder
from mmrank.tracing import traced

BATCH_ROWS = 256
Model = Autoencoder | VariationalAutoencoder


class SparseBatches(tf.keras.utils.Sequence):
    """Batches (rows, rows) [B, V] float32 of a sparse matrix, in a new order every epoch.

    Args:
      rows: [N, V].
      batch_rows: B.
      seed: Seed of the order; None keeps the order of the rows.
    """

    def __init__(self, rows: sp.csr_matrix, batch_rows: int = BATCH_ROWS, seed: int | None = 0):
        super().__init__()
        self._rows, self._batch_rows = rows, batch_rows
        self._rng = None if seed is None else np.random.default_rng(seed)
        self._order = np.arange(rows.shape[0])
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_rows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        start = index * self._batch_rows
        dense = self._rows[self._order[start : start + self._batch_rows]].toarray()
        dense = dense.astype(np.float32)
        return dense, dense

    def on_epoch_end(self) -> None:
        """Shuffles the order for the next epoch."""
        if self._rng is not None:
            self._rng.shuffle(self._order)


def fit_rows(
    model: Model,
    rows: sp.csr_matrix,
    *,
    epochs: int = 50,
    batch_rows: int = BATCH_ROWS,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> list[float]:
    """Trains an autoencoder and returns the loss of every epoch.

    Args:
      model: Not trained yet.
      rows: Weights of at least 0, [N, V]; empty rows teach nothing and are left out.
      epochs: Passes over the rows.
      batch_rows: Rows of a step; only these are dense at a time.
      learning_rate: Learning rate of Adam.
      seed: Seed of the order.

    Raises:
      ValueError: All rows are empty.

    Example:
      >>> import numpy as np
      >>> import scipy.sparse as sp
      >>> model = Autoencoder(width=2, hidden=4)
      >>> losses = fit_rows(model, sp.csr_matrix(np.eye(4)), epochs=2)
      >>> len(losses), column_vectors(model).shape
      (2, (4, 2))
    """
    known = np.diff(rows.indptr) > 0
    if not known.any():
        raise ValueError("all rows are empty")
    model.compile(
        tf.keras.optimizers.Adam(learning_rate),
        loss=lambda given, logits: -multinomial_log_likelihood(given, logits),
    )
    history = model.fit(
        SparseBatches(rows[known], batch_rows, seed),
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[TqdmCallback(verbose=0, disable=None, leave=False)],
    )
    return [float(loss) for loss in history.history["loss"]]


def encode_rows(model: Model, rows: sp.csr_matrix, batch_rows: int = BATCH_ROWS) -> np.ndarray:
    """The codes [N, D] float32 of sparse rows [N, V], NaN for an empty row.

    Example:
      >>> import scipy.sparse as sp
      >>> model = Autoencoder(width=4, hidden=8)
      >>> encode_rows(model, sp.csr_matrix([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]])).shape
      (2, 4)
    """
    batches = SparseBatches(rows, batch_rows, seed=None)
    encode = traced(model.encode, [tf.TensorSpec([None, rows.shape[1]])])
    parts = [encode(batches[i][0]).numpy() for i in range(len(batches))]
    codes = np.concatenate([np.zeros([0, model.width], np.float32), *parts])
    codes[np.diff(rows.indptr) == 0] = np.nan
    return codes


def column_vectors(model: Model) -> np.ndarray:
    """The vectors [V, D] float32 of the columns: their weights in the linear decoder.

    Example:
      >>> import tensorflow as tf
      >>> model = Autoencoder(width=2, hidden=4)
      >>> _ = model(tf.zeros([1, 3]))  # makes the weights for three columns
      >>> column_vectors(model).shape
      (3, 2)
    """
    assert model.decoder is not None
    return model.decoder.kernel.numpy().T
