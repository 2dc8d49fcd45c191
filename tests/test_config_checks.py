"""Configs with unknown names are refused before anything slow starts."""

from __future__ import annotations

from typing import Any

import pytest

from mmrank.config import Config, ConfigError, from_mapping
from mmrank.config_checks import check_config


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"fusion": {"name": "gatd"}}, "unknown fusion 'gatd'; did you mean 'gated'"),
        ({"fusion": {"name": "gated", "options": {"depth": 2}}}, "'depth'; it takes no options"),
        ({"head": {"rank_model": "gruu"}}, "unknown rank model 'gruu'; did you mean 'gru'"),
        ({"head": {"rank_model": "gru", "attention_layers": 1}}, "gru has no attention"),
        ({"head": {"members": 0}}, "members: expected 1 or more, got 0"),
        (
            {"match_extra": ["speling"]},
            "match_extra: unknown extra 'speling'; did you mean 'spelling'",
        ),
        ({"match_extra": ["number"], "match": "none"}, "match: none disables match features"),
        ({"match_extra": ["number"], "cross": {"alone": True}}, "model.cross.alone disables match"),
        ({"head": {"members": 2}, "cross": {}}, "2 towers .* combined with a cross-encoder"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(model, message):
    with pytest.raises(ConfigError, match=message):
        check_config(from_mapping(Config, {"model": model}, "test"))


def test_members_need_one_score_on_grades():
    plain = {"model": {"head": {"members": 2}}, "training": {"tasks": {"click": {}}}}
    with pytest.raises(ConfigError, match="2 towers need a single score .* combined with tasks"):
        check_config(from_mapping(Config, plain, "test"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"training": {"teacher": {"run": "self", "temperature": 0}}},
            "temperature: expected above 0, got 0",
        ),
        ({"training": {"teacher": {"run": "self", "share": 1.5}}}, "above 0 and up to 1"),
        (
            {"training": {"teacher": {"run": "self"}, "tasks": {"click": {}}}},
            "one objective; remove training.tasks",
        ),
        (
            {"training": {"teacher": {"run": "self"}, "loss": {"name": "mean_squared_loss"}}},
            "softmax_loss only; remove training.loss",
        ),
        (
            {"training": {"teacher": {"run": "self"}}, "data": {"records": "shards"}},
            "remove data.records",
        ),
        (
            {"training": {"teacher": {"run": "self"}}, "model": {"name": "trees"}},
            "use network or hybrid",
        ),
    ],
)
def test_an_invalid_teacher_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_config(from_mapping(Config, config, "test"))
