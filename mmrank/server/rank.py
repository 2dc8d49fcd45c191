"""POST /rank: ranks candidates for a query, with item vectors looked up where they are known."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mmrank.data.blank import BLANK
from mmrank.schema import load_schema
from mmrank.server.decoding.pool import DecodingPool, SentFile
from mmrank.server.errors import (
    FAILED_PRECONDITION,
    INVALID_ARGUMENT,
    RESOURCE_EXHAUSTED,
    ServingError,
)
from mmrank.server.guard.audit import note
from mmrank.server.guard.options import Limits
from mmrank.server.json_tensors import parse_object
from mmrank.server.models import ModelService
from mmrank.server.off_loop import INLINE_BYTES, in_pool, run_inline_or_in_thread
from mmrank.server.page_recorder import Asking
from mmrank.server.rank_options import RankOptions
from mmrank.server.rank_request import (
    RankInputs,
    RankRequest,
    read_inputs,
    read_request,
    write_reply,
)
from mmrank.server.servable import Servable
from mmrank.server.shown_pages import ShownOrder, ShownPages
from mmrank.serving.card import CARD, read_card
from mmrank.serving.embeddings.opened import EmbeddingStores
from mmrank.serving.embeddings.options import EmbeddingOptions
from mmrank.serving.rearranging import Rearranged
from mmrank.serving.request import Arrays, RankError
from mmrank.serving.staged import StagedList, StagedRanker
from mmrank.serving.steps import Done, Run, Steps, advance

NEEDED = ("lookup_items", "encode_items", "rank_embeddings")
T = TypeVar("T")
logger = logging.getLogger(__name__)


class RankEndpoint:
    """The /rank endpoint of one model.

    Args:
      service: The model. The endpoint prepares a ranker for every version that it loads.
      embeddings: Where item vectors come from.
      options: See `RankOptions`.
      limits: The largest requests that are accepted.
      pages: Explores and logs the pages of requests with `rerank` or `interleave`.
      pseudonym: Converts a user id to the id that the ranker knows; by default, leaves it as it is.
      observe: Called with the version and the features of each request; None to call nothing.
    """

    def __init__(
        self,
        service: ModelService,
        embeddings: EmbeddingOptions,
        options: RankOptions,
        limits: Limits,
        pages: ShownPages,
        pseudonym: Callable[[str], str] = str,
        observe: Callable[[int, Arrays], None] | None = None,
    ):
        self._service, self._options, self._most = service, options, limits.candidates
        self._decoding, self._pages = DecodingPool(options, limits), pages
        self._pseudonym, self._observe = pseudonym, observe
        self._stores = EmbeddingStores(embeddings)
        self._rankers: dict[Servable, StagedRanker] = {}
        self._ids: dict[Servable, set[str]] = {}
        self._busy = 0
        self._running = asyncio.Semaphore(options.threads)
        # Waits for Redis; as many threads as requests that run, so that none waits for a thread.
        self._fetching = concurrent.futures.ThreadPoolExecutor(options.threads, "redis")
        service.on_load(self._on_load)
        service.on_unload(self._on_unload)

    def route(self) -> Route:
        """Returns the route to pass to `build_app`."""
        return Route("/rank", self.handle, methods=["POST"])

    def close(self) -> None:
        """Ends threads and connections; to be called after the last request."""
        self._fetching.shutdown(wait=True)
        self._decoding.close()
        self._stores.close()

    async def handle(self, request: Request) -> Response:
        """Answers one request, and counts it."""
        started = time.monotonic()
        version: int | None = None
        code = "OK"
        try:
            version, reply = await self._answer(await request.body(), started)
            return Response(reply, media_type="application/json")
        except ServingError as error:
            code = error.code
            raise
        except Exception:
            code = "INTERNAL"
            raise
        finally:
            self._service.metrics.request(
                self._service.name, version, "rank", code, time.monotonic() - started, "REST"
            )

    async def _answer(self, body: bytes, started: float) -> tuple[int, bytes]:
        if self._busy >= self._options.threads + self._options.waiting:
            raise ServingError(
                RESOURCE_EXHAUSTED,
                f"{self._busy} requests are in progress or waiting; try again later",
            )
        self._busy += 1
        try:
            asked = await run_inline_or_in_thread(len(body), self._read, body)
            deadline = started + self._service.timeout
            # With `explain`, one list is as many as there are modalities.
            size = INLINE_BYTES + 1 if asked.explain else len(body)
            if asked.rerank and self._pages.rules.stale:
                await in_pool(None, self._pages.rules.refresh)
            if asked.interleave is not None:
                labels = self._labels(asked, asked.interleave)
                return await self._interleaved(labels, asked, size, deadline)
            with self._service.hold(asked.version, asked.label) as servable:
                given = await self._given(servable, asked, len(body), deadline)
                async with self._running:
                    steps = self._steps(servable, asked, given)
                    reply, ranked = await self._run(servable, steps, size, deadline)
            self._count_soon(ranked, servable.number)
            return servable.number, reply
        finally:
            self._busy -= 1

    def _labels(self, asked: RankRequest, labels: Sequence[str]) -> Sequence[str]:
        """Returns the labels of the two versions, by the request or else by the config."""
        options = self._pages.interleave
        if len(asked.candidates) > options.candidates:
            raise ServingError(
                INVALID_ARGUMENT,
                f'"interleave": send at most {options.candidates} candidates with it',
            )
        if not (labels or options.labels):
            raise ServingError(
                FAILED_PRECONDITION,
                '"interleave": this server is configured with no labels; send two labels',
            )
        return labels or options.labels

    async def _interleaved(
        self, labels: Sequence[str], asked: RankRequest, size: int, deadline: float
    ) -> tuple[int, bytes]:
        """Answers with one page of the orders of two versions, or with the first if that is off."""
        lists: list[StagedList] = []
        with contextlib.ExitStack() as stack:
            versions = [stack.enter_context(self._service.hold(label=each)) for each in labels]
            off = self._pages.off
            for servable in versions[:1] if off else versions:
                given = await self._given(servable, asked, size, deadline)
                async with self._running:
                    steps = self._list_steps(servable, asked, given)
                    ranked, asking = await self._run(servable, steps, size, deadline)
                lists.append(ranked)
                self._count_soon(ranked, servable.number)
                if servable is versions[0]:
                    first = asking
        number, other = (servable.number for servable in versions)

        def reply() -> bytes:
            if off:
                shown = self._pages.unchanged(lists[0], first)
            else:
                shown = self._pages.interleaved(lists[0], lists[1], first, other)
            page = _page(shown, interleaved=None if off else [number, other])
            return write_reply(self._service.name, number, lists[0], page, shown.order)

        return number, await run_inline_or_in_thread(size, reply)

    async def _given(
        self, servable: Servable, asked: RankRequest, size: int, deadline: float
    ) -> RankInputs:
        """Returns the inputs of a request in the form that a version takes."""
        ranker = self._ranker(servable)
        given = await run_inline_or_in_thread(size, read_inputs, ranker.card, asked)
        await self._decode(given.files(ranker.card), deadline)
        return given

    def _read(self, body: bytes) -> RankRequest:
        return read_request(parse_object(body), self._most, self._options.explained)

    def _ranker(self, servable: Servable) -> StagedRanker:
        ranker = self._rankers.get(servable)
        if ranker is None:
            raise ServingError(
                FAILED_PRECONDITION,
                f"version {servable.number} lacks what /rank needs: {', '.join(NEEDED)} and "
                "mmrank's model card; export the run again",
            )
        return ranker

    async def _decode(
        self, files: Sequence[tuple[dict[str, Any], str, SentFile]], deadline: float
    ) -> None:
        """Replaces each file by the form that the graph takes."""
        if not files:
            return
        # During decoding the request does not count as busy: the decoding pool has its own bound.
        self._busy -= 1
        try:
            made = await self._decoding.taken([file for _, _, file in files], deadline)
        finally:
            self._busy += 1
        for (row, name, _), data in zip(files, made, strict=True):
            row[name] = data

    async def _run(self, servable: Servable, steps: Steps[T], size: int, deadline: float) -> T:
        """Returns the result of steps.

        What Python does between two steps runs on the event loop, or on a thread if `size` (bytes)
        is not small.
        """
        step = await run_inline_or_in_thread(size, advance, steps)
        while not isinstance(step, Done):
            if isinstance(step, Run):
                answer: Any = await self._service.run_on(
                    servable, step.signature, step.arrays, deadline=deadline, observed=False
                )
            else:
                answer = await in_pool(self._fetching, step.function)
            step = await run_inline_or_in_thread(size, advance, steps, answer)
        return step.result

    def _steps(
        self, servable: Servable, asked: RankRequest, given: RankInputs
    ) -> Steps[tuple[bytes, StagedList]]:
        """Returns the reply and the ranked list in it, in steps."""
        how = None
        if asked.rerank:
            how = Rearranged(self._pages.rules.rules, policy=not self._pages.off)
        ranked, asking = yield from self._list_steps(servable, asked, given, how)
        page: dict[str, Any] = {}
        order = ranked.order
        if how is not None:
            if ranked.page is None:
                shown = self._pages.unchanged(ranked, asking, how.rules)
            else:
                shown = self._pages.reranked(ranked, asking, how.policy)
            page = _page(shown, policy="on" if how.policy else "off")
            order = shown.order
        return write_reply(asking.model, asking.version, ranked, page, order), ranked

    def _list_steps(
        self,
        servable: Servable,
        asked: RankRequest,
        given: RankInputs,
        how: Rearranged | None = None,
    ) -> Steps[tuple[StagedList, Asking]]:
        """Returns the ranked list, and who asked for it, in steps.

        Args:
          servable, asked, given: The version, and the request.
          how: How the page is rearranged; None to rank only.
        """
        ranker = self._rankers[servable]
        if how is not None and ranker.card.policy is None:
            if how.policy:
                raise ServingError(
                    FAILED_PRECONDITION,
                    f"version {servable.number} has no policy that rearranges pages; leave out "
                    '"rerank", or export the run with a policy',
                )
            # While policies are switched off, the server may go back to a version without one.
            how = None
        try:
            user, known = self._user_features(servable, asked, given.query, given.user)
            ranked = yield from ranker.steps(
                given.query, given.candidates, user, asked.history, asked.explain, how
            )
        except RankError as error:
            raise ServingError(INVALID_ARGUMENT, str(error)) from error
        return ranked, Asking(self._service.name, servable.number, given.query, known)

    def _user_features(
        self,
        servable: Servable,
        asked: RankRequest,
        query: Mapping[str, Any],
        user: Mapping[str, Any],
    ) -> tuple[dict[str, Any], str | None]:
        """Returns the user's features, with the id as the ranker knows it, and that id alone.

        Also adds the query, the user and the number of candidates to the audit log's line.
        """
        columns = self._rankers[servable].card.inputs.columns
        # Converted as in the graph: 7.0 is the id 7, and a blank text is a missing id.
        raw = {n: columns[n].raw(v, "user") for n, v in user.items() if n in self._ids[servable]}
        ids = {n: str(v) for n, v in raw.items() if v is not None and str(v).strip(BLANK)}
        texts = [v for v in query.values() if isinstance(v, str)]
        note(
            candidates=len(asked.candidates),
            user=next(iter(ids.values()), None),
            query=" ".join(texts),
        )
        known = {n: self._pseudonym(v) for n, v in ids.items()}
        return {**user, **known}, next(iter(known.values()), None)

    def _count_soon(self, ranked: StagedList, version: int) -> None:
        # Runs later in the event loop, so that this reply does not wait for it, but before the next
        # request is answered.
        asyncio.get_running_loop().call_soon(self._count, ranked, version)

    def _count(self, ranked: StagedList, version: int) -> None:
        metrics = self._service.metrics
        metrics.scores(ranked.scores, version)
        for modality, share in ranked.absent.items():
            metrics.absent(modality, share)
        if self._observe is not None:
            self._observe(version, ranked.features)
        if ranked.remembered is not None:
            metrics.cache("queries", ranked.remembered)
        if self._stores.options.redis is not None:
            hits = int((ranked.sources == "cache").sum())
            metrics.cache("items", True, hits)
            metrics.cache("items", False, len(ranked.sources) - hits)

    def _on_load(self, servable: Servable) -> None:
        """Makes the ranker of a newly loaded version; runs on the loader's thread."""
        if any(name not in servable.signatures for name in NEEDED):
            logger.warning(
                "version %d has no %s and does not serve /rank", servable.number, ", ".join(NEEDED)
            )
            return
        try:
            card = read_card(servable.folder)
        except RankError as error:
            logger.warning("version %d does not serve /rank: %s", servable.number, error)
            return

        self._pages.check(card)
        schema = load_schema(servable.folder / CARD.parent, data=False)
        ids = {f.name for f in schema.side("user") if f.column == schema.lists.user}
        # Stored only after all steps that can fail: a version that fails here is refused, and
        # `_on_unload` is not called for it.
        self._rankers[servable] = StagedRanker.over(
            card, lambda signature, arrays: servable.run(signature, arrays), self._stores
        )
        self._ids[servable] = ids
        if any(column.media for column in card.inputs.columns.values()):
            self._decoding.prepare()

    def _on_unload(self, servable: Servable) -> None:
        self._rankers.pop(servable, None)
        self._ids.pop(servable, None)


def _page(shown: ShownOrder, **more: Any) -> dict[str, Any]:
    """Returns what a reply says about a page."""
    facts = {"page": shown.page, "probability": shown.probability, "explored": shown.explored}
    return {**facts, **more}
