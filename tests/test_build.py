"""Configs whose names no table knows are refused before anything slow begins."""

from __future__ import annotations

import pytest

from mmrank.build import check_config
from mmrank.config import Config, ConfigError, from_mapping


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"fusion": {"name": "gatd"}}, "unknown fusion 'gatd'; did you mean 'gated'"),
        ({"fusion": {"name": "gated", "options": {"depth": 2}}}, "'depth'.*its options: none"),
        ({"head": {"rank_model": "gruu"}}, "unknown rank model 'gruu'; did you mean 'gru'"),
        ({"head": {"rank_model": "gru", "attention_layers": 1}}, "gru has no attention"),
        ({"head": {"members": 0}}, "members: expected 1 or more, got 0"),
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
