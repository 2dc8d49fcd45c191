"""The sections `rerank`, `interleave` and `log` of the server's config."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from mmrank.config import ConfigError, from_mapping
from mmrank.reranking.exploration import PairSwap
from mmrank.server.config import ServerConfig
from mmrank.server.rerank_options import RerankOptions


def test_nothing_is_explored_or_logged_by_default() -> None:
    config = ServerConfig()
    assert config.rerank.explorer() is None
    assert config.log.folder is None
    assert config.interleave.labels == ()


def test_an_exploration_and_its_record() -> None:
    options = RerankOptions(exploration="pair_swap", options={"epsilon": 0.02})
    assert isinstance(options.explorer(), PairSwap)
    assert options.record() == {"kind": "pair_swap", "epsilon": 0.02}
    assert RerankOptions(exploration="boltzmann").record() == {
        "kind": "boltzmann",
        "temperature": 0.25,
    }


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        ({"rerank": {"exploration": "pair_swaps"}}, "did you mean 'pair_swap'"),
        ({"rerank": {"exploration": "pair_swap", "options": {"epsilon": 2}}}, "epsilon"),
        ({"rerank": {"options": {"epsilon": 0.1}}}, "no exploration"),
        ({"rerank": {"exploration": "boltzmann", "rules": "r.yaml"}}, "pair_swap"),
        ({"rerank": {"switch": "missing/off"}}, "missing/off does not exist"),
        ({"rerank": {"alarm_share": 1.5}}, "alarm_share"),
        ({"rerank": {"alarm_window_minutes": 0}}, "alarm_window_minutes"),
        ({"rerank": {"alarm_pages": 0}}, "alarm_pages"),
        ({"interleave": {"kind": "balanced"}}, "interleaving"),
        ({"interleave": {"options": {"decay": 1}}}, "unknown key 'options'"),
        ({"interleave": {"labels": ["stable"]}}, "two labels"),
        ({"log": {"file_megabytes": 0}}, "file_megabytes"),
        ({"log": {"file": "x"}}, "unknown key 'file'"),
    ],
)
def test_wrong_values(
    plain: dict[str, Any], words: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=words):
        from_mapping(ServerConfig, plain, "serve.yaml")


def test_pair_swap_goes_with_rules() -> None:
    assert RerankOptions(exploration="pair_swap", rules="rules.yaml").rules == "rules.yaml"
