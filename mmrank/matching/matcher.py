"""The layer that compares a query with candidates, field by field and vector by vector."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.matching.extra import Asked, Offered
from mmrank.matching.lookup import indices_in
from mmrank.matching.plan import MatchPlan
from mmrank.matching.rows import (
    VectorPair,
    match_rows,
    more_part,
    numbers_part,
    split_parts,
    vector_part,
)
from mmrank.matching.terms import TermLayout, Terms
from mmrank.matching.text_features import TEXT_FEATURES, text_features

# The text features by which a category or tags are compared, in addition to their names.
NAME_FEATURES = tuple(TEXT_FEATURES.index(n) for n in ("covered", "of_the_text"))
LIMIT = 5.0  # standard deviations at which a feature is clipped


class Matcher(tf.keras.layers.Layer):
    """Match features [B, L, F] float32, normalised: how well candidates answer the query.

    For every text of the query and every field: `text_features`, or for a category and tags whether
    the query names the value, or names another value of the catalogue. Then how much of the query
    is found in any field, the query's length, the features of the plan's extras, and the cosines of
    vectors of encoders that query and item share.

    Masking: a feature is 0 where the candidate lacks the field, or the query its text; the row's
    values for an absent modality change nothing.

    Args:
      plan: What was fitted; None to compare vectors alone.
      vectors: The pairs of features that share an encoder.
      modalities: Names of the item's tokens, in their order.
      others: The widths of other parts of the rows, which are skipped: pieces and numbers, by the
        name of the attribute of `MatchRows`.

    Attributes:
      rows: The layout of the rows.
      names: Names of the features, [F].
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
            # Never empty: a search in an empty table has no nearest index.
            self.stems = fixed("stems", np.append(plan.stems, np.inf).astype(np.float32))
            self.idf = fixed("idf", np.append(plan.idf, plan.rare).astype(np.float32))
            self.known = {
                f.name: fixed(f"names_{f.name}", np.append(f.names, np.inf).astype(np.float32))
                for f in plan.fields
                if f.layout.names
            }
            self.tables = {
                name: {n: fixed(f"{name}/{n}", table) for n, table in extra.tables().items()}
                for name, extra in plan.extras.items()
            }
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, ...], as_they_are: bool = False) -> tf.Tensor:
        """Args: query rows [B, V]; item rows [B, L, W]; present [B, L, M] bool; mask [B, L].

        If `as_they_are` is True, the features are not normalised.
        """
        features, there = self.features(inputs)
        if as_they_are:
            return tf.where(there, features, 0.0)
        scaled = tf.clip_by_value((features - self.mean) / self.deviation, -LIMIT, LIMIT)
        return tf.where(there, scaled, 0.0)

    def features(self, inputs: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor]:
        """The features [B, L, F] before normalisation; where they are present, [B, L, F] bool."""
        asked, offered, present, mask = inputs
        query_rows = split_parts(asked, self.rows.query_parts)
        item_rows = split_parts(offered, self.rows.item_parts)
        compared = {f.name for f in self.rows.fields} | {v.item for v in self.rows.vectors}
        compared |= set(() if self.plan is None else self.plan.numbers)
        shown = {
            name: present[..., self.modalities.index(feature)] & mask
            for feature in compared
            for name in (feature, vector_part(feature))
        }
        columns: list[tf.Tensor] = []
        there: list[tf.Tensor] = []

        def add(values: tf.Tensor, here: tf.Tensor) -> None:
            """Adds features [B, L, n] that are present where `here` [B, L] is True."""
            columns.append(values)
            there.append(tf.repeat(here[..., None], values.shape[-1], -1))

        for name, layout in self.rows.queries.items():
            query_parts = layout.unpack(query_rows[name])
            found = self._texts(query_parts, item_rows, shown, mask, add)
            if self.plan is not None and self.plan.extras:
                offered = self._offered(self.plan, item_rows, found, shown, mask)
                self._extras(
                    self.plan, layout, query_parts, query_rows.get(more_part(name)), offered, add
                )
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
    ) -> dict[str, tf.Tensor]:
        """Adds one query text's features in all fields; returns each field's stems [B, L, T]."""
        weights, known = self._weights(query.stems)
        by_field = {}
        asked = tf.reduce_any(query.stems > 0, -1)[:, None]
        found_anywhere: tf.Tensor | None = None
        for field in self.rows.fields:
            text = field.layout.unpack(item_rows[field.name])
            features, found = text_features(query, weights, text, field.average)
            here = shown[field.name] & asked
            found &= here[..., None]
            by_field[field.name] = found
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
        return by_field

    def _offered(
        self,
        plan: MatchPlan,
        item_rows: Mapping[str, tf.Tensor],
        found: Mapping[str, tf.Tensor],
        shown: Mapping[str, tf.Tensor],
        mask: tf.Tensor,
    ) -> Offered:
        """The candidates in the form in which extras compare them."""
        terms = {f.name: f.layout.unpack(item_rows[f.name]) for f in plan.fields}
        numbers = {name: item_rows[numbers_part(name)] for name in plan.numbers}
        return Offered(terms, found, numbers, shown, mask)

    def _extras(
        self,
        plan: MatchPlan,
        layout: TermLayout,
        query: Terms,
        more: tf.Tensor | None,
        offered: Offered,
        add: Any,
    ) -> None:
        """Adds the extras' features for one query text, of which their packs made `more`."""
        weights, at, known = self._looked_up(query.stems)
        more = weights[:, :0] if more is None else more
        widths = [extra.width(layout) for extra in plan.extras.values()]
        owned = tf.split(more, widths, axis=-1)
        for (name, extra), own in zip(plan.extras.items(), owned, strict=True):
            asked = Asked(query, weights, at, known, lambda s: self._looked_up(s)[0], own)
            for values, here in extra.compare(asked, offered, self.tables[name]):
                add(values, here)

    def _looked_up(self, stems: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The idf [...] of stems [...], 0 for padding; their indices; whether they are known."""
        at = indices_in(self.stems, stems)
        real = stems > 0
        known = (tf.gather(self.stems, at) == stems) & real
        rare = 0.0 if self.plan is None else self.plan.rare
        weights = tf.where(known, tf.gather(self.idf, at), rare) * tf.cast(real, tf.float32)
        return weights, at, known

    def _weights(self, stems: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The idf [B, T] of a query's stems, 0 for padding, and the share of known ones [B, 1]."""
        weights, _, known = self._looked_up(stems)
        real = tf.cast(stems > 0, tf.float32)
        share = tf.reduce_sum(tf.cast(known, tf.float32), -1, keepdims=True)
        return weights, share / tf.maximum(tf.reduce_sum(real, -1, keepdims=True), 1.0)

    def _named(self, field: str, query: Terms, text: Terms) -> tf.Tensor:
        """Whether the query names the candidate's value, and whether another value, [B, L, 2]."""
        table = self.known[field]
        known = tf.gather(table, indices_in(table, query.names)) == query.names
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
            extras = {} if self.plan is None else self.plan.extras
            names += [f"{query}/{n}" for extra in extras.values() for n in extra.names()]
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
