"""What a store of item vectors gives, and what it says when it cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from mmrank.outputs import UserError


class StoreError(UserError):
    """A store of item vectors that cannot be used as it is; the message says what to change."""


class StoreAway(Exception):
    """A store that does not answer now; whoever asked goes on without it."""


@dataclasses.dataclass(frozen=True)
class VectorShape:
    """The shape of one item's vectors.

    Attributes:
      modalities: M.
      width: D.
      match: W.
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
      match: What an item is matched by, [N, W] float32; W is 0 for a model that matches nothing.
      known: Which items the store has, [N] bool; the rows of others mean nothing.
    """

    tokens: np.ndarray
    present: np.ndarray
    match: np.ndarray
    known: np.ndarray

    @classmethod
    def none(cls, count: int, shape: VectorShape) -> ItemVectors:
        """Room for the vectors of some items, none of them known yet."""
        return cls(
            np.zeros([count, shape.modalities, shape.width], np.float32),
            np.zeros([count, shape.modalities], bool),
            np.zeros([count, shape.match], np.float32),
            np.zeros([count], bool),
        )

    @classmethod
    def given(cls, outputs: Mapping[str, np.ndarray], known: np.ndarray) -> ItemVectors:
        """The vectors that a signature gave.

        Args:
          outputs: tokens, present and perhaps match.
          known: Which of them count, [N] bool.
        """
        tokens = outputs["tokens"]
        match = outputs.get("match", np.zeros([len(tokens), 0], np.float32))
        return cls(tokens, outputs["present"], match, known)

    def inputs(self) -> dict[str, np.ndarray]:
        """What `rank_embeddings` takes of these items as one list, [1, N, ...] by name."""
        arrays = {"tokens": self.tokens[None], "present": self.present[None]}
        return arrays | ({"match": self.match[None]} if self.match.shape[1] else {})

    def put(self, places: np.ndarray, found: ItemVectors) -> None:
        """Takes over the items that were found.

        Args:
          places: Where each of `found` belongs, [n] whole numbers.
          found: The vectors of n items.
        """
        known = places[found.known]
        self.tokens[known] = found.tokens[found.known]
        self.present[known] = found.present[found.known]
        self.match[known] = found.match[found.known]
        self.known[known] = True


class EmbeddingStore(Protocol):
    """Something that has the vectors of items by their ids."""

    def get(self, ids: Sequence[str]) -> ItemVectors:
        """The vectors of some items [N], in their order.

        Raises:
          StoreAway: It does not answer now.
        """
