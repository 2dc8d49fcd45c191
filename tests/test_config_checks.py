"""Configs whose names no table knows are refused before anything slow begins."""

from __future__ import annotations

from typing import Any

import pytest

from mmrank.config import Config, ConfigError, from_mapping
from mmrank.config_checks import check_config


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"fusion": {"name": "gatd"}}, "unknown fusion 'gatd'; did you mean 'gated'"),
        ({"fusion": {"name": "gated", "options": {"depth": 2}}}, "'depth'.*its options: none"),
        ({"head": {"rank_model": "gruu"}}, "unknown rank model 'gruu'; did you mean 'gru'"),
        ({"head": {"rank_model": "gru", "attention_layers": 1}}, "gru has no attention"),
        ({"head": {"members": 0}}, "members: 0; give 1 or more"),
        ({"head": {"members": 2}, "cross": {}}, "2 towers .* do not go with a cross-encoder"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(model, message):
    with pytest.raises(ConfigError, match=message):
        check_config(from_mapping(Config, {"model": model}, "test"))


def test_members_are_for_one_score_on_grades():
    plain = {"model": {"head": {"members": 2}}, "training": {"tasks": {"click": {}}}}
    with pytest.raises(ConfigError, match="2 towers are for one score .* do not go with tasks"):
        check_config(from_mapping(Config, plain, "test"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"training": {"teacher": {"run": "self", "temperature": 0}}},
            "temperature: 0; give above 0",
        ),
        ({"training": {"teacher": {"run": "self", "share": 1.5}}}, "above 0 and up to 1"),
        (
            {"training": {"teacher": {"run": "self"}, "tasks": {"click": {}}}},
            "one goal; leave training.tasks out",
        ),
        (
            {"training": {"teacher": {"run": "self"}, "loss": {"name": "mean_squared_loss"}}},
            "softmax_loss alone; leave training.loss out",
        ),
        (
            {"training": {"teacher": {"run": "self"}}, "data": {"records": "shards"}},
            "leave data.records out",
        ),
        (
            {"training": {"teacher": {"run": "self"}}, "model": {"name": "trees"}},
            "take network or hybrid",
        ),
    ],
)
def test_a_teacher_that_cannot_be_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_config(from_mapping(Config, config, "test"))
