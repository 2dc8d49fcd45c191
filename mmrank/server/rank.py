"""POST /rank: ranks candidates for a query, with item vectors looked up where they are known."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
from mmrank.server.rank_options import RankOptions
from mmrank.server.rank_request import (
    RankInputs,
    RankRequest,
    read_inputs,
    read_request,
    write_reply,
)
from mmrank.server.servable import Servable
from mmrank.serving.card import CARD, read_card
from mmrank.serving.embeddings.opened import EmbeddingStores
from mmrank.serving.embeddings.options import EmbeddingOptions
from mmrank.serving.request import Arrays, RankError
from mmrank.serving.staged import StagedList, StagedRanker
from mmrank.serving.steps import Done, Run, Steps, advance

NEEDED = ("lookup_items", "encode_items", "rank_embeddings")
logger = logging.getLogger(__name__)


class RankEndpoint:
    """The /rank endpoint of one model.

    Args:
      service: The model. The endpoint prepares a ranker for every version that it loads.
      embeddings: Where item vectors come from.
      options: See `RankOptions`.
      limits: The largest requests that are accepted.
      pseudonym: Converts a user id to the id that the ranker knows; by default, leaves it as it is.
      observe: Called with the version and the features of each request; None to call nothing.
    """

    def __init__(
        self,
        service: ModelService,
        embeddings: EmbeddingOptions,
        options: RankOptions,
        limits: Limits,
        pseudonym: Callable[[str], str] = str,
        observe: Callable[[int, Arrays], None] | None = None,
    ):
        self._service, self._options, self._most = service, options, limits.candidates
        self._decoding = DecodingPool(options, limits)
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
            with self._service.hold(asked.version, asked.label) as servable:
                deadline = started + self._service.timeout
                ranker = self._ranker(servable)
                given = await run_inline_or_in_thread(len(body), read_inputs, ranker.card, asked)
                await self._decode(given.files(ranker.card), deadline)
                # With `explain`, one list is as many as there are modalities.
                size = INLINE_BYTES + 1 if asked.explain else len(body)
                async with self._running:
                    reply, ranked = await self._rank(servable, asked, given, size, deadline)
            # Runs later in the event loop, so that this reply does not wait for it, but before the
            # next request is answered.
            asyncio.get_running_loop().call_soon(self._count, ranked, servable.number)
            return servable.number, reply
        finally:
            self._busy -= 1

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

    async def _rank(
        self,
        servable: Servable,
        asked: RankRequest,
        given: RankInputs,
        size: int,
        deadline: float,
    ) -> tuple[bytes, StagedList]:
        """Returns the reply and the ranked list in it.

        What Python does between two steps runs on the event loop, or on a thread if `size` (bytes)
        is not small.
        """
        steps = self._steps(servable, asked, given)
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
        """Returns what `_rank` does, in steps."""
        ranker = self._rankers[servable]
        try:
            user = self._user_features(servable, asked, given.query, given.user)
            ranked = yield from ranker.steps(
                given.query, given.candidates, user, asked.history, asked.explain
            )
        except RankError as error:
            raise ServingError(INVALID_ARGUMENT, str(error)) from error
        return write_reply(ranker.card, self._service.name, servable.number, ranked), ranked

    def _user_features(
        self,
        servable: Servable,
        asked: RankRequest,
        query: Mapping[str, Any],
        user: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Returns the user's features, with the id as the ranker knows it.

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
        return {**user, **{n: self._pseudonym(v) for n, v in ids.items()}}

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
