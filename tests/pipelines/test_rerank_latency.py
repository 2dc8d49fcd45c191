"""The verdict on what a policy adds to the latency of /rank."""

from __future__ import annotations

import pathlib

import pytest

from pipelines.benchmarks.rerank_latency import IN_PROCESS, REST, Compared, main, report
from pipelines.benchmarks.serving_latency import Timing


def compared(way: str, plain: float, reranked: float, page: int = 10) -> Compared:
    both = (
        Timing(name, 100, 1, [milliseconds / 1e3] * 5, 1.0)
        for name, milliseconds in ((way, plain), (f"{way}, rerank", reranked))
    )
    return Compared(page, *both)


def test_what_the_policy_adds_is_judged_by_page_and_way() -> None:
    found = [
        compared(REST, 5.0, 6.9),
        compared(IN_PROCESS, 3.0, 5.5),
        compared(REST, 5.0, 7.2, page=20),
    ]
    assert [one.added for one in found] == pytest.approx([1.9, 2.5, 2.2])
    lines = report(found).splitlines()
    assert [line for line in lines if line.startswith("pages of")] == ["pages of 10", "pages of 20"]
    verdicts = [line for line in lines if "adds" in line]
    assert [line.split()[0] for line in verdicts] == ["passed", "FAILED", "FAILED"]
    assert "pages of 20, REST /rank, 1 clients: the policy adds 2.20 ms" in verdicts[2]


def test_wrong_input(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(tmp_path / "none"), "--data", "x"]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err
