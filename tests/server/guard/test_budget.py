"""What a request may cost of each kind, and all requests together."""

from __future__ import annotations

import tracemalloc

import orjson
import pytest

from mmrank.server.errors import ServingError
from mmrank.server.guard.budget import KINDS, Budget, Memory, json_costs
from mmrank.server.guard.options import Limits


def test_each_kind_is_spent_by_itself() -> None:
    budget = Budget(Limits(request_candidates=8, request_megapixels=2.5))
    budget.take("candidates", 5)
    budget.take("pixels", 2_500_000)
    budget.take("candidates", 3)
    with pytest.raises(ServingError, match="9 candidates in one request; the most is 8"):
        budget.take("candidates", 1)
    with pytest.raises(ServingError, match="3 megapixels together; the most of a request is 2.5"):
        budget.take("pixels", 600_000)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_limit_and_words(kind: str) -> None:
    with pytest.raises(ServingError) as told:
        Budget(Limits()).take(kind, 10**15)
    assert told.value.code == "INVALID_ARGUMENT"
    assert "the most" in told.value.message


def test_all_requests_share_their_memory() -> None:
    memory = Memory(100)
    with memory.request() as first, memory.request() as second:
        first(60)
        second(40)
        with pytest.raises(ServingError, match="try again later") as told:
            second(41)
        assert told.value.code == "RESOURCE_EXHAUSTED"
        first(20)  # less is always possible
        second(80)
        assert memory.held == 100
    assert memory.held == 0


@pytest.mark.parametrize(
    "value", [b"[]", b"{}", b"1", b"1.5", b'"ab"', b'{"a":1}', b"[[]]", b"null", b'{"a":[]}']
)
def test_json_takes_no_more_than_was_told(value: bytes) -> None:
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
