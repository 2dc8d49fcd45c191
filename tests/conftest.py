"""Fixtures that many tests share."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # has to stand before TensorFlow is imported

import pytest

from mmrank.config import Config, from_mapping

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder with the real datasets; tests that need it are skipped without it."""
    folder = pathlib.Path(os.environ.get("MMRANK_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set MMRANK_SHARED_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def tiny_shop(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A simulated shop of 60 items, 40 queries and 10 users, to be read and never written to."""
    from mmrank.data.simulator import simulate

    folder = tmp_path_factory.mktemp("shop") / "tiny"
    simulate(folder, items=60, queries=40, users=10, seed=1)
    return folder


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    """A config of a few thousand weights in which every kind of feature has its place."""
    return from_mapping(
        Config,
        {
            "seed": 3,
            "data": {"buckets": [8, 16, 32], "cache": None},
            "model": {
                "width": 16,
                "encoders": {
                    "text": {
                        "layers": 1,
                        "heads": 2,
                        "hidden": 16,
                        "intermediate": 16,
                        "max_tokens": 8,
                        "vocabulary_size": 300,
                    },
                    "image": {
                        "height": 32,
                        "width": 32,
                        "network": "EfficientNet",
                        "width_coefficient": 0.1,
                        "depth_coefficient": 0.1,
                    },
                    "history": {"length": 6, "heads": 2},
                },
                "head": {"hidden": [16], "attention_layers": 1, "attention_width": 8},
            },
            "training": {"batch_lists": 4, "epochs": 3, "learning_rate": 0.01, "patience": 9},
        },
        "tiny",
    )


class RedisProcess:
    """A Redis of a test's own on a free port of the loopback, in memory alone.

    Attributes:
      address: Where clients reach it; the same after `start`.
    """

    def __init__(self, program: str, folder: pathlib.Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"redis://127.0.0.1:{self.port}/0"
        self._command = [
            program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "no", "--dir", str(folder), "--logfile", "redis.log",
        ]  # fmt: skip
        self.start()

    def start(self) -> None:
        """Starts it, empty, and waits until it takes connections."""
        self._process = subprocess.Popen(self._command)

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return True
            return False

        self.until(answers)

    def stop(self) -> None:
        """Ends it without a farewell, as a crash does; nothing if it has ended."""
        self._process.kill()
        self._process.wait(10)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Takes connections in the block, and answers none."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    @staticmethod
    def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
        """Waits for a condition."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "it did not come about in time"
            time.sleep(0.02)


@pytest.fixture
def redis_server(tmp_path: pathlib.Path) -> Iterator[RedisProcess]:
    """An empty Redis, which the test may stop and start."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server; apt-get install redis-server")
    server = RedisProcess(program, tmp_path)
    try:
        yield server
    finally:
        server.stop()
