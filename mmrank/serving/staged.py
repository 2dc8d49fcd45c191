"""Ranking in steps: item vectors looked up, the query encoded or remembered, the head run."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from mmrank.serving.candidates import Candidates, read_candidates, rows
from mmrank.serving.card import Card
from mmrank.serving.embeddings.base import ItemVectors
from mmrank.serving.embeddings.layered import Found, LayeredStore
from mmrank.serving.embeddings.opened import EmbeddingStores
from mmrank.serving.embeddings.options import EmbeddingOptions
from mmrank.serving.embeddings.queries import QueryCache
from mmrank.serving.ranker import SCORES, Ranker
from mmrank.serving.request import Arrays
from mmrank.serving.shares import Shares, shares_of
from mmrank.serving.without import modalities_there, without_each

ENCODED = "encoded"
Call = Callable[[str, Arrays], Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class StagedList:
    """One list ranked, and how that came about.

    Attributes:
      order: Places of the candidates from best to worst, [L] whole numbers.
      ids: Their ids in the order given, empty where one was given none.
      scores: In the order given, [L] float32.
      outputs: What each task says, [L] float32 by name.
      sources: Where each candidate's vectors came from, [L] texts: cache, redis, export, encoded
        (from raw features) or unknown (nothing is known of it).
      features: What the request said, as `rank_items` would take it.
      absent: By modality, the share of the candidates that lack it.
      away: Whether Redis was needed and did not answer.
      remembered: Whether the query's embedding was remembered; None for a ranker without any.
      shares: What each modality does, if that was asked for.
      unused: Candidates whose raw features changed nothing, since vectors of their id were there.
    """

    order: np.ndarray
    ids: tuple[str, ...]
    scores: np.ndarray
    outputs: Mapping[str, np.ndarray]
    sources: np.ndarray
    features: Arrays
    absent: Mapping[str, float]
    away: bool
    remembered: bool | None
    shares: Shares | None = None
    unused: int = 0


class StagedRanker:
    """A ranker whose item vectors come from a store. Make one with `StagedRanker.load`.

    Args:
      card: Of the export.
      call: Runs a signature of the export by name.
      store: Of the vectors of its model's items.
      remembered: Queries whose embeddings are kept.
    """

    def __init__(self, card: Card, call: Call, store: LayeredStore, remembered: int):
        self.card, self._call, self._store = card, call, store
        self._queries: QueryCache | None = None
        if card.names("query", "user"):
            self._queries = QueryCache(remembered, lambda rows: call("encode_queries", rows))

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], options: EmbeddingOptions | None = None
    ) -> StagedRanker:
        """The ranker in an export, in this process.

        Args:
          path: The export, or the folder of the numbered exports.
          options: Where item vectors come from; the export's table alone unless given.

        Raises:
          RankError: There is no export of mmrank at `path`.
          MissingExtra: A package of the extra `serving` is not installed.
        """
        chosen = EmbeddingOptions() if options is None else options
        ranker = Ranker.load(path)
        return cls.over(ranker.card, ranker.run, EmbeddingStores(chosen))

    @classmethod
    def over(cls, card: Card, call: Call, stores: EmbeddingStores) -> StagedRanker:
        """The ranker over signatures that somebody else runs; arguments as of the class."""
        store = stores.of_model(card.fingerprint, lambda ids: call("lookup_items", {"items": ids}))
        return cls(card, call, store, stores.options.cached_queries)

    def rank(
        self,
        query: Any = None,
        candidates: Iterable[Any] = (),
        user: Any = None,
        history: Iterable[Any] | None = None,
        explain: bool = False,
    ) -> StagedList:
        """The candidates of one list from best to worst; equal scores keep the order given.

        Vectors of a candidate with an id are looked up. Where no store knows them, its raw features
        are encoded if it came with any; else all its modalities are absent. A candidate without an
        id is encoded. Arguments beside these as of `Ranker.rank`.

        Args:
          candidates: Item ids, or products as `read_candidates` takes them; both may be mixed.
          explain: Also score with each modality absent.

        Raises:
          RankError: The request does not fit the ranker.
        """
        card = self.card
        read = read_candidates(card, candidates)
        asked = card.inputs.context("query", query) | card.inputs.context("user", user)
        events = None if history is None else list(history)
        reads_history = card.inputs.history is not None or card.collaborative is None
        past = card.inputs.events(events if reads_history else None)
        pairs = card.with_scores(read.pairs, events, read.ids)
        fed = rows(card.inputs, "pair", pairs, range(len(pairs)))
        fed = {n: a[None] for n, a in fed.items()}
        fed["list_length"] = np.array([len(read.ids)], np.int32)
        said = asked | past | fed
        vectors, found = self._vectors(read, past)
        fed |= vectors
        names = modalities_there(card, asked, fed) if explain else []
        queries, fed = without_each(card, names, asked, fed)
        remembered = None
        if self._queries is not None:
            contexts, kept = self._queries.get(queries)
            fed |= contexts
            remembered = bool(kept[0])
        given = self._call("rank_embeddings", fed)
        scores, present = given[SCORES], fed["present"][0]
        return StagedList(
            order=np.argsort(-scores[0], kind="stable"),
            ids=read.ids,
            scores=scores[0],
            outputs={n: given[n][0] for n in card.tasks},
            sources=found.sources[: len(read.ids)],
            features=said,
            absent=dict(zip(card.modalities, (1.0 - present.mean(0)).tolist(), strict=True)),
            away=found.away,
            remembered=remembered,
            shares=shares_of(names, scores[0], scores[1:]) if explain else None,
            unused=sum(
                bool(product) and source != ENCODED
                for product, source in zip(read.products, found.sources, strict=False)
            ),
        )

    def _vectors(self, read: Candidates, past: Arrays) -> tuple[Arrays, Found]:
        """The inputs of `rank_embeddings` that hold item vectors, and where these came from."""
        name = self.card.inputs.history
        events = [] if name is None else list(past[f"{name}_items"][0])
        found = self._store.get([*read.ids, *events])
        unknown = np.flatnonzero(~found.vectors.known[: len(read.ids)])
        places = np.array([i for i in unknown if read.products[i]], np.intp)
        if len(places):
            products = [read.products[i] or {} for i in places]
            raw = self._call("encode_items", rows(self.card.inputs, "item", products, places))
            everything = np.ones(len(places), bool)
            found.vectors.put(places, ItemVectors.given(raw, everything))
            found.sources[places] = ENCODED
        count = len(read.ids)
        arrays = {n: a[:, :count] for n, a in found.vectors.inputs().items()}
        if name is not None:
            arrays[f"{name}_tokens"] = found.vectors.tokens[None, count:]
            arrays[f"{name}_known"] = found.vectors.known[None, count:]
            arrays |= {f"{name}_{role}": past[f"{name}_{role}"] for role in ("types", "ages")}
        return arrays, found
