"""Which requests share a run, wait or are refused, on a model that waits for the test."""

from __future__ import annotations

import asyncio
import pathlib
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.server.batching import Batcher
from mmrank.server.batching_parameters import Batching, check_batching, read_batching
from mmrank.server.errors import ServingError
from mmrank.server.monitor.metrics import Metrics
from mmrank.server.signature import Signature, TensorInfo

X = {"x": TensorInfo("x:0", tf.float32, (None, None))}
DOUBLE = Signature("double", "tensorflow/serving/predict", X, {"y": X["x"]})


class Doubler:
    """A model y = 2 x that runs when the test allows it, and records its batches."""

    def __init__(self) -> None:
        self.number, self.users = 1, 0
        self.batches: list[list[list[float]]] = []
        self.gate, self.began = threading.Event(), threading.Event()

    def signature(self, name: str) -> Signature:
        return DOUBLE

    def run(
        self, signature: str, tensors: Any, timeout: float | None, outputs: Any
    ) -> dict[str, np.ndarray]:
        self.batches.append(tensors["x"].tolist())
        self.began.set()
        if not self.gate.wait(20.0 if timeout is None else timeout):
            raise ServingError("DEADLINE_EXCEEDED", "timed out")
        if (tensors["x"] < 0).any():
            raise ServingError("INVALID_ARGUMENT", "x is below 0")
        return {"y": 2 * tensors["x"]}


def x(*rows: list[float]) -> dict[str, np.ndarray]:
    return {"x": np.array(rows, np.float32)}


def played(scene: Callable[[Batcher, Doubler], Coroutine[Any, Any, None]], **given: Any) -> Doubler:
    """Returns the model after a scene on a batcher with one thread."""
    model = Doubler()

    async def play() -> None:
        batcher = Batcher(Batching(num_batch_threads=1, **given), Metrics(), "m")
        try:
            await asyncio.wait_for(scene(batcher, model), 20)
        finally:
            model.gate.set()
            await batcher.close()

    asyncio.run(play())
    assert model.users == 0
    return model


async def busy(batcher: Batcher, model: Doubler) -> asyncio.Task[Any]:
    """Starts a request that occupies the only thread."""
    first = asyncio.ensure_future(batcher.run(model, "double", x([1])))
    await asyncio.to_thread(model.began.wait, 5)
    return first


def test_waiting_requests_run_together_and_get_their_own_rows() -> None:
    async def scene(batcher: Batcher, model: Doubler) -> None:
        first = await busy(batcher, model)
        waiting = [
            asyncio.ensure_future(batcher.run(model, "double", t))
            for t in (x([2], [3]), x([4, 5]), x([6]))
        ]
        await asyncio.sleep(0)
        model.gate.set()
        assert (await first)["y"].tolist() == [[2]]
        answers = [(await w)["y"].tolist() for w in waiting]
        assert answers == [[[4], [6]], [[8, 10]], [[12]]]

    # Lists of another width are not padded but get a batch of their own.
    assert played(scene).batches == [[[1]], [[2], [3], [6]], [[4, 5]]]


def test_a_batch_is_padded_to_an_allowed_size() -> None:
    async def scene(batcher: Batcher, model: Doubler) -> None:
        model.gate.set()
        answer = await batcher.run(model, "double", x([1], [2], [3]))
        assert answer["y"].tolist() == [[2], [4], [6]]

    model = played(scene, max_batch_size=8, allowed_batch_sizes=(2, 4, 8))
    assert model.batches == [[[1], [2], [3], [1]]]


def test_no_batch_exceeds_max_batch_size() -> None:
    async def scene(batcher: Batcher, model: Doubler) -> None:
        first = await busy(batcher, model)
        rows = [x([2]), x([3], [4]), x([5]), x([6], [7], [8])]
        waiting = [asyncio.ensure_future(batcher.run(model, "double", t)) for t in rows]
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(first, *waiting)

    # Two fill a batch, and three are too many for one, so both run separately.
    batches = played(scene, max_batch_size=2).batches
    assert sorted(batches) == [[[1]], [[2], [5]], [[3], [4]], [[6], [7], [8]]]


def test_a_wrong_request_does_not_fail_the_others() -> None:
    async def scene(batcher: Batcher, model: Doubler) -> None:
        first = await busy(batcher, model)
        waiting = [asyncio.ensure_future(batcher.run(model, "double", x([v]))) for v in (2, -3, 4)]
        await asyncio.sleep(0)
        model.gate.set()
        await first
        right, wrong, after = await asyncio.gather(*waiting, return_exceptions=True)
        assert right["y"].tolist() == [[4]]
        assert after["y"].tolist() == [[8]]
        assert isinstance(wrong, ServingError)
        assert wrong.code == "INVALID_ARGUMENT"

    played(scene)


def test_requests_are_refused_while_the_queue_is_full() -> None:
    async def scene(batcher: Batcher, model: Doubler) -> None:
        first = await busy(batcher, model)
        # Two batches of two may wait: four rows of this width.
        waiting = [asyncio.ensure_future(batcher.run(model, "double", x([v]))) for v in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(ServingError, match="queue is full") as refused:
            await batcher.run(model, "double", x([9]))
        assert refused.value.code == "RESOURCE_EXHAUSTED"
        assert refused.value.http_status == 429
        model.gate.set()
        await asyncio.gather(first, *waiting)
        assert (await batcher.run(model, "double", x([9])))["y"].tolist() == [[18]]

    played(scene, max_batch_size=2, max_enqueued_batches=2)


def test_a_request_past_its_deadline_is_refused_and_never_run() -> None:
    async def scene(batcher: Batcher, model: Doubler) -> None:
        first = await busy(batcher, model)
        with pytest.raises(ServingError, match="deadline") as late:
            await batcher.run(model, "double", x([7]), deadline=time.monotonic() + 0.05)
        assert late.value.http_status == 504
        model.gate.set()
        await first

    assert played(scene).batches == [[[1]]]


def test_requests_past_their_deadline_leave_the_queue() -> None:
    async def scene(batcher: Batcher, model: Doubler) -> None:
        first = await busy(batcher, model)
        for _ in range(3):  # if an earlier request stayed, the next would exceed the queue
            with pytest.raises(ServingError, match="deadline"):
                await batcher.run(model, "double", x([7]), deadline=time.monotonic() + 0.01)
        model.gate.set()
        await first

    played(scene, max_batch_size=1, max_enqueued_batches=1)


def test_a_run_is_limited_to_the_remaining_time() -> None:
    async def scene(batcher: Batcher, model: Doubler) -> None:
        with pytest.raises(ServingError) as late:
            await batcher.run(model, "double", x([7]), deadline=time.monotonic() + 0.1)
        assert late.value.code == "DEADLINE_EXCEEDED"
        # The thread is free again, since the run had a time limit too.
        model.gate.set()
        await batcher.run(model, "double", x([1]))

    played(scene)


def test_a_partial_batch_waits_for_the_timeout() -> None:
    async def scene(batcher: Batcher, model: Doubler) -> None:
        model.gate.set()
        both = [batcher.run(model, "double", x([v])) for v in (1, 2)]
        await asyncio.gather(*both)

    assert played(scene, batch_timeout_micros=50_000).batches == [[[1], [2]]]
    assert played(scene).batches == [[[1]], [[2]]]


def test_reads_the_parameters_of_tensorflow_serving(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "batching.txt"
    file.write_text(
        "max_batch_size { value: 8 }  # rows\nnum_batch_threads { value: 3 }\n"
        "thread_pool_name { value: 'pool' }\nallowed_batch_sizes: 4\nallowed_batch_sizes: 8\n"
    )
    read = read_batching(file, Batching(max_enqueued_batches=5))
    assert read == Batching(
        max_batch_size=8, num_batch_threads=3, allowed_batch_sizes=(4, 8), max_enqueued_batches=5
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_batch_sise { value: 8 }", "max_batch_sise"),
        ("max_batch_size { value: 8 }\nallowed_batch_sizes: 4", "end with max_batch_size, 8"),
        ("pad_variable_length_inputs: true", "turns padding into candidates"),
        ("max_batch_size { value: 0 }", "at least 1"),
    ],
)
def test_wrong_files(tmp_path: pathlib.Path, text: str, said: str) -> None:
    file = tmp_path / "batching.txt"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_batching(file, Batching())
    with pytest.raises(ConfigError, match="missing.txt"):
        read_batching(tmp_path / "missing.txt", Batching())


def test_wrong_parameters() -> None:
    with pytest.raises(ConfigError, match="max_enqueued_batches is -1"):
        check_batching(Batching(max_enqueued_batches=-1), "batching")
