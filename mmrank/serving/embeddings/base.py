"""The interface of a store of item vectors: what it returns, and which errors it raises."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from mmrank.outputs import UserError


class StoreError(UserError):
    """Raised for a store that cannot be used as it is; the message says what to change.

    Example:
      >>> import numpy as np
      >>> from mmrank.serving.embeddings.opened import EmbeddingStores
      >>> from mmrank.serving.embeddings.options import EmbeddingOptions
      >>> def lookup(ids):
      ...     return {"tokens": np.zeros([1, 1, 2]), "present": np.zeros([1, 1], bool)}
      >>> stores = EmbeddingStores(EmbeddingOptions(redis="redis://127.0.0.1:6379/0"))
      >>> stores.of_model(fingerprint="", lookup=lookup)
      Traceback (most recent call last):
      mmrank.serving.embeddings.base.StoreError: embeddings: the export has no fingerprint, ...
    """


class StoreUnavailable(Exception):
    """Raised by a store that is unavailable; the caller continues without it."""


@dataclasses.dataclass(frozen=True)
class VectorShape:
    """The shape of one item's vectors.

    Attributes:
      modalities: M, the number of tokens.
      width: D, the width of a token.
      match: W, the number of values to match by.

    Example:
      >>> shape = VectorShape(modalities=3, width=4)
      >>> shape.match, ItemVectors.none(2, shape).tokens.shape
      (0, (2, 3, 4))
    """

    modalities: int
    width: int
    match: int = 0


@dataclasses.dataclass(frozen=True)
class ItemVectors:
    """The vectors of N items, M modalities of width D.

    Attributes:
      tokens: [N, M, D] float32.
      present: Which modalities an item has, [N, M] bool.
      match: The values that an item is matched by, [N, W] float32; W is 0 for a model without
        matching.
      known: Which items the store has, [N] bool; the rows of other items have no meaning.

    Example:
      >>> found = ItemVectors.none(2, VectorShape(modalities=3, width=4))
      >>> found.tokens.shape, found.present.shape, found.known.tolist()
      ((2, 3, 4), (2, 3), [False, False])
    """

    tokens: np.ndarray
    present: np.ndarray
    match: np.ndarray
    known: np.ndarray

    @classmethod
    def none(cls, count: int, shape: VectorShape) -> ItemVectors:
        """Returns zero vectors for `count` items, none of them known yet."""
        return cls(
            np.zeros([count, shape.modalities, shape.width], np.float32),
            np.zeros([count, shape.modalities], bool),
            np.zeros([count, shape.match], np.float32),
            np.zeros([count], bool),
        )

    @classmethod
    def given(cls, outputs: Mapping[str, np.ndarray], known: np.ndarray) -> ItemVectors:
        """Returns the vectors in the outputs of a signature.

        Args:
          outputs: tokens [N, M, D], present [N, M] and perhaps match [N, W].
          known: Which of the items are known, [N] bool.
        """
        tokens = outputs["tokens"]
        match = outputs.get("match", np.zeros([len(tokens), 0], np.float32))
        return cls(tokens, outputs["present"], match, known)

    def inputs(self) -> dict[str, np.ndarray]:
        """Returns the inputs of `rank_embeddings` for these items as one list, [1, N, ...]."""
        arrays = {"tokens": self.tokens[None], "present": self.present[None]}
        return arrays | ({"match": self.match[None]} if self.match.shape[1] else {})

    def put(self, rows: np.ndarray, found: ItemVectors) -> None:
        """Copies the vectors of the items that were found.

        Args:
          rows: The row here of each item of `found`, [n] whole numbers.
          found: The vectors of n items; those that are not known are ignored.
        """
        known = rows[found.known]
        self.tokens[known] = found.tokens[found.known]
        self.present[known] = found.present[found.known]
        self.match[known] = found.match[found.known]
        self.known[known] = True


class EmbeddingStore(Protocol):
    """A store of the vectors of items by their ids."""

    def get(self, ids: Sequence[str]) -> ItemVectors:
        """Returns the vectors of some items [N], in their order.

        Raises:
          StoreUnavailable: The store is unavailable.
        """
