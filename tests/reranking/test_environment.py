"""The environment: gymnasium's own checks, rewards, padding, seeds and wrong use."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from mmrank.reranking import USERS, RerankEnv, Rewards, draw_page
from mmrank.reranking.environment import FEATURES, NAME
from mmrank.reranking.moves import FINISH, moved

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("user", sorted(USERS))
@pytest.mark.parametrize(
    "how", [{}, {"when": "difference"}, {"sampled": True}], ids=["end", "difference", "sampled"]
)
def test_gymnasiums_check(user: str, how: dict[str, object]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # It says of any unbounded Box that bounds are preferable; features have none.
        warnings.filterwarnings("ignore", message=".*Box observation space.*infinity.*")
        check_env(RerankEnv(user=user, size=4, **how), skip_render_check=True)


def test_made_by_its_name_and_in_parallel() -> None:
    envs = gymnasium.make_vec(NAME, num_envs=3, size=4, user="saturation")
    observation, _ = envs.reset(seed=1)
    assert observation["candidates"].shape == (3, 4, len(FEATURES) + 3)
    for _ in range(30):
        observation, rewards, _, _, _ = envs.step(envs.action_space.sample())
        assert np.isfinite(rewards).all()
    envs.close()


def test_a_seed_repeats_an_episode() -> None:
    def episode(seed: int) -> list[float]:
        env = RerankEnv(size=4, sampled=True, most_moves=5)
        observation, _ = env.reset(seed=seed)
        values = [*observation["candidates"].ravel()]
        for action in (1, 3, 2, FINISH):
            observation, reward, _, _, _ = env.step(action)
            values += [*observation["candidates"].ravel(), reward]
        return values

    assert episode(3) == episode(3)
    assert episode(3) != episode(4)


@pytest.mark.parametrize("user", sorted(USERS))
def test_rewards(user: str) -> None:
    page, actions = draw_page(4, np.random.default_rng(1)), (1, 3, 2, FINISH)
    model, rewards = USERS.make(user), Rewards(click=2.0, dwell=0.01, purchase=3.0)
    order = np.arange(4)
    for action in actions:
        order = moved(order, action)
    last, first = (float(model.expected(page.take(o), rewards)) for o in (order, np.arange(4)))
    for when, total in (("end", last), ("difference", last - first)):
        env = RerankEnv(user=user, size=4, rewards=rewards, when=when)
        env.reset(seed=0, options={"page": page})
        got = [env.step(action)[1] for action in actions]
        assert sum(got) == pytest.approx(total, rel=1e-9)
        assert env.order.tolist() == order.tolist()
        if when == "end":
            assert got[:-1] == [0.0, 0.0, 0.0]


def test_sampled_rewards_have_the_expected_mean() -> None:
    page = draw_page(3, np.random.default_rng(1))
    env = RerankEnv(user="cascade", size=3, sampled=True)
    env.reset(seed=5)
    got = []
    for _ in range(4000):
        env.reset(options={"page": page})
        got.append(env.step(FINISH)[1])
    expected = float(env.user.expected(page, env.rewards))
    assert abs(np.mean(got) - expected) < 4 * np.std(got) / np.sqrt(len(got))


def test_a_short_page_is_padded() -> None:
    page = draw_page(2, np.random.default_rng(1))
    env = RerankEnv(size=4)
    observation, info = env.reset(seed=0, options={"page": page})
    assert observation["mask"].tolist() == [1, 1, 0, 0]
    assert info["action_mask"].tolist() == observation["actions"].tolist() == [1, 1, 0, 0]
    assert not observation["candidates"][2:].any()
    _, _, ended, _, info = env.step(3)  # would swap padding
    assert info["illegal"]
    assert not ended
    assert env.order.tolist() == [0, 1]
    assert not env.step(1)[4]["illegal"]
    assert env.order.tolist() == [1, 0]


def test_what_a_candidate_shows_moves_with_it() -> None:
    env = RerankEnv(size=4)
    before, _ = env.reset(seed=2)
    after, *_ = env.step(1)
    same = [FEATURES.index(name) for name in ("score", "attraction", "purchase", "log_price")]
    np.testing.assert_array_equal(
        before["candidates"][[1, 0, 2, 3]][:, same], after["candidates"][:, same]
    )
    displaced = after["candidates"][:, FEATURES.index("displaced")]
    np.testing.assert_allclose(displaced, [0.1, -0.1, 0, 0], rtol=1e-6)


def test_moves_run_out() -> None:
    env = RerankEnv(size=3, most_moves=2)
    env.reset(seed=0)
    observation, reward, ended, truncated, _ = env.step(1)
    assert (reward, ended, truncated) == (0.0, False, False)
    assert observation["moves"].tolist() == [0.5]
    _, reward, ended, truncated, _ = env.step(1)
    assert ended
    assert not truncated
    assert reward == pytest.approx(float(env.user.expected(env.page, env.rewards)))


def test_wrong_use() -> None:
    with pytest.raises(ValueError, match="differences need expected rewards"):
        RerankEnv(sampled=True, when="difference")
    env = RerankEnv(size=3)
    with pytest.raises(ValueError, match="a page of 5 candidates; raise size"):
        env.reset(options={"page": draw_page(5, np.random.default_rng(0))})


def test_without_gymnasium_the_install_command_is_named() -> None:
    code = (
        "import sys; sys.modules['gymnasium'] = None\n"
        "from mmrank.outputs import MissingExtra\n"
        "import mmrank.reranking\n"
        "try: mmrank.reranking.RerankEnv\n"
        "except MissingExtra as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "needs gymnasium: pip install -e '.[reranking]'" in done.stdout, done.stderr
