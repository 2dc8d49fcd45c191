"""Combines requests of the same shape into batches, and bounds how many may wait.

By default, a request runs at once while a thread is free. Requests that arrive while all threads
are busy are combined. An idle server thus adds no delay, and a busy one runs fewer, larger batches.
Only requests whose tensors agree in all but the first dimension share a batch: the server does not
pad requests.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import math
import time
from collections import deque
from collections.abc import Sequence

import numpy as np

from mmrank.server.batching_parameters import Batching
from mmrank.server.errors import (
    CANCELLED,
    DEADLINE_EXCEEDED,
    INTERNAL,
    INVALID_ARGUMENT,
    RESOURCE_EXHAUSTED,
    TOO_LATE,
    ServingError,
)
from mmrank.server.monitor.metrics import Metrics
from mmrank.server.servable import Servable
from mmrank.server.signature import Tensors

Outputs = dict[str, np.ndarray]


Key = tuple[Servable, str, tuple[str, ...], tuple[tuple[str, tuple[int, ...]], ...] | int]


@dataclasses.dataclass
class _Task:
    tensors: Tensors
    rows: int
    future: asyncio.Future[Outputs]
    arrived: float
    deadline: float | None


class Batcher:
    """Runs requests in batches on its own threads; to be used from one event loop.

    Args:
      parameters: See `Batching`.
      metrics: Receives the number of waiting requests, and the duration of every run.
      model: The model's name in the metrics.
    """

    def __init__(self, parameters: Batching, metrics: Metrics, model: str):
        self.parameters = parameters
        self._metrics, self._model = metrics, model
        self._queues: dict[Key, deque[_Task]] = {}
        self._free = parameters.threads
        self._waiting = 0
        self._alone = 0
        self._running: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._pool = concurrent.futures.ThreadPoolExecutor(parameters.threads, "batch")

    async def run(
        self,
        servable: Servable,
        signature: str,
        tensors: Tensors,
        outputs: Sequence[str] = (),
        deadline: float | None = None,
    ) -> Outputs:
        """Returns the outputs of one request, which runs alone or in a batch with others.

        Args:
          servable: The version; the caller keeps it loaded.
          signature: Name of the signature.
          tensors: Its inputs, not yet checked.
          outputs: Names of the wanted outputs; all outputs if empty.
          deadline: When the request times out, on the clock of `time.monotonic()`, in seconds.

        Raises:
          ServingError: The inputs are wrong, too many requests wait, or the deadline passed.
        """
        given = servable.signature(signature)
        given.select(outputs)
        rows = given.check(tensors)
        if rows == 0:
            raise ServingError(INVALID_ARGUMENT, "the request has no rows; send at least one")
        shapes: tuple[tuple[str, tuple[int, ...]], ...] | int
        if rows is None or rows >= self.parameters.max_batch_size:
            self._alone += 1
            shapes = self._alone  # a unique key, so that no other request joins
        else:
            shapes = tuple((n, tensors[n].shape[1:]) for n in given.inputs)
        key = (servable, given.name, tuple(outputs), shapes)
        self._refuse_if_full(key, rows or 1)
        now = time.monotonic()
        future: asyncio.Future[Outputs] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(key, deque()).append(
            _Task(tensors, rows or 1, future, now, deadline)
        )
        self._waiting += 1
        servable.users += 1
        self._start_due_batches()
        try:
            return await asyncio.wait_for(future, None if deadline is None else deadline - now)
        except asyncio.TimeoutError:
            raise ServingError(DEADLINE_EXCEEDED, TOO_LATE) from None

    async def close(self) -> None:
        """Waits for running batches. Requests that still wait fail with CANCELLED."""
        for tasks in self._queues.values():
            for task in tasks:
                if not task.future.done():
                    task.future.set_exception(
                        ServingError(CANCELLED, "the server is shutting down")
                    )
        self._start_due_batches()
        while self._running:
            await asyncio.wait(set(self._running))
        self._pool.shutdown(wait=True)

    def _refuse_if_full(self, key: Key, rows: int) -> None:
        most = self.parameters.max_enqueued_batches
        if self._free or self._waiting < most:
            return
        self._drop_finished()
        size = self.parameters.max_batch_size
        waiting = {k: sum(t.rows for t in q) for k, q in self._queues.items()}
        waiting[key] = waiting.get(key, 0) + rows
        if sum(math.ceil(count / size) for count in waiting.values()) > most:
            raise ServingError(
                RESOURCE_EXHAUSTED,
                f"the batch scheduling queue is full: {most} batches wait; try again later",
            )

    def _start_due_batches(self) -> None:
        """Starts batches as long as a thread is free and a batch is due."""
        while self._free:
            due = self._next()
            if due is None:
                break
            key, tasks = due
            self._free -= 1
            running = asyncio.get_running_loop().create_task(self._execute(key, tasks))
            self._running.add(running)
            running.add_done_callback(self._running.discard)
        self._metrics.queue(self._waiting)

    def _next(self) -> tuple[Key, list[_Task]] | None:
        """Returns the due batch that has waited longest; None if no batch is due."""
        self._drop_finished()
        now, wait = time.monotonic(), self.parameters.batch_timeout_micros * 1e-6
        size = self.parameters.max_batch_size
        for key, tasks in sorted(self._queues.items(), key=lambda item: item[1][0].arrived):
            alone = isinstance(key[3], int)
            if alone or sum(t.rows for t in tasks) >= size or now >= tasks[0].arrived + wait:
                return key, self._take(key)
        if self._queues and self._timer is None:
            first = min(tasks[0].arrived for tasks in self._queues.values())
            self._timer = asyncio.get_running_loop().call_later(
                max(0.0, first + wait - now), self._on_timer
            )
        return None

    def _on_timer(self) -> None:
        self._timer = None
        self._start_due_batches()

    def _take(self, key: Key) -> list[_Task]:
        queue = self._queues[key]
        tasks = [queue.popleft()]
        rows = tasks[0].rows
        while queue and rows + queue[0].rows <= self.parameters.max_batch_size:
            rows += queue[0].rows
            tasks.append(queue.popleft())
        if not queue:
            del self._queues[key]
        self._waiting -= len(tasks)
        return tasks

    def _drop_finished(self) -> None:
        """Removes the requests whose clients no longer wait."""
        for key in list(self._queues):
            there = self._queues[key]
            kept = deque(t for t in there if not t.future.done())
            key[0].users -= len(there) - len(kept)
            self._waiting -= len(there) - len(kept)
            if kept:
                self._queues[key] = kept
            else:
                del self._queues[key]

    async def _execute(self, key: Key, tasks: list[_Task]) -> None:
        loop = asyncio.get_running_loop()
        results: Sequence[Outputs | Exception]
        try:
            results = await loop.run_in_executor(self._pool, self._call, key, tasks)
        except Exception as error:  # noqa: BLE001 - clients wait for a reply in any case
            results = [error] * len(tasks)
        key[0].users -= len(tasks)
        self._free += 1
        for task, result in zip(tasks, results, strict=True):
            if task.future.done():
                continue
            if isinstance(result, Exception):
                task.future.set_exception(result)
            else:
                task.future.set_result(result)
        self._start_due_batches()

    def _call(self, key: Key, tasks: list[_Task]) -> Sequence[Outputs | Exception]:
        """Returns the outputs or the error of each task; runs on a thread of the pool."""
        servable, signature, outputs, _ = key
        started = time.monotonic()
        deadlines = [t.deadline for t in tasks]
        timeout = None if None in deadlines else max(d for d in deadlines if d) - started
        try:
            if isinstance(key[3], int) or not (tasks[1:] or self.parameters.allowed_batch_sizes):
                return [servable.run(signature, tasks[0].tensors, timeout, outputs)]
            joined = join([t.tensors for t in tasks], self._filled(tasks))
            return split(servable.run(signature, joined, timeout, outputs), [t.rows for t in tasks])
        except ServingError as error:
            if len(tasks) == 1:
                return [error]
            # Each request runs again alone, so that one client's error does not fail the others.
            return [self._call(key, [task])[0] for task in tasks]
        finally:
            self._metrics.runtime(self._model, "Predict", time.monotonic() - started)

    def _filled(self, tasks: list[_Task]) -> int:
        rows = sum(t.rows for t in tasks)
        return next((s for s in self.parameters.allowed_batch_sizes if s >= rows), rows)


def join(requests: Sequence[Tensors], rows: int) -> Outputs:
    """Returns the requests' tensors joined by rows, filled up to `rows` with the first row."""
    joined = {}
    for name, first in requests[0].items():
        parts = [r[name] for r in requests]
        missing = rows - sum(map(len, parts))
        if missing > 0:
            parts.append(np.repeat(first[:1], missing, axis=0))
        joined[name] = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return joined


def split(outputs: Outputs, rows: Sequence[int]) -> list[Outputs]:
    """Returns each request's part of a batch's outputs.

    Raises:
      ServingError: An output has fewer rows than the batch.
    """
    ends = np.cumsum(rows)
    for name, value in outputs.items():
        if value.ndim == 0 or len(value) < ends[-1]:
            raise ServingError(INTERNAL, f"output {name} cannot be split by the batch's rows")
    return [
        {n: v[end - count : end] for n, v in outputs.items()}
        for end, count in zip(ends, rows, strict=True)
    ]
