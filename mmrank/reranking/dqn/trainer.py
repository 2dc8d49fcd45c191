"""Trains a policy: it makes moves on many pages at once and learns from them."""

from __future__ import annotations

import collections
import json
import logging
import math
import pathlib
import time

import numpy as np
import tensorflow as tf

from mmrank.outputs import OutputError, read_json, write_whole
from mmrank.reranking.dqn.learner import Learner
from mmrank.reranking.dqn.options import DQNOptions
from mmrank.reranking.dqn.policy import Policy
from mmrank.reranking.dqn.replay import Replay, observations_of
from mmrank.reranking.environment import Observation, RerankEnv
from mmrank.reranking.playing import stacked

__all__ = ["train_policy"]

logger = logging.getLogger(__name__)
CHECKPOINTS, STATE, REPORTS = "checkpoints", "training.json", 20
Step = tuple[Observation, int, float]


class _Player:
    """One environment, and the steps whose n following rewards are not complete."""

    def __init__(self, env: RerankEnv, seed: int, n_step: int):
        self.env, self._n = env, n_step
        self.seen, _ = env.reset(seed=seed)
        self._open: collections.deque[Step] = collections.deque()
        self.gain = 0.0  # rewards of the episode so far

    def move(self, action: int, replay: Replay) -> float | None:
        """Makes a move, keeps complete transitions, and returns what an ended episode gained."""
        before = self.seen
        after, reward, ended, _, _ = self.env.step(action)
        self._open.append((before, action, reward))
        self.gain += reward
        self.seen = after
        while self._open and (ended or len(self._open) == self._n):
            first, chosen, _ = self._open[0]
            total = sum(step[2] for step in self._open)
            replay.add(first, chosen, total, after, 0.0 if ended else 1.0)
            self._open.popleft()
        if not ended:
            return None
        gained, self.gain = self.gain, 0.0
        self.seen, _ = self.env.reset()
        return gained


def train_policy(
    env: RerankEnv,
    options: DQNOptions,
    *,
    seed: int,
    folder: pathlib.Path,
    resume: bool = False,
) -> Policy:
    """Returns a policy trained by deep Q-learning.

    Rewards are not discounted: an episode has few moves, and the worth of a page is the sum of the
    differences that its moves make. A training that is stopped continues from its last checkpoint
    with a replay that it fills again first, so it does not end at the same weights as one that was
    not stopped.

    Args:
      env: An environment whose rewards are differences; pages are drawn from it.
      options: The options.
      seed: Seed of weights, pages and moves.
      folder: Gets checkpoints, `logs` for TensorBoard and `weights`.
      resume: Whether to continue a training in `folder`.

    Raises:
      OutputError: There is no training in `folder` to resume.
    """
    tf.keras.utils.set_random_seed(seed)
    updates = math.ceil(options.steps / options.environments)
    learner = Learner(options, updates)
    replay = Replay(options.replay, options.priority)
    players = [
        _Player(env.copy(), seed * 1_000_003 + i, options.n_step)
        for i in range(options.environments)
    ]
    learner.build(stacked([player.seen for player in players]))
    policy = Policy(learner.online)
    checkpoint = tf.train.Checkpoint(
        online=learner.online, target=learner.target, optimizer=learner.optimizer
    )
    manager = tf.train.CheckpointManager(checkpoint, str(folder / CHECKPOINTS), max_to_keep=2)
    done = 0
    if resume:
        if manager.latest_checkpoint is None:
            raise OutputError(f"{folder}: no training to resume; run it without --resume")
        checkpoint.restore(manager.latest_checkpoint).assert_existing_objects_matched()
        done = int(read_json(folder / STATE, "train again into a new folder")["updates"])
        logger.info("resumed after %d of %d updates", done, updates)
    rng = np.random.default_rng([seed, done])
    _fill(players, replay, policy, options, done / updates, rng)
    if not done:
        for _ in range(options.imitation):
            drawn, _, _ = replay.draw(options.batch, 0.0, rng)
            learner.imitate(observations_of(drawn, "before"))
        learner.copy()
    gains: list[float] = []
    errors: list[float] = []
    started, first = time.monotonic(), done
    every = max(1, updates // REPORTS)
    writer = tf.summary.create_file_writer(str(folder / "logs"))
    while done < updates:
        gains += _moves(players, replay, policy, _epsilon(options, done / updates), rng)
        correction = options.correction + (1 - options.correction) * done / updates
        drawn, rows, weights = replay.draw(options.batch, correction, rng)
        wrong = learner.update(drawn, weights)
        replay.update(rows, wrong)
        errors.append(float(np.abs(wrong).mean()))
        done += 1
        if done % options.target == 0:
            learner.copy()
        if done % every == 0 or done == updates:
            left = (time.monotonic() - started) / (done - first) * (updates - done) / 60
            gain, error = float(np.mean(gains or [0.0])), float(np.mean(errors))
            logger.info(
                "update %d/%d  gain of a page %+.4f  error %.4f  %.1f min left",
                done, updates, gain, error, left,
            )  # fmt: skip
            with writer.as_default(step=done):
                tf.summary.scalar("gain", gain)
                tf.summary.scalar("error", error)
            gains, errors = [], []
            manager.save()
            write_whole(folder / STATE, json.dumps({"updates": done}) + "\n")
    writer.close()
    policy.save(folder / "weights")
    return policy


def _epsilon(options: DQNOptions, share: float) -> float:
    """Probability of a random move, from 1 linearly to the final one over the first half."""
    return max(options.epsilon, 1.0 - 2.0 * share * (1.0 - options.epsilon))


def _fill(
    players: list[_Player],
    replay: Replay,
    policy: Policy,
    options: DQNOptions,
    share: float,
    rng: np.random.Generator,
) -> None:
    wanted = min(options.warm_up, options.replay)
    while len(replay) < max(wanted, 1):
        _moves(players, replay, policy, _epsilon(options, share), rng)


def _moves(
    players: list[_Player],
    replay: Replay,
    policy: Policy,
    epsilon: float,
    rng: np.random.Generator,
) -> list[float]:
    """Makes one move on every page and returns the gains of the episodes that ended."""
    best = policy.values([player.seen for player in players]).argmax(-1)
    gains = []
    for player, action in zip(players, best, strict=True):
        if rng.random() < epsilon:
            action = rng.choice(np.flatnonzero(player.seen["actions"]))
        gained = player.move(int(action), replay)
        if gained is not None:
            gains.append(gained)
    return gains
