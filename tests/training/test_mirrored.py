"""Replicas: several devices learn what one device learns from all their lists at once."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from mmrank.config import Config, save_config
from mmrank.data.tables import Dataset
from mmrank.training.state import State

ROOT = pathlib.Path(__file__).resolve().parents[2]

# A separate process, since logical devices must be configured before TensorFlow's first op.
TRAIN = """
import dataclasses, pathlib, sys
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from mmrank.config import load_config
from mmrank.data.tables import load_dataset
from mmrank.training.state import State
from mmrank.training.loop import train_run
out = pathlib.Path(sys.argv[3])
dataset = load_dataset(sys.argv[2])
lists = dataset.lists
train = lists[lists["_split"] == "train"]["list_id"].unique()[:8]
keep = lists["list_id"].isin(train) | (lists["_split"] == "valid")
dataset = dataclasses.replace(dataset, lists=lists[keep].reset_index(drop=True))
for name, strategy, size in (("one", "one_device", 8), ("two", "mirrored", 4)):
    changes = [f"training.strategy={strategy}", f"training.batch_lists={size}"]
    (out / name).mkdir()
    train_run(load_config(sys.argv[1], changes), dataset, out / name)
    state = State.load(out / name / "state.json")
    reader = tf.train.load_checkpoint(str(out / name / state.checkpoint))
    shapes = reader.get_variable_to_shape_map()
    # The bias of the scoring layer, [1], moves all scores alike: a softmax gives it rounding alone.
    kept = [n for n, shape in shapes.items() if "random" not in n and shape not in ([], [1])]
    kept = [n for n in kept if n.startswith(("network", "optimizer"))]
    np.savez(out / f"{name}.npz", **{n.replace("/", "!"): reader.get_tensor(n) for n in kept})
"""


@pytest.fixture
def config(quick_config: Config) -> Config:
    """Numbers only and no randomness: three steps over the same eight lists of one length.

    Nothing is clipped, since AdamW with clipping would hide wrongly scaled gradients. The rate is
    low, since AdamW turns rounding into a full step where a gradient is almost zero. Averages are
    kept too.
    """
    drop = (*quick_config.model.drop, "query", "title", "history", "user", "brand")
    head = dataclasses.replace(quick_config.model.head, dropout=0.0, attention_layers=0)
    return dataclasses.replace(
        quick_config,
        model=dataclasses.replace(quick_config.model, drop=drop, head=head),
        data=dataclasses.replace(quick_config.data, buckets=(32,)),
        training=dataclasses.replace(
            quick_config.training,
            epochs=3,
            steps_per_epoch=1,
            warmup=0.0,
            clip_norm=1e9,
            learning_rate=1e-3,
            ema=0.9,
        ),
    )


@pytest.mark.slow
def test_two_replicas_learn_what_one_device_learns_from_twice_the_batch(
    config: Config, shop: Dataset, tmp_path: pathlib.Path
):
    """Eight lists per step: all on one device, or four on each of two."""
    save_config(config, tmp_path / "config.yaml")
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(tmp_path / "config.yaml"), shop.folder, tmp_path],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    actual, expected = (State.load(tmp_path / n / "state.json").history for n in ("two", "one"))
    for epoch, other in zip(actual, expected, strict=True):
        assert epoch == pytest.approx(other, rel=1e-5)
    one, two = np.load(tmp_path / "one.npz"), np.load(tmp_path / "two.npz")
    assert set(one.files) == set(two.files)
    moments = [n for n in one.files if n.startswith("optimizer")]
    assert len(moments) > 10
    assert max(np.abs(one[n]).max() for n in moments) > 1e-2
    for name in one.files:
        np.testing.assert_allclose(two[name], one[name], atol=1e-4, err_msg=name)
