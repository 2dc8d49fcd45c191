"""Where work runs: small work on the event loop, larger on threads, large one after another."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time

import pytest

from mmrank.server.off_loop import INLINE_BYTES, LARGE_BYTES, on_thread, run_inline_or_in_thread

name: contextvars.ContextVar[str] = contextvars.ContextVar("name")


def thread_of(size: int) -> threading.Thread:
    return asyncio.run(run_inline_or_in_thread(size, threading.current_thread))


def test_small_work_runs_on_the_loop() -> None:
    assert thread_of(INLINE_BYTES) is threading.current_thread()
    assert thread_of(INLINE_BYTES + 1) is not threading.current_thread()


def test_large_work_shares_one_thread() -> None:
    first = thread_of(LARGE_BYTES + 1)
    assert first is thread_of(LARGE_BYTES + 1)
    assert first is not thread_of(LARGE_BYTES)


def test_large_work_is_done_one_after_another() -> None:
    running: list[bool] = []

    def work() -> None:
        running.append(True)
        assert len(running) == 1
        time.sleep(0.01)
        running.pop()

    async def go() -> None:
        await asyncio.gather(*(on_thread(LARGE_BYTES + 1, work) for _ in range(5)))

    asyncio.run(go())


def test_small_work_does_not_wait_for_large() -> None:
    free = threading.Event()

    async def go() -> None:
        large = asyncio.ensure_future(on_thread(LARGE_BYTES + 1, free.wait, 20))
        await asyncio.wait_for(on_thread(LARGE_BYTES, free.set), 10)
        assert await large

    asyncio.run(go())


@pytest.mark.parametrize("size", [0, INLINE_BYTES + 1, LARGE_BYTES + 1])
def test_context_arguments_and_errors(size: int) -> None:
    def work(more: str) -> str:
        if not more:
            raise ValueError("nothing")
        return name.get() + more

    async def go() -> str:
        name.set("a")
        with pytest.raises(ValueError, match="nothing"):
            await run_inline_or_in_thread(size, work, "")
        return await run_inline_or_in_thread(size, work, "b")

    assert asyncio.run(go()) == "ab"
