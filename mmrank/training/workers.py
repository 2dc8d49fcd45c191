"""The workers of a training over several hosts, as TF_CONFIG in the environment names them.

This module does not import TensorFlow, since the command line uses it before TensorFlow is loaded.
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
    """Workers that cannot train together; the message gives the reason and what to try."""


class WorkerLost(WorkerError):
    """Another worker has ended, so that every worker has to be started again."""


@dataclasses.dataclass(frozen=True)
class Worker:
    """One of the processes that train together.

    Attributes:
      index: Index of this worker from 0; worker 0 writes the run.
      count: Number of workers.
    """

    index: int = 0
    count: int = 1

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes the run, evaluates and exports."""
        return self.index == 0


def this_worker(strategy: str, environment: str | None = None) -> Worker:
    """Returns this process as a worker; the only one unless the strategy is multi_worker.

    Args:
      strategy: `training.strategy`.
      environment: The value of TF_CONFIG; None reads it from the environment.

    Raises:
      WorkerError: TF_CONFIG is missing or does not have the form that TensorFlow expects.
    """
    if strategy != MULTI_WORKER:
        return Worker()
    text = os.environ.get(TF_CONFIG, "") if environment is None else environment
    try:
        spec = json.loads(text)
        cluster, task = spec["cluster"], spec["task"]
        order = [
            *(("chief", n) for n in range(len(cluster.get("chief", [])))),
            *(("worker", n) for n in range(len(cluster.get("worker", [])))),
        ]
        return Worker(order.index((task["type"], int(task["index"]))), len(order))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkerError(
            f"training.strategy multi_worker: {TF_CONFIG} in the environment is {text!r}; set it "
            'to {"cluster": {"worker": ["HOST:PORT", …]}, "task": {"type": "worker", "index": N}}'
        ) from error


def wait_for(file: pathlib.Path, seconds: float = WAIT_SECONDS) -> None:
    """Waits until the first worker has written a file on a disk that all workers share.

    Args:
      file: The file.
      seconds: Maximum time to wait, in seconds.

    Raises:
      WorkerError: The file was not written in time.
    """
    end = time.monotonic() + seconds
    while not file.is_file():
        if time.monotonic() > end:
            raise WorkerError(
                f"{file}: does not exist after {seconds:.0f} s; the first worker writes it, so "
                "start that worker, and give all workers the same --out on a shared disk"
            )
        time.sleep(POLL_SECONDS)
