"""The budget of a request for each kind of cost, and of all requests together."""

from __future__ import annotations

import tracemalloc

import orjson
import pytest

from mmrank.server.errors import ServingError
from mmrank.server.guard.budget import KINDS, Budget, Memory, json_costs
from mmrank.server.guard.options import Limits


def test_each_kind_has_its_own_budget() -> None:
    budget = Budget(Limits(request_candidates=8, request_megapixels=2.5))
    budget.take("candidates", 5)
    budget.take("pixels", 2_500_000)
    budget.take("candidates", 3)
    with pytest.raises(ServingError, match="9 candidates in one request; the most is 8"):
        budget.take("candidates", 1)
    with pytest.raises(ServingError, match="3 megapixels together; the most of a request is 2.5"):
        budget.take("pixels", 600_000)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_limit_and_a_message(kind: str) -> None:
    with pytest.raises(ServingError) as actual:
        Budget(Limits()).take(kind, 10**15)
    assert actual.value.code == "INVALID_ARGUMENT"
    assert "the most" in actual.value.message


def test_all_requests_share_their_memory() -> None:
    memory = Memory(100)
    with memory.request() as first, memory.request() as second:
        first(60)
        second(40)
        with pytest.raises(ServingError, match="try again later") as caught:
            second(41)
        assert caught.value.code == "RESOURCE_EXHAUSTED"
        first(20)  # a decrease is always possible
        second(80)
        assert memory.held == 100
    assert memory.held == 0


@pytest.mark.parametrize(
    "value", [b"[]", b"{}", b"1", b"1.5", b'"ab"', b'{"a":1}', b"[[]]", b"null", b'{"a":[]}']
)
def test_json_takes_no_more_memory_than_estimated(value: bytes) -> None:
    body = b"[" + b",".join([value] * 50_000) + b"]"
    tracemalloc.start()
    try:
        read = orjson.loads(body)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(read) == 50_000
    values, most = json_costs(body)
    assert size <= most
    assert len(read) <= values


def test_replies_count_and_are_never_refused() -> None:
    memory = Memory(100)
    with memory.request() as first, memory.request() as second:
        first(90)
        first.add(50)
        assert memory.held == 140
        with pytest.raises(ServingError) as actual:
            second(1)
        assert actual.value.code == "RESOURCE_EXHAUSTED"
        first(10)  # a decrease is never refused
        second(90)
    assert memory.held == 0
