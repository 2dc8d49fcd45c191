"""The base class of extra match features, and the inputs that they compare."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.encoders.base import FeatureKind
from mmrank.matching.terms import TermLayout, Terms

MOST_FEATURES = 8  # of the items that one extra compares
Pack = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """What extras are fitted on: the items' columns, a value for each item, and their words.

    Attributes:
      items: Features of the items.
      values: The column of each feature.
      worded: Names of the features that contain words.
      stems: Hashes [V] of the known stems, in rising order.
      pairs: Which item has which known stem in its texts, each pair once: items [pairs], and
        indices into `stems` [pairs].
      names: For each category feature the hash of each item's value, [items] float32; 0 where
        absent.
    """

    items: Sequence[FeatureKind]
    values: Callable[[FeatureKind], pd.Series]
    worded: Sequence[str]
    stems: np.ndarray
    pairs: tuple[np.ndarray, np.ndarray]
    names: Mapping[str, np.ndarray]

    def of_kind(self, kind: str) -> list[FeatureKind]:
        """The first features of a kind, at most `MOST_FEATURES`."""
        return [k for k in self.items if k.feature.kind == kind][:MOST_FEATURES]


@dataclasses.dataclass(frozen=True)
class Asked:
    """One text of B queries.

    Attributes:
      terms: The terms of the text.
      weights: The idf of its stems, [B, T] float32; 0 for padding.
      at: Indices of the stems into the known stems, [B, T] int32; after the last for a stem that
        is larger than all of them.
      known: Whether the stems are known, [B, T] bool.
      idf: Stems [...] → idf [...].
      more: What the extra's own `pack` made of the text, [B, W]; W is 0 for an extra without it.
    """

    terms: Terms
    weights: tf.Tensor
    at: tf.Tensor
    known: tf.Tensor
    idf: Callable[[tf.Tensor], tf.Tensor]
    more: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Offered:
    """The candidates of B queries.

    Attributes:
      terms: The terms of each field.
      found: For each field, which of the query's stems it has, [B, L, T] bool.
      numbers: For each feature, the number and whether it is present, [B, L, 2] float32.
      shown: For each feature, which real candidates have it, [B, L] bool.
      mask: Which candidates are real, [B, L] bool.
    """

    terms: Mapping[str, Terms]
    found: Mapping[str, tf.Tensor]
    numbers: Mapping[str, tf.Tensor]
    shown: Mapping[str, tf.Tensor]
    mask: tf.Tensor


Compared = tuple[tf.Tensor, tf.Tensor]  # values [B, L, n], and where they are present, [B, L]


class Extra(abc.ABC):
    """A group of further match features, fitted on the catalogue alone.

    Attributes:
      needs: The kind of item feature that it compares in addition to texts; None for texts alone.
      numbers: Names of the item features whose numbers it reads.

    Example:
      >>> import types
      >>> import tensorflow as tf
      >>> class KnownWords(Extra):  # how many words of the query the catalogue has
      ...     @classmethod
      ...     def fit(cls, catalogue):
      ...         return cls()
      ...
      ...     def state(self):
      ...         return {}
      ...
      ...     @classmethod
      ...     def restored(cls, state):
      ...         return cls()
      ...
      ...     def names(self):
      ...         return ["known_words"]
      ...
      ...     def compare(self, asked, offered, tables):
      ...         count = tf.reduce_sum(tf.cast(asked.known, tf.float32), -1)[:, None, None]
      ...         return [(count * tf.ones_like(offered.mask, tf.float32)[..., None], offered.mask)]
      >>> asked = types.SimpleNamespace(known=tf.constant([[True, False, True]]))
      >>> offered = types.SimpleNamespace(mask=tf.constant([[True, True]]))
      >>> [(values, there)] = KnownWords().compare(asked, offered, {})
      >>> values.numpy().tolist()  # [B, L, 1]
      [[[2.0], [2.0]]]
    """

    needs: ClassVar[str | None] = None
    numbers: tuple[str, ...] = ()

    @classmethod
    @abc.abstractmethod
    def fit(cls, catalogue: Catalogue) -> Extra:
        """The extra, fitted on a catalogue."""

    @abc.abstractmethod
    def state(self) -> dict[str, Any]:
        """What was fitted, as JSON."""

    @classmethod
    @abc.abstractmethod
    def restored(cls, state: Mapping[str, Any]) -> Extra:
        """The extra whose `state` this is."""

    @abc.abstractmethod
    def names(self) -> list[str]:
        """The names of its features for one text of the query, in the order of `compare`."""

    def tables(self) -> dict[str, np.ndarray]:
        """The tables that `compare` looks up, by name; kept with the weights.

        They are float32 and never empty.
        """
        return {}

    def width(self, layout: TermLayout) -> int:
        """How many numbers `pack` gives for a text of the query."""
        return 0

    def pack(self, layout: TermLayout) -> Pack | None:
        """A function of the query's raw texts [N] → [N, width] float32; None if there is none."""
        return None

    @abc.abstractmethod
    def compare(
        self, asked: Asked, offered: Offered, tables: Mapping[str, tf.Tensor]
    ) -> list[Compared]:
        """The features in groups: values [B, L, n], and where they are present, [B, L] bool.

        Args:
          asked: One text of the queries.
          offered: The candidates.
          tables: As `tables` gives them.
        """
