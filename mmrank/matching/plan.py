"""The plan by which queries and items are matched: fitted on a catalogue, stored as JSON."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.config import Cross
from mmrank.data.kinds import kind_of
from mmrank.data.kinds.base import BY_NAME, BY_WORDS
from mmrank.data.words import tokens
from mmrank.encoders.base import FeatureKind, in_chunks
from mmrank.matching.extra import Catalogue, Extra, Pack
from mmrank.matching.extras import EXTRAS, fit_extras
from mmrank.matching.pieces import PiecePlan, PieceRows, fit_pieces
from mmrank.matching.terms import TermLayout, Terms
from mmrank.tracing import traced

MOST_WORDS, MOST_QUERY_WORDS, MOST_LEXICON = 128, 16, 200_000
GRAMS, QUERY_GRAMS, NUMBERS, QUERY_NUMBERS, TAGS = 48, 24, 8, 4, 8
LONG_TEXT = 16  # median of words above which a text's runs of characters tell too little
PIECES = "pieces"  # key of the cross-encoder's plan in the stored state


def terms_name(feature: str) -> str:
    """The name of the input with a feature's terms."""
    return f"{feature}_terms"


@dataclasses.dataclass(frozen=True)
class Field:
    """One item feature that queries are matched with.

    Attributes:
      name: Name of the feature.
      layout: Layout of its rows.
      average: Mean number of words over the catalogue.
      names: Hashes of all names in the catalogue, in rising order; empty for a plain text.
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
      fields: The item fields that the texts are matched with.
      stems: Hashes of the stems that at least two items have, in rising order, [V] float32.
      idf: The inverse document frequency of each stem, [V] float32.
      rare: The inverse document frequency of any other stem.
      extras: Further features, by name.

    Example:
      >>> import numpy as np
      >>> none = np.zeros(0, np.float32)
      >>> plan = MatchPlan({"query": TermLayout(words=4)}, (), stems=none, idf=none, rare=1.0)
      >>> plan.layout("query").words, plan.layout("price")
      (4, None)
      >>> MatchPlan.restored(plan.state()).queries == plan.queries
      True
    """

    queries: Mapping[str, TermLayout]
    fields: tuple[Field, ...]
    stems: np.ndarray
    idf: np.ndarray
    rare: float
    extras: Mapping[str, Extra] = dataclasses.field(default_factory=dict)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the item features whose numbers are compared, each once."""
        return tuple(dict.fromkeys(n for extra in self.extras.values() for n in extra.numbers))

    def packs(self, query: str) -> list[tuple[Pack, int]]:
        """The functions that make further numbers of a query's raw texts, each with its width."""
        layout = self.queries.get(query)
        if layout is None:
            return []
        made = [(extra.pack(layout), extra.width(layout)) for extra in self.extras.values()]
        return [(pack, width) for pack, width in made if pack is not None]

    def layout(self, feature: str) -> TermLayout | None:
        """The layout of a feature's rows; None for a feature that is not matched."""
        of_items = {f.name: f.layout for f in self.fields}
        return self.queries.get(feature) or of_items.get(feature)

    def state(self) -> dict[str, Any]:
        """The plan as JSON."""
        extras = {name: extra.state() for name, extra in self.extras.items()}
        return ({"extras": extras} if extras else {}) | {
            "queries": {n: dataclasses.asdict(v) for n, v in self.queries.items()},
            "fields": [dataclasses.asdict(f) for f in self.fields],
            "stems": self.stems.astype(int).tolist(),
            "idf": [float(v) for v in self.idf],
            "rare": self.rare,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> MatchPlan:
        """The plan whose `state` this is."""
        return cls(
            {n: TermLayout(**v) for n, v in state["queries"].items()},
            tuple(
                Field(f["name"], TermLayout(**f["layout"]), f["average"], tuple(f["names"]))
                for f in state["fields"]
            ),
            np.array(state["stems"], np.float32),
            np.array(state["idf"], np.float32),
            float(state["rare"]),
            {n: EXTRAS[n].make.restored(v) for n, v in state.get("extras", {}).items()},
        )


class TermRows:
    """Rows of one feature's raw texts: terms, what extras add, word pieces.

    The function is traced for any number of texts.

    Args:
      layout: Layout of the terms; None for a feature without terms.
      pieces: Makes the word pieces; None for a feature without pieces.
      more: What extras make of the texts, as `MatchPlan.packs` returns it.

    Attributes:
      width: How many numbers a row has.
      pieces: As given.
    """

    def __init__(
        self,
        layout: TermLayout | None,
        pieces: PieceRows | None = None,
        more: Sequence[tuple[Pack, int]] = (),
    ):
        self.pieces = pieces
        packs: list[tuple[Pack, int]] = [] if layout is None else [(layout.pack, layout.width)]
        packs += more
        packs += [] if pieces is None else [(pieces, pieces.width)]
        self.width = sum(width for _, width in packs)
        if layout is not None and len(packs) == 1:
            self.traced = _traced_terms(layout)
        else:
            self.traced = _traced(lambda raw: tf.concat([pack(raw) for pack, _ in packs], -1))

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        """Rows [N, width] float32 of raw texts [N]."""
        return in_chunks(self.traced, raw, tf.string, tf.TensorSpec([None, self.width], tf.float32))


def _traced(rows: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function of raw texts [N] as one graph for any N."""
    once = {"_noinline": True}  # as in `FeatureKind.traced_preprocess`
    spec = [tf.TensorSpec([None], tf.string)]
    return traced(rows, spec, experimental_attributes=once).get_concrete_function()


@functools.lru_cache(maxsize=32)
def _traced_terms(layout: TermLayout) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the graph of a layout's terms, which refers to nothing but the layout.

    Features of one layout share it: tracing takes longer than the texts of a small catalogue.
    """
    return _traced(layout.pack)


class Matching:
    """The matching of a run's features: the fitted plans, and the rows that they make of raw texts.

    Args:
      compares: Whether queries and candidates are compared by match features.
      cross: Options of a cross-encoder; None for a ranker without one.
      extras: Names of further match features, each one of `EXTRAS`.

    Attributes:
      compares: As given.
      plan: The plan of the match features; None before it is fitted, and if either side contains
        no words.
      pieces: The plan of the cross-encoder; None before it is fitted, and without a cross-encoder.
    """

    def __init__(
        self, compares: bool = True, cross: Cross | None = None, extras: Sequence[str] = ()
    ) -> None:
        self.compares, self._cross, self._extras = compares, cross, tuple(extras)
        self.plan: MatchPlan | None = None
        self.pieces: PiecePlan | None = None
        self._rows: dict[str, TermRows] = {}

    def fit(
        self,
        queries: Sequence[FeatureKind],
        items: Sequence[FeatureKind],
        values: Callable[[FeatureKind], pd.Series],
    ) -> None:
        """Fits the plans; for the arguments see `fit_plan`."""
        self._rows = {}
        self.plan = fit_plan(queries, items, values, self._extras) if self.compares else None
        if self._cross is not None:
            self.pieces = fit_pieces(self._cross, queries, items, values)

    def state(self) -> dict[str, Any]:
        """The plans as JSON; empty without any."""
        plan = {} if self.plan is None else self.plan.state()
        return plan | ({} if self.pieces is None else {PIECES: self.pieces.state()})

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores the plans from what `state` returned."""
        self._rows = {}
        self.plan = MatchPlan.restored(state) if "fields" in state else None
        self.pieces = PiecePlan.restored(state[PIECES]) if PIECES in state else None

    def rows(self, feature: str) -> TermRows | None:
        """The function that makes rows of a feature's raw texts; None if it is not matched."""
        if feature not in self._rows:
            layout = None if self.plan is None else self.plan.layout(feature)
            pieces = None if self.pieces is None else self.pieces.rows(feature)
            if layout is None and pieces is None:
                return None
            more = [] if self.plan is None else self.plan.packs(feature)
            self._rows[feature] = TermRows(layout, pieces, more)
        return self._rows[feature]

    def arrays(self, kind: FeatureKind, column: pd.Series) -> dict[str, np.ndarray]:
        """The rows [N, width] of a feature's column by input name; empty if it is not matched."""
        rows = self.rows(kind.name)
        if rows is None:
            return {}
        # A query is repeated in every row of its list, and in other lists.
        codes, distinct = pd.factorize(kind.read(column, None)[0])
        return {terms_name(kind.name): rows(distinct)[codes]}


def fit_plan(
    queries: Sequence[FeatureKind],
    items: Sequence[FeatureKind],
    values: Callable[[FeatureKind], pd.Series],
    extras: Sequence[str] = (),
) -> MatchPlan | None:
    """The plan over some features; None if either side contains no words.

    Args:
      queries: Features of the query.
      items: Features of the items.
      values: The column that a feature is fitted on: the training lists' column for a query
        feature, the catalogue's for an item feature.
      extras: Names of further features, each one of `EXTRAS`.

    Example:
      >>> import pandas as pd
      >>> from mmrank.encoders.text import Text
      >>> from mmrank.schema import Feature
      >>> query = Text(Feature("query", "text", "query", "query"), {})
      >>> title = Text(Feature("title", "text", "item", "title"), {})
      >>> titles = pd.Series(["Red dress", "Blue dress", "Red mug"])
      >>> columns = {"query": pd.Series(["red dress"]), "title": titles}
      >>> plan = fit_plan([query], [title], lambda kind: columns[kind.name])
      >>> [field.name for field in plan.fields], len(plan.stems)  # red and dress are in two titles
      (['title'], 2)
    """
    asking = [k for k in queries if kind_of(k.feature.kind).typed]
    worded = [k for k in items if kind_of(k.feature.kind).matched_by]
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
    found = [_field(kind, values(kind)) for kind in worded]
    stems = [terms.stems for _, terms in found]
    items_count = max(len(s) for s in stems)
    numbers, documents = _document_counts(stems)
    kept = np.flatnonzero(documents > 1)
    kept = np.sort(kept[np.argsort(-documents[kept], kind="stable")[:MOST_LEXICON]])
    known = numbers[kept].astype(np.float32)
    further: dict[str, Extra] = {}
    if extras:
        of_texts = [
            s
            for k, s in zip(worded, stems, strict=True)
            if kind_of(k.feature.kind).matched_by == BY_WORDS
        ]
        catalogue = Catalogue(
            items,
            values,
            [k.name for k in worded],
            known,
            _known_pairs(of_texts, known),
            {f.name: terms.names[:, 0] for f, terms in found if f.layout.names == 1},
        )
        further = fit_extras(extras, catalogue)
    return MatchPlan(
        layouts,
        tuple(field for field, _ in found),
        known,
        _idf(documents[kept], items_count),
        float(_idf(np.ones(1), items_count)[0]),
        further,
    )


def _field(kind: FeatureKind, column: pd.Series) -> tuple[Field, Terms]:
    """The field of an item feature, and the terms of its values, stems and names as arrays."""
    raw, _ = kind.read(column, None)
    separator = kind.separator or ""
    lengths = _lengths(raw)
    long = _rounded(np.quantile(lengths, 0.99) if len(lengths) else 1)
    words = min(long, MOST_WORDS)
    if kind_of(kind.feature.kind).matched_by == BY_NAME:
        names = TAGS if separator else 1
        layout = TermLayout(words, names=names, separator=separator)
    else:
        short = np.median(lengths) <= LONG_TEXT if len(lengths) else True
        layout = TermLayout(words, GRAMS if short else 0, NUMBERS if short else 2 * NUMBERS)
    terms = layout.unpack(TermRows(layout)(raw))
    stems, names = terms.stems.numpy(), terms.names.numpy()
    counts = (stems > 0).sum(1)
    average = float(counts[counts > 0].mean()) if (counts > 0).any() else 1.0
    known = np.unique(names)
    field = Field(kind.name, layout, average, tuple(known[known > 0].tolist()))
    return field, dataclasses.replace(terms, stems=stems, names=names)


def _lengths(raw: np.ndarray) -> np.ndarray:
    """Words of each distinct non-empty text, times 1.2, since `500ml` counts as two words."""
    distinct = pd.unique(pd.Series(raw, dtype=object))
    counts = np.array([len(tokens(text)) for text in distinct], np.float64)
    return 1.2 * counts[counts > 0]


def _rounded(length: float) -> int:
    """The length rounded up to a multiple of four, at least four."""
    return max(4 * int(np.ceil(length / 4)), 4)


def _document_counts(stems: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The stems of a catalogue in rising order, and how many items have each in any field.

    Args:
      stems: Stems of each field, [items, words]; 0 for padding.
    """
    items = np.concatenate([np.repeat(np.arange(len(s)), s.shape[1]) for s in stems])
    found = np.concatenate([s.ravel() for s in stems])
    numbers, codes = np.unique(found, return_inverse=True)
    pairs = np.unique(items * len(numbers) + codes)
    documents = np.bincount(pairs % max(len(numbers), 1), minlength=len(numbers))
    return numbers[numbers > 0], documents[numbers > 0]


def _known_pairs(stems: Sequence[np.ndarray], known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which item has which known stem in any field, each pair once: items, and stem indices.

    Args:
      stems: Stems of each field, [items, words]; 0 for padding.
      known: The known stems in rising order.
    """
    none = np.zeros(0, np.int64)
    items = np.concatenate([none, *(np.repeat(np.arange(len(s)), s.shape[1]) for s in stems)])
    found = np.concatenate([none.astype(np.float32), *(s.ravel() for s in stems)])
    at = np.searchsorted(known, found)
    here = np.append(known, np.inf)[at] == found
    pairs = np.unique(items[here] * (len(known) + 1) + at[here])
    return np.divmod(pairs, len(known) + 1)


def _idf(documents: np.ndarray, items: int) -> np.ndarray:
    """log(1 + (N − n + 0.5) / (n + 0.5)), [terms] float32.

    Source: Robertson and Zaragoza 2009, equation 3.3, with Lucene's 1 that keeps it above 0.
    """
    return np.log1p((items - documents + 0.5) / (documents + 0.5)).astype(np.float32)
