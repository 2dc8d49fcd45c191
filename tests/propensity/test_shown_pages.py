"""Propensities from a server's log: exploration alone separates positions from relevance."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from mmrank.data.page_log_lines import Feedback, Interleaved, ShownPage, as_line
from mmrank.propensity.__main__ import main
from mmrank.propensity.estimate import estimate
from mmrank.propensity.shown_pages import read_shown_pages
from mmrank.propensity.table import read_propensities

TRUTH = np.array([1.0, 0.6, 0.4])


def write(folder: pathlib.Path, pages: int, kind: str | None, **changes: object) -> pathlib.Path:
    """Pages of new items each time; the ranker knows how relevant they are."""
    rng, shown, feedback = np.random.default_rng(0), [], []
    for number in range(pages):
        relevance = np.sort(rng.uniform(0.2, 1.0, 3))[::-1]
        order, exploration, conditional = np.arange(3), None, np.ones(3)
        if kind == "pair_swap":
            exploration = {"kind": kind, "epsilon": 0.5, "open": [True] * 3}
            conditional[0] = 0.5
            if rng.random() < 0.5:
                order = np.array([[1, 0, 2], [0, 2, 1]])[rng.integers(2)]
                conditional[0] = 0.25
        elif kind == "epsilon":
            exploration = {"kind": kind, "epsilon": 1.0, "open": [True] * 3}
            order, conditional[0] = rng.permutation(3), 1 / 6
        page = ShownPage(
            page=f"p{number}",
            time=float(number),
            model="shop",
            version=1,
            query={"query": f"q{number % 2}"},
            user=None,
            items=tuple(f"P{number}-{i}" for i in range(3)) if kind else ("a", "b", "c"),
            scores=relevance,
            size=3,
            seen=None,
            policy=False,
            base=np.arange(3),
            order=order,
            exploration=exploration,
            probability=float(conditional.prod()),
            conditional=conditional,
            **changes,  # type: ignore[arg-type]
        )
        shown.append(as_line(page))
        clicked = np.flatnonzero(rng.random(3) < TRUTH * relevance[order])
        clicks = tuple(page.items[order[i]] for i in clicked)
        feedback.append(as_line(Feedback(page.page, float(number), clicks)))
    folder.mkdir()
    (folder / "shown-1.jsonl").write_bytes(b"".join(shown))
    (folder / "feedback-1.jsonl").write_bytes(b"".join(feedback))
    return folder


@pytest.mark.parametrize(
    ("kind", "method"), [("pair_swap", "harvest"), ("epsilon", "harvest"), ("epsilon", "random")]
)
def test_exploration_gives_the_propensities(tmp_path: pathlib.Path, kind: str, method: str) -> None:
    log = read_shown_pages(write(tmp_path / "log", 6000, kind))
    rate = log.by_position(log.clicks) / log.by_position(np.ones(len(log.clicks)))
    if kind == "pair_swap":  # the plain rates mix position and relevance
        assert np.abs(rate / rate[0] / TRUTH - 1).max() > 0.2
    found = estimate(log, method, resamples=30)
    error = np.abs(np.log(found.propensity / TRUTH))[1:]
    assert (error < 2 * np.log(found.high / found.low)[1:] / 2).all()
    assert error.max() < 0.15


def test_without_exploration_a_pair_is_a_query_and_an_item(tmp_path: pathlib.Path) -> None:
    log = read_shown_pages(write(tmp_path / "log", 4, None), positions=2)
    assert log.pairs.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert log.lists.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert log.positions.tolist() == [1, 2] * 4
    assert not log.randomised.any()


def test_interleaved_pages_have_no_pair_with_others(tmp_path: pathlib.Path) -> None:
    orders = np.array([[0, 1, 2], [1, 0, 2]])
    shared = Interleaved("team_draft", (1, 2), np.array([0, 1, 0]), orders)
    log = read_shown_pages(write(tmp_path / "log", 4, "pair_swap", interleaved=shared))
    assert len(set(log.pairs.tolist())) == 12


def test_the_command(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, table = write(tmp_path / "log", 2000, "pair_swap"), tmp_path / "p.csv"
    command = ["--log", str(log), "--out", str(table)]
    assert main([*command, "--resamples", "5"]) == 0
    assert read_propensities(table) == pytest.approx(TRUTH, rel=0.3)
    for more, message in (
        (["--split", "test"], "--split test: is for --data"),
        (["--randomised", "x"], "--randomised x: is for --data"),
    ):
        assert main([*command, "--force", *more]) == 2
        assert message in capsys.readouterr().err
    assert main(["--log", str(tmp_path), "--out", str(tmp_path / "q.csv")]) == 2
    assert "no log of shown pages" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command, "--data", str(tmp_path)])
