"""How Stable-Baselines3 is used, with a stand-in for it: its moves, its settings, its place."""

from __future__ import annotations

import importlib.machinery
import json
import pathlib
import sys
import types

import numpy as np
import pytest

from mmrank.outputs import UserError
from mmrank.rerank import main
from mmrank.reranking import RerankEnv, draw_page
from mmrank.reranking.dqn import DQNOptions
from mmrank.reranking.peers import PEERS, torch_first, train_baselines3
from mmrank.reranking.peers.torch_first import load_torch_first

SMALL = DQNOptions(environments=4, steps=70, warm_up=8, target=5, learning_rate=0.1)


class VecEnv:
    """Environments that are reset where an episode ends."""

    def __init__(self, makers):
        self.envs = [make() for make in makers]
        for i, env in enumerate(self.envs):
            env.reset(seed=i)


class DQN:
    """Keeps its arguments, makes random moves, and always wants to swap the first two."""

    made: DQN

    def __init__(self, policy, env, **arguments):
        DQN.made = self
        self.policy, self.envs, self.arguments = policy, env.envs, arguments
        self.num_timesteps = self.updates = 0
        self.action, self.seen = 1, []

    def learn(self, total, callback):
        rng = np.random.default_rng(self.arguments["seed"])
        while self.num_timesteps < total:
            for env in self.envs:
                if env.step(rng.integers(env.action_space.n))[2]:
                    env.reset()
            self.num_timesteps += len(self.envs)
            self.updates += self.num_timesteps > self.arguments["learning_starts"]
            assert callback({"self": self}, {})
        return self

    def predict(self, observations, deterministic):
        assert deterministic
        self.seen.append(observations)
        return np.full(len(observations["mask"]), self.action), None


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    vec_env = types.ModuleType("stable_baselines3.common.vec_env")
    vec_env.DummyVecEnv = VecEnv
    whole = types.ModuleType("stable_baselines3")
    whole.DQN, whole.__spec__ = DQN, importlib.machinery.ModuleSpec("stable_baselines3", None)
    common = types.ModuleType("stable_baselines3.common")
    for module in (whole, common, vec_env):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(torch_first, "COMPILER", "no_such_module")


@pytest.mark.usefixtures("stand_in")
def test_it_learns_from_as_many_moves_and_updates() -> None:
    train_baselines3(RerankEnv(size=3, when="difference"), SMALL, seed=5)
    made = DQN.made
    assert made.policy == "MultiInputPolicy"
    assert made.num_timesteps == 8 + 72  # those before the first update, and 70 in fours
    assert made.updates == 18
    assert [made.arguments[name] for name in ("train_freq", "gamma", "seed")] == [1, 1.0, 5]
    assert made.arguments["target_update_interval"] == 5 * 4
    rate = made.arguments["learning_rate"]
    np.testing.assert_allclose([rate(1.0), rate(0.5), rate(0.0)], [0.1, 0.05, 0.0], atol=1e-12)


@pytest.mark.usefixtures("stand_in")
def test_its_moves_are_those_of_the_environment() -> None:
    rng = np.random.default_rng(1)
    pages = [draw_page(size, rng) for size in (4, 2, 4)]
    env = RerankEnv(size=4, most_moves=3, when="difference")
    agent = train_baselines3(env, SMALL, seed=5)
    orders = agent.orders(pages, env)
    assert [order.tolist() for order in orders] == [[1, 0, 2, 3], [1, 0], [1, 0, 2, 3]]
    assert [len(seen["mask"]) for seen in DQN.made.seen] == [3, 3, 3]
    assert DQN.made.seen[0]["candidates"].shape == (3, *env.observation_space["candidates"].shape)
    # A move that is not open on a short page changes nothing and wastes a move.
    DQN.made.action = 3
    assert [order.tolist() for order in agent.orders(pages[:2], env)] == [[0, 1, 3, 2], [0, 1]]


@pytest.mark.usefixtures("stand_in")
def test_the_command_compares_with_it(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {
        "dqn": "{width: 8, heads: 2, layers: 1, steps: 16, environments: 8, batch: 8,"
        " warm_up: 16, imitation: 2}",
        "pages": "{size: 4, shortest: 2, test: 12, lengths: [3, 9]}",
        "peers": "[stable_baselines3]",
    }
    settings = [part for name, value in config.items() for part in ("--set", f"{name}={value}")]
    assert main(["--out", str(tmp_path / "out"), *settings]) == 0
    rows = {row["name"]: row for row in json.loads((tmp_path / "out/results.json").read_text())}
    assert list(rows)[:2] == ["dqn", "stable_baselines3"]
    assert 0 < rows["stable_baselines3"]["p"] <= 1
    lengths = json.loads((tmp_path / "out/lengths.json").read_text())
    short, long = ([row["name"] for row in lengths[length]] for length in ("3", "9"))
    assert short == list(rows)
    # What it learned on is a vector of four candidates; all orders of nine are too many to try.
    assert [name for name in rows if name not in long] == ["stable_baselines3", "exhaustive"]
    said = capsys.readouterr().out
    assert "12 pages of 2 to 4 candidates" in said
    assert "12 pages of 9 candidates" in said


def test_what_is_missing_is_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    out = tmp_path / "out"
    assert main(["--out", str(out), "--set", "peers=[stable_baselines3]"]) == 2
    said = capsys.readouterr().err
    assert "the agent stable_baselines3 needs stable_baselines3: pip install" in said
    assert "'.[reranking-peers]'" in said
    assert not out.exists()
    assert list(PEERS) == ["stable_baselines3"]


def test_the_compiler_of_pytorch_is_loaded_before_tensorflow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch_first, "COMPILER", "colorsys")
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow", types.ModuleType("tensorflow"))
    with pytest.raises(UserError, match="`import colorsys` first, or install PyTorch without"):
        load_torch_first()
    monkeypatch.delitem(sys.modules, "tensorflow")
    load_torch_first()
    assert "colorsys" in sys.modules
    monkeypatch.setattr(torch_first, "COMPILER", "no_such_module")
    load_torch_first()
