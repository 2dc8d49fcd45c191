"""What a job checks before anything slow begins."""

from __future__ import annotations

import pytest

from mmrank.config import Config, ConfigError, from_mapping
from mmrank.data.simulator.write import shop_schema
from mmrank.job import left_out


def config(without: list[str], drop: list[str]) -> Config:
    plain = {"evaluation": {"without": without}, "model": {"drop": drop}}
    return from_mapping(Config, plain, "test")


def test_what_is_left_out_is_a_feature_or_all_of_a_kind_but_those_of_the_query() -> None:
    wanted = config(["photo", "number", "text", "query", "photo"], ["sales"])
    assert left_out(wanted, shop_schema()) == {
        "photo": ["photo"],
        "number": ["price", "rating", "rating_count"],
        "text": ["title", "description"],
        "query": ["query"],
    }
    assert left_out(config([], []), shop_schema()) == {}


@pytest.mark.parametrize(
    ("without", "drop", "message"),
    [
        ("foto", [], "no feature or kind 'foto'; did you mean 'photo'?"),
        ("photo", ["photo"], "no feature or kind 'photo'"),  # nothing to leave out
        ("grade", [], "no feature or kind 'grade'"),  # a label
    ],
)
def test_an_unknown_entry_is_refused(without: str, drop: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"evaluation.without: {message}".replace("?", r"\?")):
        left_out(config([without], drop), shop_schema())
