"""Trains a policy from logged pages alone."""

from __future__ import annotations

import json
import logging
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.outputs import OutputError, read_json, write_whole
from mmrank.reranking.dqn.policy import Policy
from mmrank.reranking.dqn.trainer import CHECKPOINTS, REPORTS, STATE
from mmrank.reranking.guards import GuardOptions, Guards
from mmrank.reranking.offline.agents import AGENTS
from mmrank.reranking.offline.observer import LogObserver
from mmrank.reranking.offline.options import OfflineOptions
from mmrank.reranking.offline.transitions import transitions_of
from mmrank.reranking.sessions import Sessions
from mmrank.reranking.users import Rewards

__all__ = ["train_offline"]

logger = logging.getLogger(__name__)


def train_offline(
    sessions: Sessions,
    *,
    agent: str = "cql",
    agent_options: Mapping[str, Any] | None = None,
    learning: OfflineOptions | None = None,
    most_moves: int | None,
    rewards: Rewards,
    guards: GuardOptions | None = None,
    seed: int,
    folder: pathlib.Path,
    resume: bool = False,
) -> Policy:
    """Returns a policy that learned from logged pages; it never shows one itself.

    The batch of each update has a seed of its own, so that a training that is stopped and continued
    makes the same updates as one that was not.

    Args:
      sessions: The log to learn from.
      agent: Name of one of `AGENTS`.
      agent_options: Its options.
      learning: The options that all agents have.
      most_moves: Moves of an episode; None for as many as any order of the page may need.
      rewards: What clicks, seconds and purchases are worth.
      guards: What the policy may not do to a page.
      seed: Seed of weights and batches.
      folder: Gets checkpoints, `logs` for TensorBoard and `weights`.
      resume: Whether to continue a training in `folder`.

    Raises:
      ConfigError: The agent or one of its options is unknown.
      InputError: The policy could show none of the logged pages.
      OutputError: There is no training in `folder` to resume.
    """
    learning = learning or OfflineOptions()
    observer = LogObserver(sessions, most_moves, Guards(guards))
    transitions = transitions_of(observer, rewards)
    tf.keras.utils.set_random_seed(seed)
    learner = AGENTS.make(agent, agent_options, learning, most_moves)
    learner.build(transitions.batch(np.arange(1)))
    policy = Policy(learner.network)
    checkpoint = tf.train.Checkpoint(**learner.kept)
    manager = tf.train.CheckpointManager(checkpoint, str(folder / CHECKPOINTS), max_to_keep=2)
    done = 0
    if resume:
        if manager.latest_checkpoint is None:
            raise OutputError(f"{folder}: no training to resume; run it without --resume")
        checkpoint.restore(manager.latest_checkpoint).assert_existing_objects_matched()
        done = int(read_json(folder / STATE, "train again into a new folder")["updates"])
        logger.info("resumed after %d of %d updates", done, learning.updates)
    logger.info("learning from %d moves on %d pages", len(transitions), len(sessions))
    losses: list[float] = []
    started, first = time.monotonic(), done
    every = max(1, learning.updates // REPORTS)
    writer = tf.summary.create_file_writer(str(folder / "logs"))
    while done < learning.updates:
        rng = np.random.default_rng([seed, done])
        drawn = rng.integers(len(transitions), size=learning.batch)
        losses.append(learner.update(transitions.batch(drawn), done))
        done += 1
        if done % every == 0 or done == learning.updates:
            left = (time.monotonic() - started) / (done - first) * (learning.updates - done) / 60
            loss = float(np.mean(losses))
            logger.info(
                "update %d/%d  loss %.4f  %.1f min left", done, learning.updates, loss, left
            )
            with writer.as_default(step=done):
                tf.summary.scalar("loss", loss)
            losses = []
            manager.save()
            write_whole(folder / STATE, json.dumps({"updates": done}) + "\n")
    writer.close()
    policy.save(folder / "weights")
    return policy
