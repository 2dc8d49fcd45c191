"""A small training finds the better order, stops and resumes, and repeats by its seed."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

from mmrank.outputs import OutputError
from mmrank.reranking import Page, RerankEnv, draw_page
from mmrank.reranking.dqn import DQNOptions, Policy, QNetwork, train_policy

SMALL = {"width": 16, "heads": 2, "layers": 1, "environments": 8, "batch": 32, "target": 50}


@pytest.fixture(scope="module")
def env() -> RerankEnv:
    """Pages of two or three candidates, the worst first."""

    def reversed_page(rng: np.random.Generator) -> Page:
        page = draw_page(int(rng.integers(2, 4)), rng, noise=0.0)
        return page.take(np.argsort(page.attraction * (1 + 5 * page.purchase)))

    return RerankEnv(reversed_page, size=3, most_moves=3, when="difference")


@pytest.fixture(scope="module")
def folder(env: RerankEnv, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    made = tmp_path_factory.mktemp("policy")
    train_policy(env, DQNOptions(steps=2400, **SMALL), seed=1, folder=made)
    return made


def loaded(folder: pathlib.Path, env: RerankEnv) -> Policy:
    policy = Policy(QNetwork(width=16, heads=2, layers=1))
    policy.values([env.reset(seed=0)[0]])
    policy.load(folder / "weights")
    return policy


def drawn(env: RerankEnv, seed: int) -> Page:
    one = env.copy()
    one.reset(seed=seed)
    return one.page


def test_a_policy_beats_the_order_that_it_was_given(folder: pathlib.Path, env: RerankEnv) -> None:
    pages = [drawn(env, seed) for seed in range(60)]
    orders = loaded(folder, env).orders(pages, env)
    gains, possible = [], []
    for page, order in zip(pages, orders, strict=True):
        assert sorted(order.tolist()) == list(range(page.size))
        worth = [
            float(env.user.expected(page.take(o), env.rewards))
            for o in (np.arange(page.size), order, np.arange(page.size)[::-1])
        ]
        gains.append(worth[1] - worth[0])
        possible.append(worth[2] - worth[0])
    assert np.mean(gains) > 0.8 * np.mean(possible)


def test_what_a_training_leaves(folder: pathlib.Path) -> None:
    assert json.loads((folder / "training.json").read_text()) == {"updates": 300}
    assert list((folder / "logs").iterdir())
    assert (folder / "weights.index").is_file()


def test_a_training_resumes(env: RerankEnv, folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Resuming a finished training makes no update and gives its policy."""
    again = train_policy(env, DQNOptions(steps=2400, **SMALL), seed=1, folder=folder, resume=True)
    seen = [env.copy().reset(seed=5)[0]]
    np.testing.assert_allclose(again.values(seen), loaded(folder, env).values(seen), atol=1e-6)
    with pytest.raises(OutputError, match="no training to resume; run it without --resume"):
        train_policy(env, DQNOptions(steps=16, **SMALL), seed=1, folder=tmp_path, resume=True)


def test_a_seed_repeats_a_training(env: RerankEnv, tmp_path: pathlib.Path) -> None:
    seen, values = [env.copy().reset(seed=5)[0]], []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        options = DQNOptions(steps=80, warm_up=32, imitation=2, **SMALL)
        values.append(train_policy(env, options, seed=3, folder=folder).values(seen))
    np.testing.assert_allclose(values[0], values[1], atol=1e-5)
