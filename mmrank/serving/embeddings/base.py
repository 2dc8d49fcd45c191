"""What a store of item vectors gives, and what it says when it cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from mmrank.outputs import UserError


class StoreError(UserError):
    """A store of item vectors that cannot be used as it is; the message says what to change."""


class StoreAway(Exception):
    """A store that does not answer now; whoever asked goes on without it."""


@dataclasses.dataclass(frozen=True)
class ItemVectors:
    """The vectors of N items, M modalities of width D.

    Attributes:
      tokens: [N, M, D] float32.
      present: Which modalities an item has, [N, M] bool.
      known: Which items the store has, [N] bool; the rows of others mean nothing.
    """

    tokens: np.ndarray
    present: np.ndarray
    known: np.ndarray

    @classmethod
    def none(cls, count: int, modalities: int, width: int) -> ItemVectors:
        """Room for the vectors of some items, none of them known yet."""
        return cls(
            np.zeros([count, modalities, width], np.float32),
            np.zeros([count, modalities], bool),
            np.zeros([count], bool),
        )

    def put(self, places: np.ndarray, found: ItemVectors) -> None:
        """Takes over the items that were found.

        Args:
          places: Where each of `found` belongs, [n] whole numbers.
          found: The vectors of n items.
        """
        known = places[found.known]
        self.tokens[known] = found.tokens[found.known]
        self.present[known] = found.present[found.known]
        self.known[known] = True


class EmbeddingStore(Protocol):
    """Something that has the vectors of items by their ids."""

    def get(self, ids: Sequence[str]) -> ItemVectors:
        """The vectors of some items [N], in their order.

        Raises:
          StoreAway: It does not answer now.
        """
