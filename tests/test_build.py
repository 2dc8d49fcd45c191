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
    ],
)
def test_unknown_names_are_refused_with_the_nearest(model, message):
    with pytest.raises(ConfigError, match=message):
        check_config(from_mapping(Config, {"model": model}, "test"))
