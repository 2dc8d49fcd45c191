"""What queries and items are matched by: fitted on a catalogue, kept with the run as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.config import Cross
from mmrank.data.words import tokens
from mmrank.encoders.base import FeatureKind, in_chunks
from mmrank.matching.pieces import PiecePlan, PieceRows, fit_pieces
from mmrank.matching.terms import TermLayout

# Kinds of feature that say something in words; names are looked for in queries as a whole.
TEXTS, NAMES = ("text", "attributes"), ("category", "tags")
MOST_WORDS, MOST_QUERY_WORDS, MOST_LEXICON = 128, 16, 200_000
GRAMS, QUERY_GRAMS, NUMBERS, QUERY_NUMBERS, TAGS = 48, 24, 8, 4, 8
LONG_TEXT = 16  # words from which a text's runs of characters say too little
PIECES = "pieces"  # of a cross-encoder, among what was fitted


def terms_name(feature: str) -> str:
    """The name of the input with a feature's terms."""
    return f"{feature}_terms"


@dataclasses.dataclass(frozen=True)
class Field:
    """One item feature that queries are matched with.

    Attributes:
      name: The feature's.
      layout: Of its rows.
      average: Mean number of words over the catalogue.
      names: Hashes of all names in the catalogue, in rising order; none for a plain text.
    """

    name: str
    layout: TermLayout
    average: float
    names: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class MatchPlan:
    """Everything that matching learns from a catalogue, before any ranker is built.

    Attributes:
      queries: Layouts of the query's texts by feature.
      fields: What they are matched with.
      stems: Hashes of the stems that at least two items have, in rising order.
      idf: The inverse document frequency of each.
      rare: That of any other stem.
    """

    queries: Mapping[str, TermLayout]
    fields: tuple[Field, ...]
    stems: np.ndarray
    idf: np.ndarray
    rare: float

    def layout(self, feature: str) -> TermLayout | None:
        """The layout of a feature's rows; None for one that has no part in matching."""
        of_items = {f.name: f.layout for f in self.fields}
        return self.queries.get(feature) or of_items.get(feature)

    def state(self) -> dict[str, Any]:
        """The plan as JSON."""
        return {
            "queries": {n: dataclasses.asdict(v) for n, v in self.queries.items()},
            "fields": [dataclasses.asdict(f) for f in self.fields],
            "stems": self.stems.astype(int).tolist(),
            "idf": [float(v) for v in self.idf],
            "rare": self.rare,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> MatchPlan:
        """The plan that `state` gave."""
        return cls(
            {n: TermLayout(**v) for n, v in state["queries"].items()},
            tuple(
                Field(f["name"], TermLayout(**f["layout"]), f["average"], tuple(f["names"]))
                for f in state["fields"]
            ),
            np.array(state["stems"], np.float32),
            np.array(state["idf"], np.float32),
            float(state["rare"]),
        )


class TermRows:
    """Rows of one feature's raw texts, terms and then word pieces, traced for any number of them.

    Args:
      layout: Of the terms; None for a feature without.
      pieces: What makes the word pieces; None for a feature without.

    Attributes:
      width: Numbers of a row.
      pieces: As given.
    """

    def __init__(self, layout: TermLayout | None, pieces: PieceRows | None = None):
        self.pieces = pieces
        packs = [] if layout is None else [(layout.pack, layout.width)]
        packs += [] if pieces is None else [(pieces, pieces.width)]
        self.width = sum(width for _, width in packs)
        spec = [tf.TensorSpec([None], tf.string)]
        once = {"_noinline": True}  # as in `FeatureKind.traced_preprocess`
        self.traced = tf.function(
            lambda raw: tf.concat([pack(raw) for pack, _ in packs], -1),
            input_signature=spec,
            experimental_attributes=once,
        ).get_concrete_function()

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        """Rows [N, width] float32 of raw texts [N]."""
        return in_chunks(self.traced, raw, tf.string, tf.TensorSpec([None, self.width], tf.float32))


class Matching:
    """The matching of a run's features: what was fitted, and the rows that it makes of raw texts.

    Args:
      compares: Whether queries and candidates are compared by match features.
      cross: Options of a cross-encoder; None for none.

    Attributes:
      compares: As given.
      plan: What was fitted for match features; None before that, and where either side says nothing
        in words.
      pieces: What a cross-encoder reads; None before it was fitted, and without one.
    """

    def __init__(self, compares: bool = True, cross: Cross | None = None) -> None:
        self.compares, self._cross = compares, cross
        self.plan: MatchPlan | None = None
        self.pieces: PiecePlan | None = None
        self._rows: dict[str, TermRows] = {}

    def fit(
        self,
        queries: Sequence[FeatureKind],
        items: Sequence[FeatureKind],
        values: Callable[[FeatureKind], pd.Series],
    ) -> None:
        """Fits the plans; arguments as of `fit_plan`."""
        self._rows = {}
        self.plan = fit_plan(queries, items, values) if self.compares else None
        if self._cross is not None:
            self.pieces = fit_pieces(self._cross, queries, items, values)

    def state(self) -> dict[str, Any]:
        """The plans as JSON; empty without any."""
        plan = {} if self.plan is None else self.plan.state()
        return plan | ({} if self.pieces is None else {PIECES: self.pieces.state()})

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` gave."""
        self._rows = {}
        self.plan = MatchPlan.restored(state) if "fields" in state else None
        self.pieces = PiecePlan.restored(state[PIECES]) if PIECES in state else None

    def rows(self, feature: str) -> TermRows | None:
        """What makes rows of a feature's raw texts; None for one that has no part in matching."""
        if feature not in self._rows:
            layout = None if self.plan is None else self.plan.layout(feature)
            pieces = None if self.pieces is None else self.pieces.rows(feature)
            if layout is None and pieces is None:
                return None
            self._rows[feature] = TermRows(layout, pieces)
        return self._rows[feature]

    def arrays(self, kind: FeatureKind, column: pd.Series) -> dict[str, np.ndarray]:
        """The rows [N, width] of a feature's column by input name; empty if it has no part."""
        rows = self.rows(kind.name)
        if rows is None:
            return {}
        # A query stands in every row of its list's page, and in those of others.
        codes, distinct = pd.factorize(kind.read(column, None)[0])
        return {terms_name(kind.name): rows(distinct)[codes]}


def fit_plan(
    queries: Sequence[FeatureKind],
    items: Sequence[FeatureKind],
    values: Callable[[FeatureKind], pd.Series],
) -> MatchPlan | None:
    """The plan over some features; None if either side says nothing in words.

    Args:
      queries: Features of the query.
      items: Features of the items.
      values: The column that a feature is fitted on: of a query feature the training lists', of an
        item feature the catalogue's.
    """
    asking = [k for k in queries if k.feature.kind == "text"]
    worded = [k for k in items if k.feature.kind in (*TEXTS, *NAMES)]
    if not asking or not worded:
        return None
    layouts = {}
    for kind in asking:
        raw, _ = kind.read(values(kind), None)
        lengths = _lengths(raw)
        words = min(_rounded(np.quantile(lengths, 0.99) if len(lengths) else 1), MOST_QUERY_WORDS)
        layouts[kind.name] = TermLayout(
            words, QUERY_GRAMS, QUERY_NUMBERS, names=3 * words, phrases=True
        )
    fields, stems = [], []
    for kind in worded:
        field, found = _field(kind, values(kind))
        fields.append(field)
        stems.append(found)
    items_count = max(len(s) for s in stems)
    numbers, documents = _document_counts(stems)
    kept = np.flatnonzero(documents > 1)
    kept = np.sort(kept[np.argsort(-documents[kept], kind="stable")[:MOST_LEXICON]])
    return MatchPlan(
        layouts,
        tuple(fields),
        numbers[kept].astype(np.float32),
        _idf(documents[kept], items_count),
        float(_idf(np.ones(1), items_count)[0]),
    )


def _field(kind: FeatureKind, column: pd.Series) -> tuple[Field, np.ndarray]:
    """The field of an item feature, and the stems [items, words] of its values."""
    raw, _ = kind.read(column, None)
    separator = kind.separator or ""
    lengths = _lengths(raw)
    long = _rounded(np.quantile(lengths, 0.99) if len(lengths) else 1)
    words = min(long, MOST_WORDS)
    if kind.feature.kind in NAMES:
        names = TAGS if separator else 1
        layout = TermLayout(words, names=names, separator=separator)
    else:
        short = np.median(lengths) <= LONG_TEXT if len(lengths) else True
        layout = TermLayout(words, GRAMS if short else 0, NUMBERS if short else 2 * NUMBERS)
    terms = layout.unpack(TermRows(layout)(raw))
    stems = terms.stems.numpy()
    counts = (stems > 0).sum(1)
    average = float(counts[counts > 0].mean()) if (counts > 0).any() else 1.0
    known = np.unique(terms.names.numpy())
    return Field(kind.name, layout, average, tuple(known[known > 0].tolist())), stems


def _lengths(raw: np.ndarray) -> np.ndarray:
    """Words of every distinct text that is there; a number and its unit may be one more."""
    distinct = pd.unique(pd.Series(raw, dtype=object))
    counts = np.array([len(tokens(text)) for text in distinct], np.float64)
    return 1.2 * counts[counts > 0]


def _rounded(length: float) -> int:
    """The length as the next multiple of four, at least four."""
    return max(4 * int(np.ceil(length / 4)), 4)


def _document_counts(stems: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The stems of a catalogue in rising order, and how many items have each in any field.

    Args:
      stems: Of each field, [items, words]; 0 for none.
    """
    items = np.concatenate([np.repeat(np.arange(len(s)), s.shape[1]) for s in stems])
    found = np.concatenate([s.ravel() for s in stems])
    numbers, codes = np.unique(found, return_inverse=True)
    pairs = np.unique(items * len(numbers) + codes)
    documents = np.bincount(pairs % max(len(numbers), 1), minlength=len(numbers))
    return numbers[numbers > 0], documents[numbers > 0]


def _idf(documents: np.ndarray, items: int) -> np.ndarray:
    """log(1 + (N − n + 0.5) / (n + 0.5)), [terms] float32.

    Source: Robertson and Zaragoza 2009, equation 3.3, with Lucene's 1 that keeps it above 0.
    """
    return np.log1p((items - documents + 0.5) / (documents + 0.5)).astype(np.float32)
