"""The rows of numbers by which queries and items are matched: their parts, by feature."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from mmrank.matching.plan import Field, MatchPlan
from mmrank.matching.terms import TermLayout


@dataclasses.dataclass(frozen=True)
class VectorPair:
    """A query feature and an item feature of one encoder, compared by their cosine.

    Attributes:
      query, item: Names of the features.
      width: Width of the encoder's vectors.
    """

    query: str
    item: str
    width: int


@dataclasses.dataclass(frozen=True)
class MatchRows:
    """The layout of the rows by which queries and items are matched.

    Attributes:
      queries: Layouts of the query's texts.
      fields: The item fields that the texts are matched with.
      vectors: The pairs of features that share an encoder.
      query_pieces, item_pieces: How many word pieces each text that a cross-encoder reads has, by
        feature, in the order in which they are read.
      query_numbers, item_numbers: How many numbers each feature has that trees or extras read
        unchanged, by feature; one more number in the row says whether they are present.
      query_more: How many numbers extras make of each text of the query, by feature.
    """

    queries: Mapping[str, TermLayout]
    fields: Sequence[Field]
    vectors: Sequence[VectorPair]
    query_pieces: Mapping[str, int] = dataclasses.field(default_factory=dict)
    item_pieces: Mapping[str, int] = dataclasses.field(default_factory=dict)
    query_numbers: Mapping[str, int] = dataclasses.field(default_factory=dict)
    item_numbers: Mapping[str, int] = dataclasses.field(default_factory=dict)
    query_more: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def query_texts(self) -> dict[str, list[tuple[str, int]]]:
        """Names and widths of the parts that a query's row has of each text, by feature."""
        terms = {name: layout.width for name, layout in self.queries.items()}
        return _texts(terms, self.query_pieces, self.query_more)

    @property
    def item_texts(self) -> dict[str, list[tuple[str, int]]]:
        """Names and widths of the parts that an item's row has of each text, by feature."""
        return _texts({f.name: f.layout.width for f in self.fields}, self.item_pieces, {})

    @property
    def query_parts(self) -> list[tuple[str, int]]:
        """Names and widths of the parts of a query's row: texts by feature, vectors, numbers."""
        texts = [part for parts in self.query_texts.values() for part in parts]
        vectors = _distinct((v.query, v.width) for v in self.vectors)
        return texts + vectors + _flagged(self.query_numbers)

    @property
    def item_parts(self) -> list[tuple[str, int]]:
        """Names and widths of the parts of an item's row: texts by feature, vectors, numbers."""
        texts = [part for parts in self.item_texts.values() for part in parts]
        vectors = _distinct((v.item, v.width) for v in self.vectors)
        return texts + vectors + _flagged(self.item_numbers)

    @property
    def query_width(self) -> int:
        """How many numbers a query's row has."""
        return sum(width for _, width in self.query_parts)

    @property
    def item_width(self) -> int:
        """How many numbers an item's row has."""
        return sum(width for _, width in self.item_parts)

    def asked(self, rows: tf.Tensor) -> tf.Tensor:
        """The word pieces [B, T] in the rows of queries [B, V]."""
        parts = split_parts(rows, self.query_parts)
        return tf.concat([parts[pieces_part(name)] for name in self.query_pieces], -1)

    def offered(self, rows: tf.Tensor, present: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The word pieces [B, L, T] in the rows of candidates; 0 where a feature is absent.

        Args:
          rows: [B, L, W].
          present: By item feature, [B, L] bool.
        """
        parts = split_parts(rows, self.item_parts)
        shown = [
            tf.where(present[name][..., None], parts[pieces_part(name)], 0.0)
            for name in self.item_pieces
        ]
        return tf.concat(shown, -1)


class UnitVectors(tf.keras.layers.Layer):
    """Vectors [N, D] scaled to length 1, float32; zeros where they are zeros or absent.

    Args:
      `call` takes vectors [N, D] and present [N] bool.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(autocast=False, dtype=tf.float32, **kwargs)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        vectors, present = inputs
        unit = tf.math.l2_normalize(tf.cast(vectors, tf.float32), -1, epsilon=1e-12)
        return tf.where(present[:, None], unit, 0.0)


def vector_part(feature: str) -> str:
    """The name of the part of a row with a feature's vectors."""
    return f"{feature} vector"


def more_part(feature: str) -> str:
    """The name of the part of a row with what extras make of a feature's text."""
    return f"{feature} more"


def pieces_part(feature: str) -> str:
    """The name of the part of a row with a feature's word pieces."""
    return f"{feature} pieces"


def numbers_part(feature: str) -> str:
    """The name of the part of a row with a feature's numbers and whether they are present."""
    return f"{feature} numbers"


def match_rows(
    plan: MatchPlan | None,
    vectors: Sequence[VectorPair],
    others: Mapping[str, Mapping[str, int]] | None = None,
) -> MatchRows:
    """The layout of a plan's rows; for the arguments see `Matcher`."""
    if plan is None:
        return MatchRows({}, (), vectors, **(others or {}))
    more = {
        name: sum(extra.width(layout) for extra in plan.extras.values())
        for name, layout in plan.queries.items()
    }
    more = {name: width for name, width in more.items() if width}
    return MatchRows(plan.queries, plan.fields, vectors, query_more=more, **(others or {}))


def _texts(
    terms: Mapping[str, int], pieces: Mapping[str, int], more: Mapping[str, int]
) -> dict[str, list[tuple[str, int]]]:
    """The parts of each text by feature: its terms, what extras make of it, its word pieces."""
    parts: dict[str, list[tuple[str, int]]] = {n: [(n, width)] for n, width in terms.items()}
    for name, width in more.items():
        parts[name].append((more_part(name), width))
    for name, width in pieces.items():
        parts.setdefault(name, []).append((pieces_part(name), width))
    return parts


def _distinct(parts: Any) -> list[tuple[str, int]]:
    return [(vector_part(name), width) for name, width in dict(parts).items()]


def _flagged(numbers: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(numbers_part(name), width + 1) for name, width in numbers.items()]


def split_parts(rows: tf.Tensor, parts: Sequence[tuple[str, int]]) -> dict[str, tf.Tensor]:
    """The parts of rows by name."""
    split = tf.split(rows, [width for _, width in parts], axis=-1)
    return dict(zip((name for name, _ in parts), split, strict=True))
