"""Decodes the files of requests in a few processes: the cheapest first, each with a time limit."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import heapq
import itertools
import logging
import threading
import time
from collections.abc import Sequence

from mmrank.data.kinds.media import MediaLimits
from mmrank.server.decoding.frames import Ended, Late
from mmrank.server.decoding.process import DecodingProcess
from mmrank.server.errors import (
    DEADLINE_EXCEEDED,
    INVALID_ARGUMENT,
    RESOURCE_EXHAUSTED,
    TOO_LATE,
    ServingError,
)
from mmrank.server.guard.budget import Budget
from mmrank.server.guard.options import Limits
from mmrank.server.guard.payload import take_image
from mmrank.server.rank_options import RankOptions
from mmrank.serving.files import FileForm, FileProblem, TakenFile

# Pixels per byte by which the cost of a clip or a recording is estimated, before it is read.
PIXELS_A_BYTE = 100
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class SentFile:
    """A file of a request.

    Attributes:
      where: Names the file at the beginning of error messages, such as "candidate 3: photo".
      data: Its bytes.
      form: The form in which the graph takes the file.
    """

    where: str
    data: bytes
    form: FileForm


class DecodingPool:
    """Decodes the files in requests; to be used from one event loop.

    Args:
      options: The number of processes, how many requests may wait for one, and the time and memory
        that decoding may take.
      limits: The largest files that are accepted.
    """

    def __init__(self, options: RankOptions, limits: Limits):
        self._options, self._limits = options, limits
        names = (field.name for field in dataclasses.fields(MediaLimits))
        bounds = MediaLimits(**{name: getattr(limits, name) for name in names})
        self._processes = [
            DecodingProcess(bounds, limits.request_bytes, options.decoder_megabytes)
            for _ in range(options.decoders)
        ]
        self._free = list(self._processes)
        self._waiting: list[tuple[int, int, asyncio.Future[DecodingProcess]]] = []
        self._numbers = itertools.count()
        self._renewing: set[asyncio.Task[None]] = set()
        self._starting, self._prepared = threading.Lock(), False
        self._threads = concurrent.futures.ThreadPoolExecutor(options.decoders, "decoding")

    def prepare(self) -> None:
        """Starts the processes unless this was done before, so that no request waits for it.

        May be called on any thread.
        """
        with self._starting:
            if not self._prepared:
                self._prepared = True
                for future in [self._threads.submit(p.start) for p in self._processes]:
                    try:
                        future.result()
                    except (Ended, Late, OSError) as error:
                        logger.error("a decoding process cannot be started: %r", error)

    async def taken(self, files: Sequence[SentFile], deadline: float) -> list[TakenFile]:
        """Returns the files of one request in the form that the graph takes.

        Args:
          files: The files.
          deadline: The request's deadline, on the clock of `time.monotonic()`, in seconds.

        Raises:
          ServingError: A file cannot be used, exceeds the limits by its header, or takes too long
            to decode; or too many requests wait.
        """
        cost = await asyncio.to_thread(self._cost, files)
        process = await self._acquire(cost, deadline)
        work = asyncio.get_running_loop().run_in_executor(
            self._threads, self._work, process, files, deadline
        )
        # If the client cancels, the work goes on: the process is not free until its work ends.
        work.add_done_callback(lambda _: self._done(process))
        return await asyncio.shield(work)

    def close(self) -> None:
        """Ends the processes; to be called after the last request."""
        self._threads.shutdown(wait=True)
        for process in self._processes:
            process.stop()

    def _cost(self, files: Sequence[SentFile]) -> int:
        """Returns the files' estimated number of pixels, and checks them against the limits."""
        budget, cost = Budget(self._limits), 0
        for file in files:
            budget.take("files", 1)
            if file.form.media.picture:
                cost += take_image(file.data, self._limits, budget)
            else:
                cost += len(file.data) * PIXELS_A_BYTE
        return cost

    async def _acquire(self, cost: int, deadline: float) -> DecodingProcess:
        if self._free:
            return self._free.pop()
        self._waiting = [w for w in self._waiting if not w[2].done()]
        heapq.heapify(self._waiting)
        if len(self._waiting) >= self._options.decoding_waiting:
            raise ServingError(
                RESOURCE_EXHAUSTED,
                f"{len(self._waiting)} requests with files are already waiting; try again later",
            )
        future: asyncio.Future[DecodingProcess] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (cost, next(self._numbers), future))
        try:
            return await asyncio.wait_for(future, deadline - time.monotonic())
        except asyncio.TimeoutError:
            raise ServingError(DEADLINE_EXCEEDED, TOO_LATE) from None
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._release(future.result())
            raise

    def _done(self, process: DecodingProcess) -> None:
        if process.running:
            self._release(process)
        else:
            task = asyncio.get_running_loop().create_task(self._renew(process))
            self._renewing.add(task)
            task.add_done_callback(self._renewing.discard)

    def _release(self, process: DecodingProcess) -> None:
        while self._waiting:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_result(process)
                return
        self._free.append(process)

    def _work(
        self, process: DecodingProcess, files: Sequence[SentFile], deadline: float
    ) -> list[TakenFile]:
        """Returns the decoded files; runs on a thread."""
        own = time.monotonic() + self._options.decoding_seconds
        made = []
        for file in files:
            try:
                made.append(process.taken(file.data, file.form, min(own, deadline)))
            except FileProblem as error:
                raise ServingError(
                    INVALID_ARGUMENT,
                    f"{file.where}: {error}; give another file, or leave it out",
                ) from None
            except Late:
                logger.warning("a decoding process took too long and was ended")
                if deadline < own:
                    raise ServingError(DEADLINE_EXCEEDED, TOO_LATE) from None
                raise ServingError(
                    INVALID_ARGUMENT,
                    f"{file.where}: the files take more than {self._options.decoding_seconds:g} s "
                    "to decode; send fewer or smaller ones",
                ) from None
        return made

    async def _renew(self, process: DecodingProcess) -> None:
        """Restarts a process that was ended, then marks it as free."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._threads, process.start)
        except (Ended, Late, OSError, RuntimeError) as error:  # RuntimeError: the server ends
            logger.error("a decoding process cannot be started: %r", error)
        self._release(process)
