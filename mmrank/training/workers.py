"""The workers of a training over several hosts, as TF_CONFIG in the environment names them.

No TensorFlow here: the command line asks before it imports that.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import time

from mmrank.outputs import UserError

TF_CONFIG = "TF_CONFIG"
MULTI_WORKER = "multi_worker"
WAIT_SECONDS, POLL_SECONDS = 1800.0, 0.2


class WorkerError(UserError):
    """Workers that cannot train together; the message says why and what to try."""


class WorkerLost(WorkerError):
    """Another worker is gone: every worker has to start again."""


@dataclasses.dataclass(frozen=True)
class Worker:
    """One of the processes that train together.

    Attributes:
      index: Which one; the first writes the run.
      count: How many there are.
    """

    index: int = 0
    count: int = 1

    @property
    def is_chief(self) -> bool:
        """Whether this one writes the run, evaluates and exports."""
        return self.index == 0


def this_worker(strategy: str, environment: str | None = None) -> Worker:
    """The place of this process among the workers; a lone one under any other strategy.

    Args:
      strategy: `training.strategy`.
      environment: What TF_CONFIG says; None takes it from the environment.

    Raises:
      WorkerError: It is missing or not of the form that TensorFlow takes.
    """
    if strategy != MULTI_WORKER:
        return Worker()
    text = os.environ.get(TF_CONFIG, "") if environment is None else environment
    try:
        told = json.loads(text)
        cluster, task = told["cluster"], told["task"]
        order = [
            *(("chief", n) for n in range(len(cluster.get("chief", [])))),
            *(("worker", n) for n in range(len(cluster.get("worker", [])))),
        ]
        return Worker(order.index((task["type"], int(task["index"]))), len(order))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkerError(
            f"training.strategy multi_worker: {TF_CONFIG} in the environment is {text!r}; make it "
            '{"cluster": {"worker": ["HOST:PORT", …]}, "task": {"type": "worker", "index": N}}'
        ) from error


def wait_for(file: pathlib.Path, seconds: float = WAIT_SECONDS) -> None:
    """Returns once the first worker has written a file that every worker sees.

    Raises:
      WorkerError: It has not in time.
    """
    end = time.monotonic() + seconds
    while not file.is_file():
        if time.monotonic() > end:
            raise WorkerError(
                f"{file}: not there after {seconds:.0f} s; the first worker writes it, so start "
                "that one, and give all workers one --out on a disk that they share"
            )
        time.sleep(POLL_SECONDS)
