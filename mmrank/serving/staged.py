"""Ranks in steps: looks up item vectors, encodes the query unless it is cached, runs the head."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
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
from mmrank.serving.rearranging import RankedPage, Rearranged, rearrange
from mmrank.serving.request import Arrays
from mmrank.serving.shares import Shares, shares_of
from mmrank.serving.steps import Call, Run, Steps, at_hand, finish
from mmrank.serving.without import modalities_there, without_each

ENCODED = "encoded"


@dataclasses.dataclass(frozen=True)
class StagedList:
    """One ranked list, and where its embeddings came from.

    Attributes:
      order: Indices of the candidates from best to worst, [L] whole numbers.
      ids: The candidates' ids in the order given, empty for a candidate without an id.
      scores: Scores in the order given, [L] float32.
      outputs: Outputs of each task in the order given, [L] float32 by name.
      sources: Where each candidate's vectors came from, [L] texts: cache, redis, export, encoded
        (from raw features) or unknown (neither vectors nor raw features).
      features: The request's features of query, user, history and pairs, as `rank_items` would
        take them.
      absent: By modality, the share of the candidates that lack it.
      unavailable: Whether Redis was needed and did not answer.
      remembered: Whether the query's embedding came from the cache; None for a ranker without
        features of query and user.
      shares: The effect of each modality, if `explain` was set.
      unused: Number of candidates whose raw features were ignored, since vectors of their id were
        found.
      page: The rearranged page, if `rerank` was set; `order` then has its candidates first.
    """

    order: np.ndarray
    ids: tuple[str, ...]
    scores: np.ndarray
    outputs: Mapping[str, np.ndarray]
    sources: np.ndarray
    features: Arrays
    absent: Mapping[str, float]
    unavailable: bool
    remembered: bool | None
    shares: Shares | None = None
    unused: int = 0
    page: RankedPage | None = None


class StagedRanker:
    """A ranker whose item vectors come from a store. Make one with `StagedRanker.load`.

    Args:
      card: The export's card.
      call: Runs a signature of the export by name, for `rank`.
      store: The store of the vectors of its model's items.
      remembered: Number of queries whose embeddings are kept.

    Example:
      With signatures of an export that knows item P1 alone:

      >>> import numpy as np
      >>> from mmrank.serving.embeddings.layered import ExportedItems
      >>> from mmrank.serving.request import Column, Inputs
      >>> def call(signature, arrays):
      ...     if signature == "lookup_items":
      ...         known = arrays["items"] == "P1"
      ...         tokens = np.where(known, 1.0, 0.0)[:, None, None].astype(np.float32)
      ...         return {"tokens": tokens, "present": known[:, None], "known": known}
      ...     return {"scores": arrays["tokens"][:, :, 0, 0]}
      >>> price = Column("price", "number", "item", "float32", media=False)
      >>> store = LayeredStore(ExportedItems(lambda ids: call("lookup_items", {"items": ids})))
      >>> ranker = StagedRanker(Card(Inputs({"price": price}, history=None)), call, store, 10)
      >>> ranked = ranker.rank(candidates=["P2", "P1"])
      >>> ranked.order.tolist(), ranked.sources.tolist()
      ([1, 0], ['unknown', 'export'])
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
        """Loads the ranker of an export into this process.

        Args:
          path: The export, or the folder of the numbered exports.
          options: Where item vectors come from; without it, only from the export's table.

        Raises:
          RankError: `path` holds no export of mmrank.
          MissingExtra: A package of the extra `serving` is not installed.
        """
        chosen = EmbeddingOptions() if options is None else options
        ranker = Ranker.load(path)
        return cls.over(ranker.card, ranker.run, EmbeddingStores(chosen))

    @classmethod
    def over(cls, card: Card, call: Call, stores: EmbeddingStores) -> StagedRanker:
        """Returns a ranker over signatures that the caller runs.

        Args:
          card, call: As for the class.
          stores: Makes the store of the model's items.
        """
        store = stores.of_model(card.fingerprint, lambda ids: call("lookup_items", {"items": ids}))
        return cls(card, call, store, stores.options.cached_queries)

    def rank(
        self,
        query: Any = None,
        candidates: Iterable[Any] = (),
        user: Any = None,
        history: Iterable[Any] | None = None,
        explain: bool = False,
        rerank: Rearranged | None = None,
    ) -> StagedList:
        """Returns the result of `steps`, run on this thread; arguments and errors as there."""
        return finish(self.steps(query, candidates, user, history, explain, rerank), self._call)

    def steps(
        self,
        query: Any = None,
        candidates: Iterable[Any] = (),
        user: Any = None,
        history: Iterable[Any] | None = None,
        explain: bool = False,
        rerank: Rearranged | None = None,
    ) -> Steps[StagedList]:
        """Ranks the candidates of one list from best to worst; equal scores keep the order given.

        Vectors of a candidate with an id are looked up. If no store knows them, its raw features
        are encoded if the request has any; else all its modalities are absent. A candidate without
        an id is encoded.

        Args:
          query, user, history: As for `Ranker.rank`.
          candidates: Item ids, or products as `read_candidates` takes them; both may be mixed.
          explain: Whether to score also with each modality absent, for `shares`.
          rerank: How the export's policy rearranges the page; None to leave the ranker's order.

        Raises:
          RankError: The request does not fit the ranker, or `rerank` is set and it has no policy.
        """
        card = self.card
        read = read_candidates(card, candidates)
        asked = card.asked(query, user, history)
        pairs = card.with_scores(read.pairs, asked.events, read.ids)
        fed = rows(card.inputs, "pair", pairs, range(len(pairs)))
        fed = {n: a[None] for n, a in fed.items()}
        fed["list_length"] = np.array([len(read.ids)], np.int32)
        said = asked.contexts | asked.history | fed
        vectors, found = yield from self._vectors(read, asked.history)
        fed |= vectors
        names = modalities_there(card, asked.contexts, fed) if explain else []
        queries, fed = without_each(card, names, asked.contexts, fed)
        remembered = None
        if self._queries is not None:
            contexts, kept = yield from self._queries.steps(queries)
            fed |= contexts
            remembered = bool(kept[0])
        given = yield Run("rank_embeddings", fed)
        scores, present = given[SCORES], fed["present"][0]
        order, page = np.argsort(-scores[0], kind="stable"), None
        outputs = {n: given[n][0] for n in card.tasks}
        if rerank is not None:
            stored = {n: fed[n][0] for n in ("tokens", "present")}
            page = yield from rearrange(
                card,
                rerank,
                order=order,
                ids=read.ids,
                products=read.products,
                outputs=outputs,
                scores=scores[0],
                vectors=lambda at: at_hand({n: a[at] for n, a in stored.items()}),
            )
            order = page.order
        return StagedList(
            order=order,
            ids=read.ids,
            scores=scores[0],
            outputs=outputs,
            sources=found.sources[: len(read.ids)],
            features=said,
            absent=dict(zip(card.modalities, (1.0 - present.mean(0)).tolist(), strict=True)),
            unavailable=found.unavailable,
            remembered=remembered,
            shares=shares_of(names, scores[0], scores[1:]) if explain else None,
            unused=sum(
                bool(product) and source != ENCODED
                for product, source in zip(read.products, found.sources, strict=False)
            ),
            page=page,
        )

    def _vectors(self, read: Candidates, past: Arrays) -> Steps[tuple[Arrays, Found]]:
        """Returns the inputs of `rank_embeddings` that hold item vectors, and their sources."""
        name = self.card.inputs.history
        events = [] if name is None else list(past[f"{name}_items"][0])
        found = yield from self._store.steps([*read.ids, *events])
        unknown = np.flatnonzero(~found.vectors.known[: len(read.ids)]).tolist()
        indices = np.array([i for i in unknown if read.products[i]], np.intp)
        if len(indices):
            products = [read.products[i] or {} for i in indices]
            raw = yield Run("encode_items", rows(self.card.inputs, "item", products, indices))
            everything = np.ones(len(indices), bool)
            found.vectors.put(indices, ItemVectors.given(raw, everything))
            found.sources[indices] = ENCODED
        count = len(read.ids)
        arrays = {n: a[:, :count] for n, a in found.vectors.inputs().items()}
        if name is not None:
            arrays[f"{name}_tokens"] = found.vectors.tokens[None, count:]
            arrays[f"{name}_known"] = found.vectors.known[None, count:]
            arrays |= {f"{name}_{role}": past[f"{name}_{role}"] for role in ("types", "ages")}
        return arrays, found
