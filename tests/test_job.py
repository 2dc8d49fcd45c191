"""What a job checks before anything slow begins."""

from __future__ import annotations

import re

import pytest

from mmrank.config import Config, ConfigError, from_mapping
from mmrank.data.simulator.write import shop_schema
from mmrank.job import check_job, left_out


def config(without: list[str], drop: list[str]) -> Config:
    plain = {"evaluation": {"without": without}, "model": {"drop": drop}}
    return from_mapping(Config, plain, "test")


def test_what_is_left_out_is_a_feature_or_all_of_a_kind_but_those_of_the_query() -> None:
    wanted = config(["image", "number", "text", "query", "photo", "history"], ["sales"])
    assert left_out(wanted, shop_schema()) == {
        "photo": ["photo"],
        "number": ["price", "rating", "rating_count"],
        "text": ["title", "description"],
        "query": ["query"],
        "history": ["history"],
    }
    assert left_out(config([], []), shop_schema()) == {}


def test_what_the_ranker_does_not_have_makes_no_row() -> None:
    wanted = config(["photo", "image", "video", "history"], ["photo"])
    assert left_out(wanted, shop_schema()) == {"history": ["history"]}


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ("foto", "'foto' is neither a feature nor a kind; did you mean 'photo'?"),
        ("grade", "'grade' is neither a feature nor a kind"),  # a label
    ],
)
def test_an_unknown_entry_is_refused(without: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"evaluation.without: {message}")):
        left_out(config([without], []), shop_schema())


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        ({"peer_trials": 0}, "evaluation.peer_trials: 0; a peer is tuned by 1 or more"),
        ({"baselines": ["lambdamrat"]}, "evaluation.baselines: unknown baseline 'lambdamrat'"),
    ],
)
def test_peers_are_checked(evaluation: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_job(from_mapping(Config, {"evaluation": evaluation}, "test"), shop_schema())
