"""The section `monitoring`, read by the server's loader."""

from __future__ import annotations

from typing import Any

import pytest

from mmrank.config import ConfigError, from_mapping
from mmrank.server.monitor.config import Monitoring


def test_a_feature_can_have_its_own_threshold() -> None:
    read = from_mapping(Monitoring, {"drift": {"threshold": 0.2, "features": {"price": 1}}}, "x")
    assert read.drift.limit("price") == 1
    assert read.drift.limit("title") == 0.2


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ({"log_level": "warnin"}, "did you mean 'warning'"),
        ({"drift": {"threshold": 0}}, "threshold is 0"),
        ({"drift": {"window_minutes": -1}}, "window_minutes is -1"),
        ({"drift": {"windows": 1}}, "unknown key 'windows'"),
    ],
)
def test_invalid_options_are_refused(plain: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        from_mapping(Monitoring, plain, "x")
