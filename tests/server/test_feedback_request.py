"""The JSON of POST /feedback."""

from __future__ import annotations

from typing import Any

import pytest

from mmrank.data.page_log_lines import Feedback
from mmrank.server.errors import ServingError
from mmrank.server.feedback_request import MOST_ID, read_feedback

PAGE = "0123456789abcdef" * 2


def test_everything() -> None:
    body = {
        "page": PAGE,
        "clicks": ["P1", "P2", "P1"],
        "dwell": {"P1": 31.5, "P2": 0},
        "carts": ["P1"],
        "purchases": None,
    }
    assert read_feedback(body, 3, 7.5) == Feedback(
        PAGE, 7.5, clicks=("P1", "P2"), dwell={"P1": 31.5, "P2": 0.0}, carts=("P1",)
    )


def test_a_page_alone() -> None:
    assert read_feedback({"page": PAGE}, 3, 0.0) == Feedback(PAGE, 0.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"page": None}, '"page"'),
        ({"page": 7}, '"page"'),
        ({"page": PAGE.upper()}, '"page"'),
        ({"page": PAGE + "0"}, '"page"'),
        ({"page": PAGE + "\n"}, '"page"'),
        ({"click": ["P1"]}, "did you mean 'clicks'"),
        ({"clicks": "P1"}, '"clicks": expected a list'),
        ({"clicks": {"P1": 1}}, '"clicks": expected a list'),
        ({"clicks": ["P1", 2]}, '"clicks": an item id'),
        ({"clicks": [["P1"]]}, '"clicks": an item id'),
        ({"carts": [""]}, '"carts": an item id'),
        ({"purchases": ["x" * (MOST_ID + 1)]}, '"purchases": an item id'),
        ({"clicks": ["P1"] * 4}, "send at most 3"),
        ({"dwell": ["P1", 3]}, '"dwell": expected an object'),
        ({"dwell": {"P1": -1}}, '"dwell": expected seconds'),
        ({"dwell": {"P1": True}}, '"dwell": expected seconds'),
        ({"dwell": {"P1": "3"}}, '"dwell": expected seconds'),
        ({"dwell": {"P1": None}}, '"dwell": expected seconds'),
        ({"dwell": {"P1": 86_401}}, '"dwell": expected seconds'),
        ({"dwell": {"P1": 10**400}}, '"dwell": expected seconds'),
        ({"dwell": {"P1": float("nan")}}, '"dwell": expected seconds'),
        ({"dwell": {"P1": float("inf")}}, '"dwell": expected seconds'),
        ({"dwell": {"": 1}}, '"dwell": an item id'),
        ({"dwell": {"a": 1, "b": 1, "c": 1, "d": 1}}, "send at most 3"),
    ],
)
def test_wrong_feedback(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ServingError, match=words) as caught:
        read_feedback({"page": PAGE} | change, 3, 0.0)
    assert caught.value.http_status == 400
