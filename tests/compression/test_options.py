"""The values of `--compress`."""

from __future__ import annotations

import importlib.util

import pytest

from mmrank.compression.options import Compression, parse_compression
from mmrank.config import ConfigError
from mmrank.outputs import MissingExtra


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["int8"], Compression(items="int8")),
        (["prune"], Compression(prune=0.5)),
        (["cluster"], Compression(cluster=32)),
        (["dynamic_range"], Compression(dynamic_range=True)),
        (
            ["float16, cluster=16", "prune=0.25"],
            Compression(prune=0.25, cluster=16, items="float16"),
        ),
    ],
)
def test_options_are_read(texts: list[str], expected: Compression) -> None:
    assert parse_compression(texts) == expected


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["int9"], ["int9", "int8"]),
        ([""], ["unknown kind"]),
        (["prune=1"], ["prune=1", "below 1"]),
        (["prune=nan"], ["prune=nan"]),
        (["prune=half"], ["half", "0.5"]),
        (["cluster=1"], ["cluster=1", "2 to 256"]),
        (["cluster=8.5"], ["8.5"]),
        (["int8=3"], ["int8", "no value"]),
        (["int8,int8"], ["twice"]),
        (["int8", "float16"], ["float16", "int8", "one"]),
    ],
)
def test_wrong_texts_name_the_remedy(texts: list[str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        parse_compression(texts)
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["prune", "cluster=8"])
def test_a_missing_library_is_one_line(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install -e '\.\[compression\]'"):
        parse_compression([kind])
    assert parse_compression(["int8"]).items == "int8"


def test_stages_add_one_step_each() -> None:
    asked = Compression(prune=0.5, items="int8", dynamic_range=True)
    assert asked.stages() == [
        Compression(),
        Compression(prune=0.5),
        Compression(prune=0.5, items="int8"),
        asked,
    ]
    assert [stage.name for stage in asked.stages()] == [
        "as trained",
        "prune=0.5",
        "int8 items",
        "dynamic_range",
    ]
