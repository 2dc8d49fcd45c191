"""The interface of collaborative scorers: fitted on one matrix, then applied to any history."""

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
    """Users with their histories, and the candidates whose scores are wanted.

    Attributes:
      histories: Weights of the user's own events [lists, items], strictly before the list.
      users: User numbers [lists], rows of the matrix that was fitted; −1 for a new user.
      lists: Which list each pair belongs to, [pairs].
      items: Item numbers [pairs].

    Example:
      >>> import numpy as np
      >>> import scipy.sparse as sp
      >>> history = sp.csr_matrix([[1.0, 0.0, 0.0]])  # of one new user, who met item 0
      >>> asked = Asked(history, np.array([-1]), np.array([0, 0]), np.array([1, 2]))
      >>> len(asked.items)  # two candidates of the one list
      2
    """

    histories: sp.csr_matrix
    users: np.ndarray
    lists: np.ndarray
    items: np.ndarray


class Scorer(abc.ABC):
    """A scorer of user–item pairs. A higher score is better; 0 means that nothing is known.

    Only the item side is fitted. A user is represented by the history, so that a user who did not
    exist when the scorer was fitted is scored like any other.

    Attributes:
      scores_new_items: Whether the score of an item without an event is meaningful.

    Example:
      >>> import numpy as np
      >>> import scipy.sparse as sp
      >>> class Popularity(Scorer):  # the same scores for all users
      ...     def fit(self, matrix):
      ...         self.totals = np.asarray(matrix.sum(0)).ravel()
      ...
      ...     def score(self, asked):
      ...         return self.totals[asked.items]
      ...
      ...     def arrays(self):
      ...         return {"totals": self.totals}
      ...
      ...     def restore(self, arrays):
      ...         self.totals = arrays["totals"]
      >>> scorer = Popularity(CollaborativeOptions())
      >>> scorer.fit(sp.csr_matrix([[1.0, 0.0, 2.0], [1.0, 1.0, 0.0]]))
      >>> history = sp.csr_matrix((1, 3))  # of one new user without events
      >>> asked = Asked(history, np.array([-1]), np.array([0, 0]), np.array([0, 1]))
      >>> scorer.score(asked).tolist()
      [2.0, 1.0]
    """

    scores_new_items: ClassVar[bool] = False

    def __init__(self, options: CollaborativeOptions):
        self.options = options

    def know(self, dataset: Dataset) -> None:  # noqa: B027 - most need the matrix alone
        """Takes what it needs of a dataset in addition to the matrix, before it is fitted."""

    @abc.abstractmethod
    def fit(self, matrix: sp.csr_matrix) -> None:
        """Fits the item side on the weights [users, items]; every user has an event."""

    @abc.abstractmethod
    def score(self, asked: Asked) -> np.ndarray:
        """Scores [pairs] float64."""

    @abc.abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """The fitted state, as plain arrays."""

    @abc.abstractmethod
    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Restores the state that `arrays` returned."""


def picked(left: sp.csr_matrix, right: sp.csr_matrix, asked: Asked) -> np.ndarray:
    """The entries [pairs] of the product left @ right at the pairs' lists and items.

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


def dotted(users: np.ndarray, items: np.ndarray, asked: Asked) -> np.ndarray:
    """The dot products [pairs] of users' vectors [lists, F] and items' vectors [items, F]."""
    scores = np.zeros(len(asked.items))
    for start in range(0, len(scores), 1 << 16):
        at = slice(start, start + (1 << 16))
        scores[at] = np.einsum("nf,nf->n", users[asked.lists[at]], items[asked.items[at]])
    return scores


def strongest(matrix: sp.csr_matrix, count: int) -> sp.csr_matrix:
    """The matrix with only the `count` largest entries of each row.

    Example:
      >>> import scipy.sparse as sp
      >>> strongest(sp.csr_matrix([[3.0, 1.0, 2.0]]), count=2).toarray().tolist()
      [[3.0, 0.0, 2.0]]
    """
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
    """The sparse matrix that `pack` packed."""
    parts = tuple(arrays[f"{name}_{part}"] for part in ("data", "indices", "indptr"))
    return sp.csr_matrix(parts, shape=tuple(arrays[f"{name}_shape"]))
