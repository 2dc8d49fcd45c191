"""Models served in this process: a toy with known answers, and the small exported ranker."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import shutil
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any

import grpc
import httpx
import pytest
import tensorflow as tf
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from mmrank.config import from_mapping
from mmrank.server.config import ServerConfig
from mmrank.server.run import Server

PATIENCE = 240.0  # seconds, so that a hung server fails a test instead of blocking it


class Toy(tf.Module):
    """y = factor · x + number of the text's bytes; the text is the second output."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = tf.Variable(factor)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.float32, "x"),
            tf.TensorSpec([None], tf.string, "text"),
        ]
    )
    def both(self, x: tf.Tensor, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """A signature of two inputs and two outputs."""
        length = tf.cast(tf.strings.length(text), tf.float32)[:, None]
        return {"y": self.factor * x + length, "text_bytes": text}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def root(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """A signature of one input and one output; it refuses numbers below 0."""
        check = tf.debugging.assert_non_negative(x, message="x is below 0")
        with tf.control_dependencies([check]):
            return {"y": tf.sqrt(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "n")])
    def spin(self, n: tf.Tensor) -> dict[str, tf.Tensor]:
        """A slow signature: it counts to n."""
        (count,) = tf.while_loop(lambda i: i < tf.reduce_max(n), lambda i: (i + 1,), [0])
        return {"count": tf.fill(tf.shape(n), count)}


def save_toy(folder: pathlib.Path, factor: float = 2.0) -> pathlib.Path:
    """Writes a version of the toy to a numbered folder, and returns the folder."""
    toy = Toy(factor)
    signatures = {"serving_default": toy.both, "root": toy.root, "spin": toy.spin}
    tf.saved_model.save(toy, str(folder), signatures=signatures)
    return folder


class Running:
    """A server on an event loop of its own, in a thread of this process.

    Attributes:
      server: The server itself.
      http: A client of its REST API.
      channel: A channel to its gRPC port.
    """

    def __init__(self, config: ServerConfig):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._open = False
        try:
            self.server = self.call(_made(config))
            self.call(self.server.start())
        except BaseException:
            self._end()
            raise
        self._open = True
        self.address = f"127.0.0.1:{self.server.rest_port}"
        self.grpc_address = f"127.0.0.1:{self.server.grpc_port}"
        self.http = httpx.Client(base_url=f"http://{self.address}", timeout=PATIENCE)
        self.channel = grpc.insecure_channel(self.grpc_address)

    @property
    def predictions(self) -> prediction_service_pb2_grpc.PredictionServiceStub:
        return prediction_service_pb2_grpc.PredictionServiceStub(self.channel)

    @property
    def models(self) -> model_service_pb2_grpc.ModelServiceStub:
        return model_service_pb2_grpc.ModelServiceStub(self.channel)

    def call(self, job: Coroutine[Any, Any, Any]) -> Any:
        """Returns the result of a coroutine that runs on the server's loop."""
        return self.begin(job).result(PATIENCE)

    def begin(self, job: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Starts a coroutine on the server's loop and returns its future."""
        return asyncio.run_coroutine_threadsafe(job, self._loop)

    def stop(self) -> None:
        """Shuts the server down as SIGTERM does."""
        if self._open:
            self._open = False
            self.http.close()
            self.channel.close()
            try:
                self.call(self.server.stop())
            finally:
                self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


async def _made(config: ServerConfig) -> Server:
    return Server(config)


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The folder of a toy of factor 2; tests copy it and never serve it."""
    return save_toy(tmp_path_factory.mktemp("toy") / "1")


@pytest.fixture(scope="session")
def other_toy_folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The folder of a toy of factor 3."""
    return save_toy(tmp_path_factory.mktemp("toy") / "2", 3.0)


@pytest.fixture(scope="module")
def toy(
    toy_folder: pathlib.Path, tmp_path_factory: pytest.TempPathFactory, serve_for_module: Serve
) -> Running:
    """The toy of factor 2 as version 5, served to all tests of a file, which must not change it."""
    base = tmp_path_factory.mktemp("served")
    shutil.copytree(toy_folder, base / "5")
    return serve_for_module(base, model={"labels": {"stable": 5}})


Serve = Callable[..., Running]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server for a folder; further arguments are sections of its config."""
    with _servers() as start:
        yield start


@pytest.fixture(scope="module")
def serve_for_module() -> Iterator[Serve]:
    """Starts servers that all tests of a file share."""
    with _servers() as start:
        yield start


@contextlib.contextmanager
def _servers() -> Iterator[Serve]:
    started: list[Running] = []

    def start(folder: pathlib.Path, **sections: dict[str, Any]) -> Running:
        running = Running(server_config(folder, **sections))
        started.append(running)
        return running

    try:
        yield start
    finally:
        for running in started:
            running.stop()


def server_config(folder: pathlib.Path, **sections: dict[str, Any]) -> ServerConfig:
    """The config of a server for a folder, on free ports."""
    sections["model"] = {"path": str(folder), "poll_seconds": 0.0} | sections.get("model", {})
    free = {"rest_port": 0, "grpc_port": 0, "timeout_seconds": PATIENCE}
    sections["listen"] = free | sections.get("listen", {})
    return from_mapping(ServerConfig, sections, "test")


@pytest.fixture(scope="module")
def running(exported: pathlib.Path, serve_for_module: Serve) -> Running:
    """The small ranker, served over REST and gRPC."""
    # Without warm-up, a signature's graph is prepared only if a test uses the signature.
    return serve_for_module(exported.parent, model={"warm_up": False})
