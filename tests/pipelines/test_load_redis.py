"""Vectors loaded into a Redis for one test, interrupted, and dropped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mmrank.data.tables import DataError
from mmrank.serving.embeddings.base import VectorShape
from mmrank.serving.embeddings.opened import EmbeddingStores
from mmrank.serving.embeddings.options import EmbeddingOptions
from mmrank.serving.embeddings.redis_store import connect, item_key
from pipelines.load_redis import Part, Source, drop, fill, main, models

OLD, NEW = "0" * 16, "f" * 16


class Vectors:
    """Three parts of two items each, i0 to i5; the tokens of item k are all `first` + k.

    Attributes:
      read: Numbers of the parts that were read.
      fail_at: The part whose reading breaks off.
    """

    def __init__(self, first: float, fail_at: int | None = None):
        self.first, self.fail_at = first, fail_at
        self.read: list[int] = []

    def parts(self, start: int) -> Iterator[Part]:
        for part in range(start, 3):
            if part == self.fail_at:
                raise ConnectionResetError("the machine was taken away")
            self.read.append(part)
            items = np.array([2 * part, 2 * part + 1])
            tokens = np.broadcast_to((self.first + items)[:, None, None], [2, 2, 3])
            match = np.zeros([2, 0], np.float32)
            yield [f"i{k}" for k in items], tokens, np.array([[True, False]] * 2), match

    def source(self, fingerprint: str = OLD, digest: str = "one") -> Source:
        shape = VectorShape(2, 3)
        return Source(fingerprint, ("title", "photo"), shape, digest, 3, 6, self.parts)


def lookup(ids: np.ndarray) -> dict[str, np.ndarray]:
    """The lookup of an export without items; its absent tokens are −1."""
    count = len(ids)
    tokens = np.full([count, 2, 3], -1, np.float32)
    return {"tokens": tokens, "present": np.zeros([count, 2], bool), "known": np.zeros(count, bool)}


def served(address: str, fingerprint: str = OLD) -> list[float]:
    """The values that a server would look up for i0 to i5."""
    stores = EmbeddingStores(EmbeddingOptions(redis=address, timeout_ms=500))
    found = stores.of_model(fingerprint, lookup).get([f"i{k}" for k in range(6)])
    return found.vectors.tokens[:, 1, 2].tolist()


def test_servers_find_the_loaded_vectors(redis_server: Any) -> None:
    client = connect(redis_server.address, 1000)
    fill(client, "mmrank", Vectors(10).source())
    assert served(redis_server.address) == [10, 11, 12, 13, 14, 15]
    fill(client, "mmrank", Vectors(10).source(), "float16")
    assert served(redis_server.address) == [10, 11, 12, 13, 14, 15]
    # One byte of type, two of presence, six float16 numbers.
    assert client.strlen(item_key("mmrank", OLD, "i0")) == 3 + 6 * 2


def test_a_stopped_load_resumes(redis_server: Any) -> None:
    client = connect(redis_server.address, 1000)
    stopped = Vectors(10, fail_at=2)
    with pytest.raises(ConnectionResetError):
        fill(client, "mmrank", stopped.source())
    assert stopped.read == [0, 1]
    assert models(client, "mmrank") == []  # incomplete, so not listed
    rest = Vectors(10)
    fill(client, "mmrank", rest.source())
    assert rest.read == [2]
    assert served(redis_server.address) == [10, 11, 12, 13, 14, 15]
    nothing, everything = Vectors(10), Vectors(10)
    fill(client, "mmrank", nothing.source())
    assert nothing.read == []
    fill(client, "mmrank", everything.source(), again=True)
    assert everything.read == [0, 1, 2]


def test_another_catalogue_of_the_model_starts_from_the_first_part(redis_server: Any) -> None:
    client = connect(redis_server.address, 1000)
    for first, digest in ((10, "one"), (20, "two"), (10, "one")):
        fill(client, "mmrank", Vectors(first).source(digest=digest))
        assert served(redis_server.address)[0] == first


def test_two_models_coexist_until_one_is_dropped(redis_server: Any) -> None:
    client = connect(redis_server.address, 1000)
    fill(client, "mmrank", Vectors(10).source(OLD))
    fill(client, "mmrank", Vectors(50).source(NEW))
    fill(client, "other", Vectors(90).source(OLD))
    assert served(redis_server.address, OLD)[0] == 10
    assert served(redis_server.address, NEW)[0] == 50
    assert [line.split()[0] for line in models(client, "mmrank")] == [OLD, NEW]
    assert drop(client, "mmrank", OLD) == 6 + 2  # items, description, progress
    assert served(redis_server.address, OLD) == [-1] * 6
    assert served(redis_server.address, NEW)[0] == 50
    assert [line.split()[0] for line in models(client, "mmrank")] == [NEW]
    assert client.exists(item_key("other", OLD, "i0"))


def test_an_invalid_vector_is_refused(redis_server: Any) -> None:
    client = connect(redis_server.address, 1000)
    with pytest.raises(DataError, match="part 1: .*float16"):
        fill(client, "mmrank", Vectors(1e6).source(), "float16")


def test_an_unreachable_address_is_a_one_line_error(
    redis_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    redis_server.stop()
    assert main(["--redis", redis_server.address, "--list"]) == 2
    actual = capsys.readouterr().err
    assert redis_server.address in actual
    assert actual.count("\n") == 1
