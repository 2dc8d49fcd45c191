"""Vectors and query embeddings kept in memory."""

from __future__ import annotations

import numpy as np

from mmrank.serving.embeddings.base import ItemVectors, VectorShape
from mmrank.serving.embeddings.cache import VectorCache
from mmrank.serving.embeddings.queries import QueryCache

SHAPE = VectorShape(1, 2, 1)


def vectors(*values: float) -> ItemVectors:
    """One item per value, which fills its tokens [1, 2]; a value below zero means unknown."""
    numbers = np.array(values, np.float32)
    tokens = np.repeat(numbers[:, None, None], 2, 2)
    return ItemVectors(tokens, numbers[:, None] > 1, 10 * numbers[:, None], numbers >= 0)


def test_the_least_recently_used_are_evicted_and_their_rows_reused() -> None:
    cache = VectorCache(3, SHAPE, 600.0)
    cache.put(["a", "b", "c"], vectors(1, 2, 3))
    cache.get(["a"])
    cache.put(["d", "no"], vectors(4, -1))
    found = cache.get(["a", "b", "c", "d", "no"])
    assert found.known.tolist() == [True, False, True, True, False]
    assert found.tokens[[0, 2, 3], 0, 0].tolist() == [1, 3, 4]
    assert found.present[[0, 2, 3], 0].tolist() == [False, True, True]
    assert found.match[[0, 2, 3], 0].tolist() == [10, 30, 40]
    assert len(cache) == 3


def test_the_cache_is_correct_in_any_order_of_use() -> None:
    # The reference model is a list of ids from the least to the most recently used.
    generator = np.random.default_rng(0)
    cache, model = VectorCache(7, SHAPE, 600.0), {}
    for _ in range(400):
        names = [f"i{n}" for n in generator.integers(0, 20, 3)]
        if generator.random() < 0.5:
            found = cache.get(names)
            for i, name in enumerate(names):
                assert found.known[i] == (name in model)
                if name in model:
                    model[name] = model.pop(name)
                    assert found.tokens[i, 0, 0] == model[name]
        else:
            values = generator.integers(0, 99, 3)
            cache.put(names, vectors(*values))
            for name, value in zip(names, values, strict=True):
                model.pop(name, None)
                model[name] = value
                if len(model) > 7:
                    del model[next(iter(model))]


def test_vectors_expire_after_the_given_seconds() -> None:
    now = [0.0]
    cache = VectorCache(2, SHAPE, 10.0, clock=lambda: now[0])
    cache.put(["a"], vectors(1))
    now[0] = 6.0
    cache.put(["b"], vectors(2))
    now[0] = 9.9
    assert cache.get(["a", "b"]).known.tolist() == [True, True]
    now[0] = 10.0  # being read does not extend their lifetime
    assert cache.get(["a", "b"]).known.tolist() == [False, True]
    cache.put(["a", "c"], vectors(5, 6))
    found = cache.get(["a", "b", "c"])
    assert found.known.tolist() == [True, False, True]
    assert found.tokens[[0, 2], 0, 0].tolist() == [5, 6]
    now[0] = 20.0
    assert not cache.get(["a", "b", "c"]).known.any()


class Encoder:
    """Replaces `encode_queries`: returns the length of each text and records batch sizes."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.batches.append(len(rows["query"]))
        lengths = np.array([len(t) for t in rows["query"]], np.float32)
        return {
            "contexts": lengths[:, None, None],
            "contexts_present": rows["query_present"][:, None],
        }


def asked(text: str, present: bool = True) -> dict[str, np.ndarray]:
    return {"query": np.array([text], object), "query_present": np.array([present])}


def test_each_query_is_encoded_once() -> None:
    encoder = Encoder()
    cache = QueryCache(10, encoder)
    contexts, kept = cache.get([asked("red"), asked("green"), asked("red")])
    assert contexts["contexts"][:, 0, 0].tolist() == [3, 5, 3]
    assert encoder.batches == [2]
    assert not kept.any()
    contexts, kept = cache.get([asked("green"), asked("green", False), asked("blue")])
    assert contexts["contexts"][:, 0, 0].tolist() == [5, 5, 4]
    assert contexts["contexts_present"][:, 0].tolist() == [True, False, True]
    assert kept.tolist() == [True, False, False]
    assert encoder.batches == [2, 2]


def test_queries_are_kept_as_hashes_and_bounded() -> None:
    cache = QueryCache(2, Encoder())
    for text in ("one", "two", "three"):
        cache.get([asked(text)])
    assert len(cache) == 2
    assert "three" not in repr(vars(cache))
    assert b"three" not in repr(vars(cache)).encode()


def test_features_with_equal_concatenation_are_distinguished() -> None:
    cache = QueryCache(9, Encoder())
    one = asked("ab") | {"more": np.array(["c"], object)}
    other = asked("a") | {"more": np.array(["bc"], object)}
    cache.get([one])
    _, kept = cache.get([other])
    assert not kept[0]
