"""What every collaborative scorer offers: fitted on one matrix, then asked about any history."""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from mmrank.collaborative.options import CollaborativeOptions
from mmrank.data.tables import Dataset

BLOCK = 512


@dataclasses.dataclass(frozen=True)
class Asked:
    """Shoppers with their histories, and the candidates whose scores are wanted.

    Attributes:
      histories: Weights of the shopper's own events [lists, items], strictly before the list.
      shoppers: Shopper numbers [lists], rows of the matrix that was fitted; −1 for a new one.
      lists: Which list each pair is of, [pairs].
      items: Item numbers [pairs].
    """

    histories: sp.csr_matrix
    shoppers: np.ndarray
    lists: np.ndarray
    items: np.ndarray


class Scorer(abc.ABC):
    """A scorer of shopper–item pairs. A higher score is better; 0 says nothing is known.

    The item side is fitted; a shopper is what the history says, so that a shopper who was not there
    when the scorer was fitted is served like any other.

    Attributes:
      scores_new_items: Whether an item without an event has a score that says something.
    """

    scores_new_items: ClassVar[bool] = False

    def __init__(self, options: CollaborativeOptions):
        self.options = options

    def know(self, dataset: Dataset) -> None:  # noqa: B027 - most need the matrix alone
        """Takes what it needs of a dataset beside the matrix, before it is fitted."""

    @abc.abstractmethod
    def fit(self, matrix: sp.csr_matrix) -> None:
        """Fits the item side on the weights [shoppers, items]; every shopper has an event."""

    @abc.abstractmethod
    def score(self, asked: Asked) -> np.ndarray:
        """Scores [pairs] float64."""

    @abc.abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """What was fitted, as plain arrays."""

    @abc.abstractmethod
    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Takes up what `arrays` gave."""


def picked(left: sp.csr_matrix, right: sp.csr_matrix, asked: Asked) -> np.ndarray:
    """The entries [pairs] of the product left @ right that the pairs name.

    Args:
      left: [lists, K].
      right: [K, items].
    """
    scores = np.zeros(len(asked.items))
    order = np.argsort(asked.lists, kind="stable")
    ends = np.searchsorted(asked.lists[order], np.arange(0, left.shape[0] + BLOCK, BLOCK))
    for number, (first, last) in enumerate(zip(ends[:-1], ends[1:], strict=True)):
        at = order[first:last]
        if len(at):
            start = number * BLOCK
            product = (left[start : start + BLOCK] @ right).tocsr()
            chosen = product[asked.lists[at] - start, asked.items[at]]
            scores[at] = np.asarray(chosen).ravel()
    return scores


def dotted(shoppers: np.ndarray, items: np.ndarray, asked: Asked) -> np.ndarray:
    """The dot products [pairs] of shoppers' vectors [lists, F] and items' vectors [items, F]."""
    scores = np.zeros(len(asked.items))
    for start in range(0, len(scores), 1 << 16):
        at = slice(start, start + (1 << 16))
        scores[at] = np.einsum("nf,nf->n", shoppers[asked.lists[at]], items[asked.items[at]])
    return scores


def strongest(matrix: sp.csr_matrix, count: int) -> sp.csr_matrix:
    """The matrix with the `count` largest entries of each row alone."""
    lengths = np.diff(matrix.indptr)
    kept = np.ones(matrix.nnz, bool)
    for row in np.flatnonzero(lengths > count):
        span = slice(matrix.indptr[row], matrix.indptr[row + 1])
        kept[span][np.argpartition(matrix.data[span], -count)[:-count]] = False
    starts = np.r_[0, np.cumsum(kept)][matrix.indptr]
    return sp.csr_matrix((matrix.data[kept], matrix.indices[kept], starts), shape=matrix.shape)


def pack(name: str, matrix: sp.csr_matrix) -> dict[str, np.ndarray]:
    """A sparse matrix as plain arrays."""
    return {
        f"{name}_data": matrix.data.astype(np.float32),
        f"{name}_indices": matrix.indices.astype(np.int32),
        f"{name}_indptr": matrix.indptr.astype(np.int64),
        f"{name}_shape": np.array(matrix.shape, np.int64),
    }


def unpack(name: str, arrays: dict[str, np.ndarray]) -> sp.csr_matrix:
    """The sparse matrix that `pack` gave."""
    parts = tuple(arrays[f"{name}_{part}"] for part in ("data", "indices", "indptr"))
    return sp.csr_matrix(parts, shape=tuple(arrays[f"{name}_shape"]))
