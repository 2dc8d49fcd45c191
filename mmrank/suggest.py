"""A config for a dataset, with what it will take: `python -m mmrank.suggest --data DIR`."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import math
import pathlib
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import yaml

from mmrank.config import NETWORK, TREES, Config, apply_override, from_mapping
from mmrank.data.tables import Dataset
from mmrank.data.validation import checked_dataset
from mmrank.defaults import Choice, completed
from mmrank.job import check_job, train
from mmrank.outputs import check_target, exit_code, log_progress, write_whole

logger = logging.getLogger("mmrank.suggest")
STEPS = 12  # of the trial; the first of every length of list are traced, and take longer

EXAMPLE = """\
example:
  python -m mmrank.suggest --data myshop --out myshop.yaml
  python -m mmrank.suggest --data myshop --out myshop.yaml \\
      --set 'model.encoders.text={encoder: hub, handle: models/minilm-hub}'
  python -m mmrank.train --config myshop.yaml --data myshop

Chooses what `mmrank.train` would choose for the dataset, says why, and trains some steps in a
temporary folder to tell the time and the memory that a run will take. Embeddings of frozen encoders
are computed for it, and kept for the run.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 wrong input, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.suggest",
        description="Writes a config that fits a dataset, and tells what a run will take.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", type=pathlib.Path, required=True, metavar="DIR", help="prepared dataset"
    )
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, metavar="FILE", help="the config to write"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=C",
        help="a value that is settled; may be repeated",
    )
    args = parser.parse_args(argv)
    log_progress()
    return exit_code(lambda: suggest(args.data, args.out, args.set))


def suggest(data: pathlib.Path, out: pathlib.Path, settled: Sequence[str] = ()) -> None:
    """Writes a config for a dataset to the new file `out` and prints what a run will take.

    Args:
      data: The prepared dataset.
      out: The file.
      settled: Values that are not chosen, as `A.B=C`.

    Raises:
      OutputError: `out` exists, or its folder does not.
      ConfigError: A settled value cannot be used.
      DataError: The dataset cannot be used.
    """
    check_target("--out", out)
    given: dict[str, Any] = {}
    for override in settled:
        apply_override(given, override)
    dataset = checked_dataset(data)
    plain, made = completed(dataset.schema, dataset, given)
    config = from_mapping(Config, plain, "config")
    check_job(config, dataset.schema)
    need = trial(config, dataset)
    write_whole(out, as_text(plain, made, need, data, out))
    print(f"training  {need}")
    print(f"wrote     {out}")
    print(f"next      python -m mmrank.train --config {out} --data {data}")


@dataclasses.dataclass(frozen=True)
class Need:
    """What a run takes on this machine, evaluation and export left out.

    Attributes:
      prepare: Seconds before the first step: reading, decoding, embedding, tracing.
      epoch: Seconds of an epoch, validation included.
      epochs: How many there are at most.
      memory: Most bytes in use at a time.
      trees: Seconds for the growing of trees; 0 without any.
    """

    prepare: float
    epoch: float
    epochs: int
    memory: int
    trees: float = 0.0

    def __str__(self) -> str:
        whole = self.prepare + self.epochs * self.epoch + self.trees
        steps = [f"{_spoken(self.prepare)} to prepare"]
        if self.epochs:
            steps.append(f"{self.epochs} epochs of {_spoken(self.epoch)}")
        if self.trees:
            steps.append(f"{_spoken(self.trees)} for trees")
        return (
            f"at most {_spoken(whole)} on this machine: {', '.join(steps)}; "
            f"{self.memory / 2**30:.1f} GiB of memory"
        )


def trial(config: Config, dataset: Dataset) -> Need:
    """What a run will take, by training some steps, and growing all trees, in a temporary folder.

    Args:
      config: The config of the run.
      dataset: Its dataset.
    """
    training = config.training
    lists = dataset.rows("train")[dataset.schema.lists.list].nunique()
    steps = training.steps_per_epoch or math.ceil(lists / training.batch_lists)
    few = min(steps, STEPS)
    short = dataclasses.replace(training, epochs=1, steps_per_epoch=few)
    clock = Clock()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mmrank-") as folder:
        logger.info("a trial of %d steps", few)
        train(
            dataclasses.replace(config, training=short),
            dataset,
            pathlib.Path(folder),
            watchers=[clock],
        )
    after = 0.0 if config.model.name == NETWORK else time.monotonic() - clock.ended
    epochs = 0 if config.model.name == TREES else training.epochs
    prepare, epoch = clock.ended - began, 0.0
    if clock.steps:
        ends = np.array(clock.steps)
        step = float(np.median(np.diff(ends))) if len(ends) > 1 else ends[0] - clock.started
        # Tracing is over with the first step, and is not met again in later epochs.
        prepare = ends[0] - began
        epoch = steps * step + max(clock.ended - ends[-1], 0.0)
    unit = 1 if sys.platform == "darwin" else 1024
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return Need(float(prepare), float(epoch), epochs, memory, after)


class Clock(tf.keras.callbacks.Callback):
    """When training began, when each step ended, and when the epoch did.

    Attributes:
      started, ended: By `time.monotonic`.
      steps: The same of each step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.started = self.ended = 0.0
        self.steps: list[float] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.started = self.ended = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps.append(time.monotonic())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.ended = time.monotonic()


def as_text(
    plain: dict[str, Any],
    made: Sequence[Choice],
    need: Need,
    data: pathlib.Path,
    out: pathlib.Path,
) -> str:
    """The config as YAML under comments that say what it takes and why it is so.

    Args:
      plain: The config.
      made: What in it was chosen.
      need: What a run takes.
      data, out: The dataset and the file, for the command.
    """
    head = [
        f"Chosen for {data}. Training takes",
        f"{need}.",
        "",
        f"  python -m mmrank.train --config {out} --data {data}",
        "",
        *(f"{choice.key}: {choice.why}" for choice in made),
    ]
    body = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
    return "".join(f"# {line}".rstrip() + "\n" for line in head) + body


def _spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    raise SystemExit(main())
