"""Two workers on two shards, one of them killed, learn what one worker learns from the tables."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from mmrank.config import Config, save_config
from mmrank.training.loop import train_run
from mmrank.training.state import State
from mmrank.training.workers import Worker, WorkerError, this_worker, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
EPOCHS = 8


def tf_config(ports: list[int], index: int) -> str:
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


class Cluster:
    """The workers of one run, each a process with its own log."""

    def __init__(self, run: pathlib.Path, arguments: list[str], workers: int):
        self.run, self._arguments = run, arguments
        self._ports = free_ports(workers)
        self.processes: dict[int, subprocess.Popen] = {}
        for index in range(workers):
            self.start(index)

    def start(self, index: int, *more: str) -> None:
        with self.log(index).open("a") as log:
            self.processes[index] = subprocess.Popen(
                [sys.executable, "-m", "mmrank.train", *self._arguments, *more],
                cwd=ROOT,
                env={**os.environ, "TF_CONFIG": tf_config(self._ports, index)},
                stdout=log,
                stderr=log,
            )

    def log(self, index: int) -> pathlib.Path:
        return self.run.with_name(f"worker-{index}.log")

    def wait_until(self, epoch: int, finished: bool = False) -> None:
        """Waits until the run has finished the given number of epochs, or all of them."""
        deadline = time.monotonic() + 400
        while time.monotonic() < deadline:
            if (self.run / "state.json").is_file():
                state = State.load(self.run / "state.json")
                if state.epoch >= epoch and (state.finished or not finished):
                    return
            dead = [i for i, p in self.processes.items() if p.poll() not in (None, 0)]
            assert not dead, self.log(dead[0]).read_text()[-3000:]
            time.sleep(0.05)
        raise AssertionError(self.log(0).read_text()[-3000:])

    def kill(self, index: int) -> None:
        self.processes[index].send_signal(signal.SIGKILL)
        self.processes[index].wait()


@pytest.fixture
def config(tiny_config: Config) -> Config:
    """Numbers only, no randomness, no clipping, a low rate: see training/test_mirrored.py."""
    drop = "query title description photo brand tags user history".split()
    model = dataclasses.replace(
        tiny_config.model,
        drop=tuple(drop),
        head=dataclasses.replace(tiny_config.model.head, dropout=0.0),
    )
    training = dataclasses.replace(
        tiny_config.training,
        batch_lists=8,
        epochs=EPOCHS,
        warmup=0.0,
        clip_norm=1e9,
        learning_rate=1e-3,
    )
    data = dataclasses.replace(tiny_config.data, buckets=(32,))
    return dataclasses.replace(tiny_config, model=model, training=training, data=data)


def weights(run: pathlib.Path) -> dict[str, np.ndarray]:
    """All weights and moments of a run's last epoch, without those that contain only rounding."""
    reader = tf.train.load_checkpoint(str(run / str(State.load(run / "state.json").checkpoint)))
    shapes = reader.get_variable_to_shape_map()
    names = [n for n, s in shapes.items() if "random" not in n and s not in ([], [1])]
    return {n: reader.get_tensor(n) for n in names if n.startswith(("network", "optimizer"))}


@pytest.mark.slow
@pytest.mark.usefixtures("optimized_graphs")
def test_two_workers_one_of_them_killed_learn_the_same_as_one(
    config, shop, messages, write, tmp_path
):
    """Eight lists a step: all at once from the tables, or four on each worker from its own shard.

    Worker 1 is killed after the first epoch and started again; worker 0 restarts automatically.
    """
    folder = write(messages[:8], 2)
    run, alone = tmp_path / "two", tmp_path / "one"
    save_config(config, tmp_path / "config.yaml")
    arguments = ["--config", str(tmp_path / "config.yaml"), "--data", str(shop.folder)]
    arguments += ["--out", str(run), "--set", f"data.records={folder}"]
    arguments += ["--set", "training.strategy=multi_worker", "--set", "training.batch_lists=4"]
    cluster = Cluster(run, arguments, 2)
    try:
        keep = shop.lists["list_id"].isin(shop.rows("train")["list_id"].unique()[:8])
        lists = shop.lists[keep | (shop.lists["_split"] == "valid")].reset_index(drop=True)
        alone.mkdir()
        train_run(config, dataclasses.replace(shop, lists=lists), alone)
        cluster.wait_until(1)
        cluster.kill(1)
        assert not State.load(run / "state.json").finished
        cluster.start(1, "--resume")
        cluster.wait_until(EPOCHS, finished=True)
    finally:
        for index in cluster.processes:
            cluster.kill(index)
    assert "another worker stopped" in cluster.log(0).read_text()
    assert "resumed after epoch" in cluster.log(1).read_text()
    actual, expected = (State.load(r / "state.json").history for r in (run, alone))
    assert [e["loss"] for e in actual] == pytest.approx([e["loss"] for e in expected], rel=1e-5)
    two, one = weights(run), weights(alone)
    assert set(two) == set(one)
    assert sum(n.startswith("optimizer") for n in one) > 10
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, atol=1e-4, err_msg=name)


def test_the_index_of_a_worker_is_read_from_the_environment():
    assert this_worker("mirrored", "anything") == Worker(0, 1)
    assert this_worker("multi_worker", tf_config([5, 6, 7], 2)) == Worker(2, 3)
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    actual = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}})
    assert this_worker("multi_worker", actual) == Worker(1, 3)
    assert not this_worker("multi_worker", actual).is_chief
    for wrong in ("", "{}", "[]", tf_config([5], 1), '{"cluster": 3, "task": {}}'):
        with pytest.raises(WorkerError, match="TF_CONFIG in the environment is"):
            this_worker("multi_worker", wrong)


def test_a_worker_waits_for_the_first_one_and_gives_up(tmp_path):
    (tmp_path / "there").touch()
    wait_for(tmp_path / "there", 0.0)
    with pytest.raises(WorkerError, match="on a shared disk"):
        wait_for(tmp_path / "state.json", 0.0)
