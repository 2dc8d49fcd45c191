"""POST /rank: a query and candidates in, ids in order out; vectors looked up, not computed."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
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
from mmrank.server.rank_options import RankOptions
from mmrank.server.rank_request import (
    RankInputs,
    RankRequest,
    read_inputs,
    read_request,
    write_reply,
)
from mmrank.server.rest import INLINE_BYTES
from mmrank.server.servable import Servable
from mmrank.serving.card import CARD, read_card
from mmrank.serving.embeddings.opened import EmbeddingStores
from mmrank.serving.embeddings.options import EmbeddingOptions
from mmrank.serving.request import Arrays, RankError
from mmrank.serving.staged import StagedList, StagedRanker

NEEDED = ("lookup_items", "encode_items", "rank_embeddings")
# Of the request that a thread of the pool works on.
_deadline: contextvars.ContextVar[float] = contextvars.ContextVar("deadline")
T = TypeVar("T")
logger = logging.getLogger(__name__)


class RankEndpoint:
    """The endpoint over one model.

    Args:
      service: The model; every version that it loads is taken up.
      embeddings: Where item vectors come from.
      options: See there.
      limits: What a request may ask for.
      pseudonym: What the ranker knows a user id as; the id itself unless told otherwise.
      observe: Told the version, and what each request said of its features; None for nobody.
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
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool = concurrent.futures.ThreadPoolExecutor(options.threads, "rank")
        service.on_load(self._take_up)
        service.on_unload(self._let_go)

    def route(self) -> Route:
        """The route to be given to `build_app`."""
        return Route("/rank", self.handle, methods=["POST"])

    def close(self) -> None:
        """Ends threads and connections, after the last request."""
        self._pool.shutdown(wait=True)
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
                RESOURCE_EXHAUSTED, f"{self._busy} requests are worked on or wait; try again later"
            )
        self._busy += 1
        try:
            asked = await self._apart(len(body), self._read, body)
            with self._service.hold(asked.version, asked.label) as servable:
                deadline = started + self._service.timeout
                ranker = self._ranker(servable)
                given = await self._apart(len(body), read_inputs, ranker.card, asked)
                await self._decode(given.files(ranker.card), deadline)
                reply, ranked = await self._apart(
                    None, self._rank, servable, asked, given, deadline
                )
            # The reply does not wait for it, and the next request's finds it done.
            asyncio.get_running_loop().call_soon(self._count, ranked, servable.number)
            return servable.number, reply
        finally:
            self._busy -= 1

    async def _apart(self, size: int | None, function: Callable[..., T], *arguments: Any) -> T:
        """The function's result, from a thread of the pool unless a body is small."""
        if size is not None and size <= INLINE_BYTES:
            return function(*arguments)
        self._loop = asyncio.get_running_loop()
        # With what log and audit know of the request.
        context = contextvars.copy_context()
        return await self._loop.run_in_executor(self._pool, context.run, function, *arguments)

    def _read(self, body: bytes) -> RankRequest:
        return read_request(parse_object(body), self._most, self._options.explained)

    def _ranker(self, servable: Servable) -> StagedRanker:
        ranker = self._rankers.get(servable)
        if ranker is None:
            raise ServingError(
                FAILED_PRECONDITION,
                f"version {servable.number} lacks what /rank needs: {', '.join(NEEDED)} and a card "
                "of mmrank's; export the run anew",
            )
        return ranker

    async def _decode(
        self, files: Sequence[tuple[dict[str, Any], str, SentFile]], deadline: float
    ) -> None:
        """Puts what the graph takes in place of each file."""
        if not files:
            return
        # Meanwhile others are worked on: here the pool of processes has a bound of its own.
        self._busy -= 1
        try:
            made = await self._decoding.taken([file for _, _, file in files], deadline)
        finally:
            self._busy += 1
        for (row, name, _), data in zip(files, made, strict=True):
            row[name] = data

    def _rank(
        self, servable: Servable, asked: RankRequest, given: RankInputs, deadline: float
    ) -> tuple[bytes, StagedList]:
        """The reply and what it tells of; runs on a thread of the pool."""
        ranker = self._rankers[servable]
        _deadline.set(deadline)
        try:
            user = self._told(servable, asked, given.query, given.user)
            ranked = ranker.rank(given.query, given.candidates, user, asked.history, asked.explain)
        except RankError as error:
            raise ServingError(INVALID_ARGUMENT, str(error)) from error
        return write_reply(ranker.card, self._service.name, servable.number, ranked), ranked

    def _told(
        self,
        servable: Servable,
        asked: RankRequest,
        query: Mapping[str, Any],
        user: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The shopper's features with the id as the ranker knows it; the audit log is told."""
        columns = self._rankers[servable].card.inputs.columns
        # As the graph will read them: 7.0 is the id 7, and blank is no id.
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

    def _take_up(self, servable: Servable) -> None:
        """Makes the ranker of a version that was loaded; runs on the loader's thread."""
        if any(name not in servable.signatures for name in NEEDED):
            logger.warning("version %d has no %s: no /rank", servable.number, ", ".join(NEEDED))
            return
        try:
            card = read_card(servable.folder)
        except RankError as error:
            logger.warning("version %d: no /rank: %s", servable.number, error)
            return

        def call(signature: str, arrays: dict[str, Any]) -> Any:
            deadline = _deadline.get(None)
            if deadline is None:  # while the version is being taken up
                return servable.run(signature, arrays)
            assert self._loop is not None
            run = self._service.run_on(
                servable, signature, arrays, deadline=deadline, observed=False
            )
            return asyncio.run_coroutine_threadsafe(run, self._loop).result()

        schema = load_schema(servable.folder / CARD.parent, data=False)
        ids = {f.name for f in schema.side("user") if f.column == schema.lists.user}
        # A version that fails here is refused, and nobody lets go of what is kept of it.
        self._rankers[servable] = StagedRanker.over(card, call, self._stores)
        self._ids[servable] = ids
        if any(column.media for column in card.inputs.columns.values()):
            self._decoding.prepare()

    def _let_go(self, servable: Servable) -> None:
        self._rankers.pop(servable, None)
        self._ids.pop(servable, None)
