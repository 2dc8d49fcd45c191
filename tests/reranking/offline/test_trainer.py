"""Training from a log alone finds what users like, stops and resumes, and is judged by the log."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

from mmrank.outputs import OutputError
from mmrank.reranking import USERS, Page, RerankEnv, Rewards, draw_page
from mmrank.reranking.exploration import Epsilon
from mmrank.reranking.offline import (
    LogObserver,
    OfflineOptions,
    divided,
    orders_by,
    predicted_gain,
    sessions_at,
    train_offline,
)
from mmrank.reranking.offline import trainer as trainer_module
from mmrank.reranking.played import draw_pages, played_log
from mmrank.reranking.rearranged import rearranged, rows_of
from mmrank.reranking.sessions import Sessions

SMALL = OfflineOptions(width=16, heads=2, updates=200, batch=256, learning_rate=0.01)
REWARDS = Rewards()
USER = USERS.make("position_based")
RANDOM = {"kind": "epsilon", "epsilon": 0.5, "open": [True] * 3}


@pytest.fixture(scope="module")
def log() -> Sessions:
    """Pages of three, the worst first; half of them were shown in a random order."""

    def reversed_page(rng: np.random.Generator) -> Page:
        page = draw_page(3, rng, noise=0.0)
        return page.take(np.argsort(page.attraction * (1 + 5 * page.purchase)))

    pages = draw_pages(reversed_page, 12_000, seed=1)
    return played_log(pages, Epsilon(epsilon=0.5), USER, seed=1)


@pytest.mark.slow
def test_a_policy_gains_and_the_log_predicts_it(log: Sessions, tmp_path: pathlib.Path) -> None:
    parts = divided(np.arange(len(log)), judged=0.5)
    learned, judged = (sessions_at(log, rows) for rows in parts)
    policy = train_offline(
        learned, learning=SMALL, agent_options={"target": 10}, most_moves=3, rewards=REWARDS,
        seed=1, folder=tmp_path,
    )  # fmt: skip
    orders = orders_by(policy.network, LogObserver(judged, 3))
    worth = [USER.expected(rearranged(judged.pages, o), REWARDS) for o in (orders, judged.base)]
    best = USER.expected(rearranged(judged.pages, judged.base[:, ::-1]), REWARDS)
    gain = float((worth[0] - worth[1]).mean())
    assert gain > 0.7 * float((best - worth[1]).mean())
    [said, _], overlap = predicted_gain(judged, [RANDOM] * len(judged), orders, REWARDS)
    assert overlap.refusal == said.refusal == ""
    assert said.difference is not None
    assert 0 < said.difference.low < gain < said.difference.high
    assert json.loads((tmp_path / "training.json").read_text()) == {"updates": 200}
    assert (tmp_path / "weights.index").is_file()
    assert list((tmp_path / "logs").iterdir())
    # The environment leads to the same orders.
    env = RerankEnv(size=3, most_moves=3)
    alone = policy.orders([page for page, _ in zip(judged.each(), range(50), strict=False)], env)
    np.testing.assert_array_equal(np.stack(alone), orders[:50])


@pytest.mark.slow
def test_a_stopped_training_ends_at_the_same_weights(
    log: Sessions, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(folder: pathlib.Path, resume: bool = False) -> list[np.ndarray]:
        learning = OfflineOptions(width=8, heads=2, updates=40, batch=16)
        return train_offline(
            log, learning=learning, agent_options={"target": 5}, most_moves=3, rewards=REWARDS,
            seed=3, folder=folder, resume=resume,
        ).network.get_weights()  # fmt: skip

    whole = train(tmp_path / "whole")
    made = trainer_module.write_whole
    calls = []

    def stopping(file: pathlib.Path, text: str) -> None:
        made(file, text)
        calls.append(text)
        if len(calls) == 10:
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer_module, "write_whole", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped")
    assert json.loads((tmp_path / "stopped" / "training.json").read_text()) == {"updates": 20}
    for a, b in zip(train(tmp_path / "stopped", resume=True), whole, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_what_a_training_leaves(log: Sessions, tmp_path: pathlib.Path) -> None:
    def train(folder: pathlib.Path, resume: bool = False) -> None:
        learning = OfflineOptions(width=8, heads=2, updates=2, batch=16)
        train_offline(
            log, agent="cloning", learning=learning, most_moves=1, rewards=REWARDS, seed=1,
            folder=folder, resume=resume,
        )  # fmt: skip

    train(tmp_path)
    assert json.loads((tmp_path / "training.json").read_text()) == {"updates": 2}
    assert (tmp_path / "weights.index").is_file()
    with pytest.raises(OutputError, match="no training to resume; run it without --resume"):
        train(tmp_path / "none", resume=True)


def test_the_log_refuses_what_it_lacks(log: Sessions) -> None:
    """A log without exploration says nothing about other orders."""
    pages = rows_of(log.pages, slice(200))
    shown = played_log(pages, Epsilon(epsilon=1e-6), USER, seed=2)
    said, _ = predicted_gain(
        shown, [RANDOM | {"epsilon": 1e-6}] * 200, shown.base[:, ::-1], REWARDS
    )
    assert all("would show none of the logged pages" in each.refusal for each in said)
