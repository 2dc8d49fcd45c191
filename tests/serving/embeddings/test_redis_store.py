"""Vectors from a Redis for one test, during an outage and after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from mmrank.config import ConfigError
from mmrank.serving.embeddings.base import StoreError, VectorShape
from mmrank.serving.embeddings.opened import EmbeddingStores
from mmrank.serving.embeddings.options import PASSWORD_VARIABLE, EmbeddingOptions
from mmrank.serving.embeddings.packed import Packing
from mmrank.serving.embeddings.redis_store import connect, item_key

MODEL = "0123456789abcdef"


def lookup(ids: np.ndarray) -> Mapping[str, np.ndarray]:
    """The lookup of an export with one item, `own`; two tokens of width 2, 7 where absent."""
    known = ids == "own"
    tokens = np.where(known[:, None, None], 9.0, np.full([len(ids), 2, 2], 7.0))
    return {
        "tokens": tokens.astype(np.float32),
        "present": np.repeat(known[:, None], 2, 1),
        "known": known,
    }


def fill(address: str, items: Mapping[str, float], model: str = MODEL) -> None:
    """Writes items to Redis, each filled with one number, with only the first modality present."""
    packing = Packing(VectorShape(2, 2))
    for item, value in items.items():
        tokens = np.full([1, 2, 2], value, np.float32)
        none = np.zeros([1, 0], np.float32)
        (row,) = packing.pack(tokens, np.array([[True, False]]), none, "float32")
        connect(address, 1000).set(item_key("mmrank", model, item), row)


def stores(address: str, **options: float) -> EmbeddingStores:
    settings = {"timeout_ms": 500.0, "failures": 2, "pause_s": 0.05, **options}
    return EmbeddingStores(EmbeddingOptions(redis=address, **settings))


def values(found: Any) -> list[float]:
    return found.vectors.tokens[:, 0, 0].tolist()


def test_each_item_is_read_from_the_nearest_store(redis_server: Any) -> None:
    fill(redis_server.address, {"a": 1.0, "b": 2.0})
    store = stores(redis_server.address).of_model(MODEL, lookup)
    store.get(["a"])
    found = store.get(["b", "a", "own", "", "nobody"])
    assert found.sources.tolist() == ["redis", "cache", "export", "unknown", "unknown"]
    assert values(found) == [2.0, 1.0, 9.0, 7.0, 7.0]
    assert found.vectors.known.tolist() == [True, True, True, False, False]
    assert found.vectors.present.tolist() == [
        [True, False],
        [True, False],
        [True, True],
        [False, False],
        [False, False],
    ]
    assert not found.unavailable


def test_vectors_of_another_model_are_not_seen(redis_server: Any) -> None:
    other = "f" * 16
    fill(redis_server.address, {"a": 1.0})
    fill(redis_server.address, {"a": 5.0, "c": 6.0}, other)
    both = stores(redis_server.address)
    assert values(both.of_model(MODEL, lookup).get(["a", "c"])) == [1.0, 7.0]
    assert values(both.of_model(other, lookup).get(["a", "c"])) == [5.0, 6.0]


def test_an_outage_is_survived_and_its_end_noticed(redis_server: Any) -> None:
    fill(redis_server.address, {"a": 1.0, "b": 2.0})
    opened = stores(redis_server.address)
    store = opened.of_model(MODEL, lookup)
    store.get(["a"])
    redis_server.stop()
    for _ in range(4):
        found = store.get(["a", "b", "own"])
        assert found.sources.tolist() == ["cache", "unknown", "export"]
        assert values(found) == [1.0, 7.0, 9.0]
        assert found.unavailable
    assert opened.breaker.open
    # What memory and the export contain needs no query to Redis.
    assert not store.get(["a"]).unavailable
    redis_server.start()
    fill(redis_server.address, {"b": 2.0})
    redis_server.until(lambda: not store.get(["b"]).unavailable)
    assert store.get(["a", "b"]).sources.tolist() == ["cache", "cache"]
    assert not opened.breaker.open


def test_a_redis_that_times_out_is_unavailable(redis_server: Any) -> None:
    store = stores(redis_server.address, timeout_ms=50.0).of_model(MODEL, lookup)
    with redis_server.frozen():
        assert store.get(["a"]).unavailable


def test_rows_of_another_format_count_as_unknown_and_are_reported_once(
    redis_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    connect(redis_server.address, 1000).set(item_key("mmrank", MODEL, "a"), b"junk")
    store = stores(redis_server.address).of_model(MODEL, lookup)
    assert store.get(["a"]).sources.tolist() == ["unknown"]
    assert store.get(["a"]).sources.tolist() == ["unknown"]
    actual = [r for r in caplog.records if "do not have this model's format" in r.getMessage()]
    assert len(actual) == 1


def test_a_password_is_read_from_the_environment_only(
    redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(redis_server.address, 1000).config_set("requirepass", "secret")
    fresh = stores(redis_server.address).of_model(MODEL, lookup)
    assert fresh.get(["a"]).unavailable
    monkeypatch.setenv(PASSWORD_VARIABLE, "secret")
    assert not stores(redis_server.address).of_model(MODEL, lookup).get(["a"]).unavailable


@pytest.mark.parametrize(
    "address",
    [
        "redis://:secret@127.0.0.1:6379/0",
        "redis://127.0.0.1:6379/0?password=secret",
        "unix:///run/redis.sock?db=1&PassWord=secret",
        "unix:///run/redis.sock?password=",
        "http://127.0.0.1/?password=secret",
    ],
)
def test_an_address_with_a_password_is_refused(address: str) -> None:
    with pytest.raises(ConfigError) as actual:
        EmbeddingOptions(redis=address)
    assert "secret" not in str(actual.value)
    assert PASSWORD_VARIABLE in str(actual.value) or "redis://HOST" in str(actual.value)


def test_replaced_vectors_are_used_after_the_expiry(redis_server: Any) -> None:
    fill(redis_server.address, {"a": 1.0})
    store = stores(redis_server.address, cached_seconds=0.2).of_model(MODEL, lookup)
    assert values(store.get(["a"])) == [1.0]
    fill(redis_server.address, {"a": 2.0})
    redis_server.until(lambda: values(store.get(["a"])) == [2.0])


def test_models_with_one_fingerprint_share_the_cache(redis_server: Any) -> None:
    fill(redis_server.address, {"a": 1.0})
    opened = stores(redis_server.address)
    first = opened.of_model(MODEL, lookup)
    first.get(["a"])
    assert opened.of_model(MODEL, lookup).get(["a"]).sources.tolist() == ["cache"]
    with pytest.raises(StoreError, match="fingerprint"):
        opened.of_model("", lookup)


@pytest.mark.parametrize(
    ("wrong", "actual"),
    [
        ({"redis": "localhost:6379"}, "redis://HOST"),
        ({"timeout_ms": 0}, "timeout_ms"),
        ({"pause_s": 60.0}, "longest_pause_s"),
    ],
)
def test_invalid_options_are_refused(wrong: dict[str, Any], actual: str) -> None:
    with pytest.raises(ConfigError, match=actual):
        EmbeddingOptions(**wrong)
