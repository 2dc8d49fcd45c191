"""The benchmark of hostile requests: a good server passes, and a seed repeats the requests."""

from __future__ import annotations

import http.server
import pathlib
import random
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from pipelines.benchmarks.hostile import examples, large
from pipelines.benchmarks.hostile.memory import Tree
from pipelines.benchmarks.hostile.probe import Probe
from pipelines.benchmarks.hostile.rest import RestRequest
from pipelines.benchmarks.hostile.sending import ALL_MAKERS, Answer
from pipelines.benchmarks.hostile.target import Input, Target
from pipelines.benchmarks.hostile_requests import (
    AT_REST,
    DECODER_MEGABYTES,
    MOST_MEGABYTES,
    Seen,
    main,
)

SHAPES = {"query": (-1,), "title": (-1, -1), "photo": (-1, -1), "price": (-1, -1)}


@pytest.fixture
def target() -> Target:
    """The description of a server with a few features; nothing is sent to it."""
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
        items=tuple(f"P{n:06d}" for n in range(4)),
        keys=keys,
        most=300,
        bytes=1 << 20,
    )


@pytest.mark.parametrize("maker", ALL_MAKERS, ids=lambda m: m.__name__)
def test_the_same_seed_makes_the_same_request(maker: Any, target: Target) -> None:
    made = [[maker(random.Random(seed), target) for seed in range(40)] for _ in range(2)]
    assert made[0] == made[1]
    assert len({repr(request) for request in made[0]}) > 2


def test_more_than_seventy_kinds_exist(target: Target) -> None:
    seeds = range(8)  # some makers make two kinds
    kinds = {maker(random.Random(seed), target).kind for maker in ALL_MAKERS for seed in seeds}
    assert len(kinds) >= 72


@pytest.mark.parametrize("maker", large.MAKERS, ids=lambda m: m.__name__)
def test_large_requests_are_as_large_as_allowed(maker: Any, target: Target) -> None:
    made = [maker(random.Random(seed), target) for seed in (1, 1, 2, 3)]
    assert made[0] == made[1]
    assert all(request.kind.startswith("large: ") for request in made)
    if maker is large.photos:  # only their pixels are large
        return
    sizes = [len(r.body if isinstance(r, RestRequest) else r.message) for r in made]
    assert max(sizes) > target.bytes // 8


class Fixed:
    """Given memory and stalls in place of the measurements of a round."""

    def __init__(self, peak: float):
        self._peak = peak

    def forget(self) -> None:
        """Does nothing."""

    def longest(self) -> float:
        """A stall of a twentieth of a second."""
        return 0.05

    def resident(self) -> float:
        """A tenth of the peak, before the turn."""
        return self._peak / 10

    def peak(self) -> float:
        """The given peak."""
        return self._peak


class InTurn:
    """A pool without workers: it maps in this thread."""

    map = staticmethod(map)


@pytest.mark.parametrize(("files", "above"), [(0, -1.0), (0, 1.0), (2, -1.0), (2, 1.0)])
def test_a_round_may_use_the_budget_of_its_requests(
    files: int, above: float, capsys: pytest.CaptureFixture[str]
) -> None:
    requests = [RestRequest("odd", "/", b""), RestRequest("costly", "/", b"", files=files)]
    budget = 2 * MOST_MEGABYTES + files * DECODER_MEGABYTES
    peak = AT_REST * 1000 + budget + above
    seen = Seen(1000.0, False, Fixed(peak), Fixed(peak))
    seen.turn(requests, lambda r: Answer(r.kind, "400", "", None), InTurn)
    assert seen.report() == (above <= 0)
    assert [a.kind for a in seen.answers] == ["odd", "costly"]
    assert f"{1:,.0f} {'ABOVE' if above > 0 else 'below'} the bound" in capsys.readouterr().out


def test_the_probe_measures_a_blocked_server() -> None:
    class Blocks(http.server.BaseHTTPRequestHandler):
        answered = 0

        def do_GET(self) -> None:
            Blocks.answered += 1
            time.sleep(0.3 if Blocks.answered == 3 else 0)
            self.send_response(503 if Blocks.answered == 5 else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Blocks) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Probe(f"http://127.0.0.1:{server.server_port}") as probe:
            while Blocks.answered < 10:
                time.sleep(0.01)
            assert 0.3 <= probe.longest() < 60
            while Blocks.answered < 20:
                time.sleep(0.01)
        server.shutdown()
    assert max(probe.waits) >= 0.3
    assert probe.failed == 1
    assert 20 <= len(probe.waits) + probe.failed <= Blocks.answered
    assert f"/healthz meanwhile: {len(probe.waits)} answers, 1 failed" in probe.report()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux reports the memory")
def test_memory_of_a_process_and_its_children() -> None:
    script = """if True:
        import subprocess, sys
        child = 'import sys; held = bytearray(200 << 20); del held; print(flush=True); input()'
        subprocess.Popen([sys.executable, '-c', child], stdin=sys.stdin).wait()
    """
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        tree = Tree(process.pid)
        assert len(tree.pids()) == 2
        assert tree.peak() > tree.resident() + 150
        tree.forget()
        assert tree.peak() < tree.resident() + 50
        process.stdin.close()


@pytest.mark.slow
def test_every_request_is_refused_correctly(
    exported: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["--model", str(exported.parent), "--requests", "100"])
    said = capsys.readouterr().out
    assert code == 0, said
    assert "100 hostile requests" in said
    assert " 0 answered wrongly; 0 good requests failed; the server still answers" in said
    assert "/healthz meanwhile: " in said
    for kind in ("costly: ", "regress: ", "gRPC: regress", "gRPC: regress by Predict"):
        assert kind in said


def test_wrong_input(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(tmp_path)]) == 2
    assert "no numbered export" in capsys.readouterr().err
