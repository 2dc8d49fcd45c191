"""Runs work off the event loop, so that small requests do not wait for large ones.

A thread that runs Python code can make the event loop wait for one step of that code. If several
threads do, the loop can wait for a step of each. Large pieces of work therefore run one after
another on a single thread, which takes no longer: Python runs on one thread at a time anyway.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
# Work on at most this many bytes takes less than a thread's switch, and runs on the event loop.
INLINE_BYTES = 1 << 15
# Work on more bytes runs on the thread of large pieces.
LARGE_BYTES = 1 << 20
# One for the process, as Python's lock is.
_large = concurrent.futures.ThreadPoolExecutor(1, "large")


async def run_inline_or_in_thread(size: int, function: Callable[..., T], *arguments: Any) -> T:
    """Returns the function's result; runs it on a thread if `size` (bytes) is not small."""
    if size <= INLINE_BYTES:
        return function(*arguments)
    return await on_thread(size, function, *arguments)


async def on_thread(size: int, function: Callable[..., T], *arguments: Any) -> T:
    """Returns the function's result; runs it on a thread whatever `size` (bytes) is."""
    return await in_pool(None if size <= LARGE_BYTES else _large, function, *arguments)


async def in_pool(
    pool: concurrent.futures.Executor | None, function: Callable[..., T], *arguments: Any
) -> T:
    """Returns the function's result; runs it on a pool's thread, by default the event loop's pool.

    The function runs in a copy of the caller's context, which carries the request's id for the log
    and its facts for the audit log.
    """
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(pool, context.run, function, *arguments)
