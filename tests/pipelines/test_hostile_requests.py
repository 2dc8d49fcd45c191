"""The benchmark of hostile requests: a good server passes it, and a seed makes the same again."""

from __future__ import annotations

import pathlib
import random
from typing import Any

import pytest

from pipelines.benchmarks.hostile import examples
from pipelines.benchmarks.hostile.sending import GRPC_MAKERS, REST_MAKERS
from pipelines.benchmarks.hostile.target import Input, Target
from pipelines.benchmarks.hostile_requests import main

SHAPES = {"query": (-1,), "title": (-1, -1), "photo": (-1, -1), "price": (-1, -1)}


@pytest.fixture
def target() -> Target:
    """What a server with a few features would describe; nothing is sent to it."""
    raw = {n: Input("DT_FLOAT" if n == "price" else "DT_STRING", s) for n, s in SHAPES.items()}
    flags = {f"{n}_present": Input("DT_BOOL", s) for n, s in SHAPES.items()}
    signatures = {
        "serving_default": raw | flags | {"list_length": Input("DT_INT32", (-1,))},
        "rank_items": {"query": raw["query"], "items": Input("DT_STRING", (-1, -1))},
        "rank_embeddings": {"tokens": Input("DT_FLOAT", (-1, -1, 5, 16))},
    }
    keys = {name: f"mmr_{name}_x" for name in ("rank", "metrics", "admin", "revoked")}
    return Target(
        rest="http://127.0.0.1:1",
        grpc="127.0.0.1:2",
        model="ranker",
        signatures=signatures,
        serialized=frozenset({examples.SIGNATURE}),
        media=frozenset({"photo"}),
        items=("P000001", "P000002"),
        keys=keys,
        most=300,
        bytes=1 << 20,
    )


@pytest.mark.parametrize("maker", [*REST_MAKERS, *GRPC_MAKERS], ids=lambda m: m.__name__)
def test_the_same_seed_makes_the_same_request(maker: Any, target: Target) -> None:
    made = [[maker(random.Random(seed), target) for seed in range(40)] for _ in range(2)]
    assert made[0] == made[1]
    assert len({repr(request) for request in made[0]}) > 2


@pytest.mark.slow
def test_every_one_is_refused_well(
    exported: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["--model", str(exported.parent), "--requests", "200"])
    said = capsys.readouterr().out
    assert code == 0, said
    assert "200 hostile requests" in said
    assert " 0 answered badly; 0 good requests failed; the server still answers" in said
    assert "/healthz beside: " in said
    for kind in ("costly: ", "regress: ", "gRPC: regress", "gRPC: regress by Predict"):
        assert kind in said


def test_wrong_input(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(tmp_path)]) == 2
    assert "no numbered export" in capsys.readouterr().err
