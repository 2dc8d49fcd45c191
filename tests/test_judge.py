"""The command that judges a policy: its table and file, refusals, and wrong input."""

from __future__ import annotations

import json
import pathlib
import sys
import types
from collections.abc import Sequence

import numpy as np
import pytest

from mmrank.data.page_log_lines import Feedback, Seen, ShownPage, as_line
from mmrank.judge import main
from mmrank.rerank import main as rerank
from mmrank.reranking import USERS, draw_page
from mmrank.reranking.config import RerankConfig
from mmrank.reranking.exploration import EXPLORATIONS
from mmrank.reranking.judging import ESTIMATORS
from mmrank.reranking.page import Page
from mmrank.reranking.played import draw_pages, played_log
from mmrank.reranking.users import Rewards


def write_log(
    folder: pathlib.Path, kind: str, epsilon: float, size: int = 3, n: int = 600
) -> pathlib.Path:
    """Drawn pages in files of a server; what is clicked, bought and read, is what users did."""
    pages = draw_pages(lambda rng: draw_page(size, rng), n, seed=1)
    user = USERS.make("saturation")
    log = played_log(pages, EXPLORATIONS.make(kind, {"epsilon": epsilon}), user, seed=1)
    shown, feedback = [], []
    for row, page in enumerate(log.each()):
        items = tuple(f"P{row}-{i}" for i in range(size))
        shown.append(
            ShownPage(
                page=f"{row}",
                time=float(row),
                model="shop",
                version=1,
                query={},
                user=None,
                items=items,
                scores=page.score,
                size=size,
                seen=Seen(page.attraction, page.purchase, page.dwell, page.price, page.vector),
                policy=True,
                base=log.base[row],
                order=log.order[row],
                exploration={"kind": kind, "epsilon": epsilon, "open": [True] * size},
                probability=log.probability[row],
                conditional=log.conditional[row],
            )
        )
        by_position = [items[i] for i in log.order[row]]
        done = [
            tuple(item for item, did in zip(by_position, values[row], strict=True) if did)
            for values in (log.clicks, log.purchases)
        ]
        feedback.append(Feedback(f"{row}", 1.0, clicks=done[0], purchases=done[1]))
    folder.mkdir()
    (folder / "shown-1.jsonl").write_bytes(b"".join(map(as_line, shown)))
    (folder / "feedback-1.jsonl").write_bytes(b"".join(map(as_line, feedback)))
    return folder


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return write_log(tmp_path_factory.mktemp("judge") / "pages", "pair_swap", 0.5)


class Swaps:
    """Instead of a trained policy: it swaps the candidates of every other page."""

    config = RerankConfig(rewards=Rewards(click=2.0, purchase=0.0))

    def __init__(self, swap: Sequence[int], width: int = 3, fingerprint: str = ""):
        self._swap = np.array(swap)
        self.about = types.SimpleNamespace(width=width, fingerprint=fingerprint)

    def orders(self, pages: Sequence[Page]) -> list[np.ndarray]:
        swapped = [np.concatenate([self._swap, np.arange(3, p.size)]) for p in pages]
        return [np.arange(len(o)) if i % 2 else o for i, o in enumerate(swapped)]


@pytest.fixture
def policies(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    """Folders of policies, by the orders that they give to every other page."""
    made = {
        "swap": Swaps([1, 0, 2]),
        "far": Swaps([2, 0, 1]),
        "wide": Swaps([1, 0, 2], width=7),
        "first": Swaps([1, 0, 2], fingerprint="a1"),
        "second": Swaps([1, 0, 2], fingerprint="b2"),
    }
    for name in made:
        (tmp_path / name).mkdir()
    trained = types.SimpleNamespace(load_policy=lambda folder: made[folder.name])
    monkeypatch.setitem(sys.modules, "mmrank.reranking.trained", trained)
    return tmp_path


def judged(log: pathlib.Path, out: pathlib.Path, *more: str) -> dict[str, dict]:
    assert main(["--log", str(log), "--out", str(out), "--set", "resamples=200", *more]) == 0
    return {said["estimator"]: said for said in json.loads(out.read_text())["verdicts"]}


def test_a_policy_is_compared_with_the_logged_reward(
    log: pathlib.Path, policies: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = judged(log, policies / "a.json", "--policy", str(policies / "swap"))
    assert list(said) == list(ESTIMATORS)
    printed = capsys.readouterr().out
    assert "worth: click 2, dwell 0, purchase 0" in printed  # as the policy's config says
    assert "600 pages, worth" in printed
    assert "100.0% of its pages could have been shown" in printed
    for line in printed.splitlines()[6:]:
        assert line.split()[0] in ESTIMATORS
    for each in said.values():
        reward, difference = each["reward"], each["difference"]
        if each["estimator"] == "direct":
            assert reward["low"] is None
        else:
            assert reward["low"] < reward["mean"] < reward["high"]
            assert difference["low"] < difference["mean"] < difference["high"]
    means = [each["reward"]["mean"] for each in said.values()]
    assert max(means) - min(means) < 0.3
    # With the logged swaps alone, both estimators use the same pages with the same weights.
    for name in ("reward", "difference"):
        one, other = (said[e][name] for e in ("pseudo_inverse", "inverse_propensity"))
        assert one == pytest.approx(other)


def test_a_policy_is_compared_with_another(
    log: pathlib.Path, policies: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ["--policy", str(policies / "swap"), "--estimator", "self_normalised"]
    same = judged(log, policies / "a.json", *one, "--against", str(policies / "swap"))
    assert list(same) == ["self_normalised"]
    assert set(same["self_normalised"]["difference"].values()) == {0.0}
    ranker = judged(log, policies / "b.json", *one, "--against", "ranker")["self_normalised"]
    swapped = judged(log, policies / "c.json", "--policy", "ranker", "--set", "rewards.click=2",
                     "--set", "rewards.purchase=0", "--estimator", "self_normalised")  # fmt: skip
    gain = ranker["reward"]["mean"] - swapped["self_normalised"]["reward"]["mean"]
    assert ranker["difference"]["mean"] == pytest.approx(gain)
    assert "less ranker" in capsys.readouterr().out


def test_what_sessions_are_worth_can_be_overridden(
    log: pathlib.Path, policies: pathlib.Path
) -> None:
    one = ["--policy", str(policies / "swap"), "--estimator", "inverse_propensity"]
    twice = judged(log, policies / "a.json", *one)["inverse_propensity"]["reward"]["mean"]
    once = judged(log, policies / "b.json", *one, "--set", "rewards.click=1")
    assert once["inverse_propensity"]["reward"]["mean"] == pytest.approx(twice / 2)


def test_a_policy_that_the_log_does_not_cover_is_refused(
    log: pathlib.Path, policies: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = policies / "refused.json"
    command = ["--log", str(log), "--policy", str(policies / "far"), "--out", str(out)]
    assert main(command) == 2
    printed = capsys.readouterr().out
    why = "50.0% of the policy's pages could not be shown by the policy that logged them"
    assert printed.count(why) == len(ESTIMATORS) - 1
    assert "50.0% of the policy's pages are not a sum of pages that the log may show" in printed
    assert all(each["reward"] is None for each in json.loads(out.read_text())["verdicts"])
    other = ["--log", str(log), "--policy", "ranker", "--against", str(policies / "far")]
    assert main(other) == 2
    assert f"the policy that it is compared with: {why}" in capsys.readouterr().out


def test_the_pseudo_inverse_may_judge_what_the_others_cannot(
    tmp_path: pathlib.Path, policies: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of random orders, few are what a policy shows, but all have some of its candidates."""
    log = write_log(tmp_path / "random", "epsilon", 1.0, size=5, n=1200)
    said = judged(log, tmp_path / "a.json", "--policy", str(policies / "swap"))
    assert [name for name, each in said.items() if not each["refusal"]] == ["pseudo_inverse"]
    assert "refused: the log is worth" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "none"], "--policy: none: no such folder"),
        (["--policy", "logged"], "--policy logged: the logged reward"),
        (["--policy", "ranker", "--against", "none"], "--against: none: no such folder"),
        (["--policy", "ranker", "--set", "reward.click=1"], "did you mean 'rewards'"),
        (["--policy", "ranker", "--estimator", "dircet"], "did you mean 'direct'?"),
        (["--policy", "ranker", "--set", "level=1"], "level: expected"),
        (["--policy", "ranker", "--out", "no/such.json"], "--out: the folder no does not exist"),
        (["--policy", "ranker", "--log", "."], "no log of shown pages"),
    ],
)
def test_wrong_input(
    arguments: list[str], message: str, log: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--log", str(log), *arguments]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert not said.out


def test_a_policy_for_other_vectors(
    log: pathlib.Path, policies: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--log", str(log), "--policy", str(policies / "wide")]) == 2
    assert "vectors of 7 numbers, but those of the log have 3" in capsys.readouterr().err


def test_a_damaged_probability(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write_log(tmp_path / "pages", "pair_swap", 0.5)
    file = log / "shown-1.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"epsilon":0.5', b'"epsilon":0.4', 1))
    assert main(["--log", str(log), "--policy", "ranker"]) == 2
    assert "1 pages have another probability than their exploration" in capsys.readouterr().err


@pytest.mark.slow
def test_a_trained_policy(
    log: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever it learned in so few moves, its orders are judged or refused in words."""
    train = ["--set", "dqn={width: 8, heads: 2, layers: 1, steps: 640, environments: 8, batch: 16}"]
    train += ["--set", "pages={size: 3, test: 20}", "--set", "most_moves=1"]
    assert rerank(["--out", str(tmp_path / "run"), *train]) == 0
    said = judged(log, tmp_path / "a.json", "--policy", str(tmp_path / "run"))
    # One move is one of the swaps that were logged.
    assert said["pseudo_inverse"]["reward"] is not None
    assert "refused" not in capsys.readouterr().out


def test_policies_of_other_rankers(
    log: pathlib.Path, policies: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = str(policies / "first"), str(policies / "second")
    assert main(["--log", str(log), "--policy", first, "--against", second]) == 2
    assert "learned from pages of two rankers" in capsys.readouterr().err
    assert main(["--log", str(log), "--policy", first]) == 2
    assert "is of the ranker that the policy is for" in capsys.readouterr().err
