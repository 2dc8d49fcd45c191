"""The DQN of Stable-Baselines3."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from mmrank.reranking.dqn.options import DQNOptions
from mmrank.reranking.environment import RerankEnv
from mmrank.reranking.page import Page
from mmrank.reranking.peers.torch_first import load_torch_first
from mmrank.reranking.playing import played, stacked

__all__ = ["Baselines3", "train_baselines3"]

logger = logging.getLogger(__name__)
HIDDEN = [256, 256]
REPORTS = 10


class Baselines3:
    """Orders of pages by a trained model of Stable-Baselines3.

    Its network reads a page as one flat vector, so that pages may not be longer than those that it
    learned from.

    Args:
      model: The model; its `predict` takes a batch of observations.
    """

    def __init__(self, model: Any):
        self._model = model

    def orders(self, pages: Sequence[Page], env: RerankEnv) -> list[np.ndarray]:
        """Returns the order of each page at the end of its episode, [k] int each.

        Args:
          pages: The pages.
          env: An environment of the same size as that of the training.
        """
        return played(
            lambda seen: self._model.predict(stacked(seen), deterministic=True)[0], pages, env
        )


def train_baselines3(env: RerankEnv, options: DQNOptions, seed: int) -> Baselines3:
    """Returns an agent that Stable-Baselines3's DQN trained, with as many moves and updates.

    It learns on as many pages at a time, with the project's own batch size, replay size, learning
    rate and exploration, and no discount, as there. What differs is its own: plain Q-learning with
    one-step rewards, transitions drawn evenly, and a network of two layers of 256 units that reads
    the whole observation as one vector (`MultiInputPolicy`). It cannot close actions: a move that
    is not open wastes a move.

    Args:
      env: An environment whose rewards are differences; pages are drawn from it.
      options: The options of the project's own agent.
      seed: Seed of weights, pages and moves.

    Raises:
      UserError: As of `load_torch_first`.

    Source: Raffin et al., "Stable-Baselines3: reliable reinforcement learning implementations"
      (JMLR 22, 2021).
    """
    load_torch_first()
    from stable_baselines3 import DQN
    from stable_baselines3.common.vec_env import DummyVecEnv

    count = options.environments
    model = DQN(
        "MultiInputPolicy",
        DummyVecEnv([env.copy for _ in range(count)]),
        learning_rate=lambda left: options.learning_rate * (1 - math.cos(math.pi * left)) / 2,
        buffer_size=options.replay,
        learning_starts=options.warm_up,
        batch_size=options.batch,
        gamma=1.0,
        train_freq=1,  # one update for each move of all environments
        target_update_interval=options.target * count,  # in moves
        exploration_fraction=0.5,
        exploration_final_eps=options.epsilon,
        policy_kwargs={"net_arch": HIDDEN},
        seed=seed,
        device="cpu",
    )
    total = options.warm_up + math.ceil(options.steps / count) * count
    # On small batches and busy cores, two threads that wait for each other took four times as long.
    with threadpool_limits(1):
        return Baselines3(model.learn(total, callback=_progress(total)))


def _progress(total: int) -> Any:
    """A callback that reports progress; it is called after each move of all environments."""
    started, said = time.monotonic(), 0

    def report(names: dict[str, Any], _: dict[str, Any]) -> bool:
        nonlocal said
        done = names["self"].num_timesteps
        if done * REPORTS // total > said:
            said = done * REPORTS // total
            left = (time.monotonic() - started) / done * (total - done) / 60
            logger.info("Stable-Baselines3: move %d/%d  %.1f min left", done, total, left)
        return True

    return report
