"""The layer that compares a query with candidates, field by field and vector by vector."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.matching.lookup import places
from mmrank.matching.plan import Field, MatchPlan
from mmrank.matching.terms import TermLayout, Terms
from mmrank.matching.text_features import TEXT_FEATURES, text_features

# What a category or tags are compared by, beside their names.
NAME_FEATURES = tuple(TEXT_FEATURES.index(n) for n in ("covered", "of_the_text"))
LIMIT = 5.0  # deviations beyond which a feature says no more


@dataclasses.dataclass(frozen=True)
class VectorPair:
    """A query feature and an item feature of one encoder, compared by the cosine.

    Attributes:
      query, item: The features.
      width: Of the encoder's vectors.
    """

    query: str
    item: str
    width: int


@dataclasses.dataclass(frozen=True)
class MatchRows:
    """Where everything stands in the rows that queries and items are matched by.

    Attributes:
      queries: Layouts of the query's texts.
      fields: What they are matched with.
      vectors: The pairs of one encoder.
      query_pieces, item_pieces: Numbers of word pieces of the texts that are read together, by
        feature, in the order in which they are read.
      query_numbers, item_numbers: How many numbers features have that trees read as they are, by
        feature; whether they are there follows them in the row.
    """

    queries: Mapping[str, TermLayout]
    fields: Sequence[Field]
    vectors: Sequence[VectorPair]
    query_pieces: Mapping[str, int] = dataclasses.field(default_factory=dict)
    item_pieces: Mapping[str, int] = dataclasses.field(default_factory=dict)
    query_numbers: Mapping[str, int] = dataclasses.field(default_factory=dict)
    item_numbers: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def query_texts(self) -> dict[str, list[tuple[str, int]]]:
        """Names and widths of what a query's row has of each text, by feature."""
        terms = {name: layout.width for name, layout in self.queries.items()}
        return _texts(terms, self.query_pieces)

    @property
    def item_texts(self) -> dict[str, list[tuple[str, int]]]:
        """Names and widths of what an item's row has of each text, by feature."""
        return _texts({f.name: f.layout.width for f in self.fields}, self.item_pieces)

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
        """Numbers of a query's row."""
        return sum(width for _, width in self.query_parts)

    @property
    def item_width(self) -> int:
        """Numbers of an item's row."""
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


class Matcher(tf.keras.layers.Layer):
    """Match features [B, L, F] float32, normalised; how well candidates answer the query.

    For every text of the query and every field: `text_features`, or for a category and tags whether
    the query names the value, or names another of the catalogue. Then what the query finds in any
    field, its length, and the cosines of encoders that query and item share.

    Masking: a feature is 0 where the candidate lacks the field, or the query its text; what stands
    in the row of an absent modality changes nothing.

    Args:
      plan: What was fitted; None to compare vectors alone.
      vectors: The pairs of one encoder.
      modalities: Names of the item's tokens, in their order.
      others: What else stands in the rows and is passed over: pieces and numbers, by the name that
        `MatchRows` has for them.

    Attributes:
      rows: Where everything stands in the rows.
      names: Of the features, [F].
    """

    def __init__(
        self,
        plan: MatchPlan | None,
        vectors: Sequence[VectorPair],
        modalities: Sequence[str],
        others: Mapping[str, Mapping[str, int]] | None = None,
        **kwargs: Any,
    ):
        super().__init__(autocast=False, dtype=tf.float32, **kwargs)
        self.plan, self.modalities = plan, tuple(modalities)
        self.others = {name: dict(widths) for name, widths in (others or {}).items()}
        self.rows = match_rows(plan, vectors, self.others)
        self.names = tuple(self._names())

    def build(self, input_shape: Any) -> None:
        def fixed(name: str, value: np.ndarray) -> tf.Variable:
            start = tf.constant_initializer(value)
            return self.add_weight(name, value.shape, tf.float32, start, trainable=False)

        count = len(self.names)
        self.mean = fixed("mean", np.zeros(count, np.float32))
        self.deviation = fixed("deviation", np.ones(count, np.float32))
        plan = self.plan
        if plan is not None:
            # Never empty: a search among nothing has no nearest place.
            self.stems = fixed("stems", np.append(plan.stems, np.inf).astype(np.float32))
            self.idf = fixed("idf", np.append(plan.idf, plan.rare).astype(np.float32))
            self.known = {
                f.name: fixed(f"names_{f.name}", np.append(f.names, np.inf).astype(np.float32))
                for f in plan.fields
                if f.layout.names
            }
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Args: query rows [B, V]; item rows [B, L, W]; present [B, L, M] bool; mask [B, L]."""
        features, there = self.features(inputs)
        scaled = tf.clip_by_value((features - self.mean) / self.deviation, -LIMIT, LIMIT)
        return tf.where(there, scaled, 0.0)

    def features(self, inputs: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor]:
        """The features [B, L, F] as they are, and where there are any, [B, L, F] bool."""
        asked, offered, present, mask = inputs
        query_rows = split_parts(asked, self.rows.query_parts)
        item_rows = split_parts(offered, self.rows.item_parts)
        shown = {
            name: present[..., self.modalities.index(feature)] & mask
            for feature in {f.name for f in self.rows.fields} | {v.item for v in self.rows.vectors}
            for name in (feature, vector_part(feature))
        }
        columns: list[tf.Tensor] = []
        there: list[tf.Tensor] = []

        def add(values: tf.Tensor, here: tf.Tensor) -> None:
            """Features [B, L, n] that are there where `here` [B, L] is True."""
            columns.append(values)
            there.append(tf.repeat(here[..., None], values.shape[-1], -1))

        for name, layout in self.rows.queries.items():
            self._texts(layout.unpack(query_rows[name]), item_rows, shown, mask, add)
        for pair in self.rows.vectors:
            one, other = query_rows[vector_part(pair.query)], item_rows[vector_part(pair.item)]
            cosine = tf.einsum("bd,bld->bl", one, other)
            here = shown[vector_part(pair.item)] & tf.reduce_any(one != 0, -1)[:, None]
            add(cosine[..., None], here)
        return tf.concat(columns, -1), tf.concat(there, -1)

    def _texts(
        self,
        query: Terms,
        item_rows: Mapping[str, tf.Tensor],
        shown: Mapping[str, tf.Tensor],
        mask: tf.Tensor,
        add: Any,
    ) -> None:
        """Adds what one text of the query says of all fields."""
        weights, known = self._weights(query.stems)
        asked = tf.reduce_any(query.stems > 0, -1)[:, None]
        found_anywhere: tf.Tensor | None = None
        for field in self.rows.fields:
            text = field.layout.unpack(item_rows[field.name])
            features, found = text_features(query, weights, text, field.average)
            here = shown[field.name] & asked
            found &= here[..., None]
            found_anywhere = found if found_anywhere is None else found_anywhere | found
            if field.layout.names:
                features = tf.gather(features, NAME_FEATURES, axis=-1)
                named = self._named(field.name, query, text)
                features = tf.concat([features, named], -1)
            add(features, here)
            add(tf.cast(here, tf.float32)[..., None], mask)
        hits = tf.cast(found_anywhere, tf.float32)
        count = tf.reduce_sum(tf.cast(query.stems > 0, tf.float32), -1)[:, None]
        idf = tf.reduce_sum(weights[:, None] * hits, -1)
        idf /= tf.maximum(tf.reduce_sum(weights, -1), 1e-6)[:, None]
        share = tf.reduce_sum(hits, -1) / tf.maximum(count, 1.0)
        every = tf.cast((share > 0.999) & asked, tf.float32)
        length = tf.zeros_like(share) + tf.math.log1p(count)
        unknown = tf.zeros_like(share) + 1.0 - known
        add(tf.stack([idf, share, every, length, unknown], -1), mask & asked)

    def _weights(self, stems: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The idf [B, T] of a query's stems, 0 for padding, and the share of known ones [B, 1]."""
        at = places(self.stems, stems)
        known = tf.gather(self.stems, at) == stems
        rare = 0.0 if self.plan is None else self.plan.rare
        real = tf.cast(stems > 0, tf.float32)
        weights = tf.where(known, tf.gather(self.idf, at), rare) * real
        share = tf.reduce_sum(tf.cast(known, tf.float32) * real, -1, keepdims=True)
        return weights, share / tf.maximum(tf.reduce_sum(real, -1, keepdims=True), 1.0)

    def _named(self, field: str, query: Terms, text: Terms) -> tf.Tensor:
        """Whether the query names the candidate's value, and whether another one, [B, L, 2]."""
        table = self.known[field]
        known = tf.gather(table, places(table, query.names)) == query.names
        some = tf.reduce_any(known & (query.names > 0), -1)[:, None]
        equal = query.names[:, None, :, None] == text.names[:, :, None, :]
        named = tf.reduce_any(equal & (text.names > 0)[:, :, None], [-1, -2])
        return tf.cast(tf.stack([named, some & ~named], -1), tf.float32)

    def _names(self) -> list[str]:
        names = []
        for query in self.rows.queries:
            for field in self.rows.fields:
                own: tuple[str, ...] = TEXT_FEATURES
                if field.layout.names:
                    own = (*(TEXT_FEATURES[i] for i in NAME_FEATURES), "named", "another_named")
                names += [f"{query}/{field.name}/{n}" for n in (*own, "there")]
            anywhere = ("idf_covered", "covered", "all_covered", "length", "unknown_words")
            names += [f"{query}/any/{n}" for n in anywhere]
        return names + [f"{v.query}/{v.item}/cosine" for v in self.rows.vectors]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "plan": None if self.plan is None else self.plan.state(),
            "vectors": [dataclasses.asdict(v) for v in self.rows.vectors],
            "modalities": self.modalities,
            "others": self.others,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Matcher:
        """The layer that `get_config` describes."""
        plan, vectors = config.pop("plan"), config.pop("vectors")
        config.pop("dtype", None)
        return cls(
            None if plan is None else MatchPlan.restored(plan),
            [VectorPair(**v) for v in vectors],
            config.pop("modalities"),
            **config,
        )


class UnitVectors(tf.keras.layers.Layer):
    """Vectors [N, D] of length 1 in float32, zeros where they are zeros or absent.

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
    """The name of the part with a feature's vectors."""
    return f"{feature} vector"


def pieces_part(feature: str) -> str:
    """The name of the part with a feature's word pieces."""
    return f"{feature} pieces"


def numbers_part(feature: str) -> str:
    """The name of the part with a feature's numbers, and whether they are there."""
    return f"{feature} numbers"


def match_rows(
    plan: MatchPlan | None,
    vectors: Sequence[VectorPair],
    others: Mapping[str, Mapping[str, int]] | None = None,
) -> MatchRows:
    """The rows of a plan; arguments as of `Matcher`."""
    queries, fields = ({}, ()) if plan is None else (plan.queries, plan.fields)
    return MatchRows(queries, fields, vectors, **(others or {}))


def _texts(terms: Mapping[str, int], pieces: Mapping[str, int]) -> dict[str, list[tuple[str, int]]]:
    """The parts of each text by feature: its terms, then its word pieces."""
    parts: dict[str, list[tuple[str, int]]] = {n: [(n, width)] for n, width in terms.items()}
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
