"""Writes a config for a dataset, with a run's time and memory: `python -m mmrank.suggest`."""

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
import yaml

from mmrank.config import NETWORK, TREES, Config, apply_override, from_mapping
from mmrank.data.tables import Dataset
from mmrank.data.validation import checked_dataset
from mmrank.defaults import Choice, completed
from mmrank.outputs import check_target, exit_code, log_progress, write_whole

logger = logging.getLogger("mmrank.suggest")
STEPS = 12  # of the trial; the first step of each list length is traced, and takes longer

EXAMPLE = """\
example:
  python -m mmrank.suggest --data myshop --out myshop.yaml
  python -m mmrank.suggest --data myshop --out myshop.yaml \\
      --set 'model.encoders.text={encoder: hub, handle: models/minilm-hub}'
  python -m mmrank.train --config myshop.yaml --data myshop

Chooses what `mmrank.train` would choose for the dataset, gives the reasons, and trains some steps
in a temporary folder to estimate the time and memory that a run needs. It also computes the
embeddings of frozen encoders, and keeps them for the run.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 wrong input, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.suggest",
        description="Writes a config for a dataset, and estimates the time and memory of a run.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", type=pathlib.Path, required=True, metavar="DIR", help="prepared dataset"
    )
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, metavar="FILE", help="config to write"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=C",
        help="a config value that must not be chosen; may be repeated",
    )
    args = parser.parse_args(argv)
    log_progress()
    return exit_code(lambda: suggest(args.data, args.out, args.set))


def suggest(data: pathlib.Path, out: pathlib.Path, settled: Sequence[str] = ()) -> None:
    """Writes a config for a dataset to the new file `out` and prints what a run will take.

    Args:
      data: The prepared dataset.
      out: The file.
      settled: Values that the user has set, as `A.B=C`.

    Raises:
      OutputError: `out` exists, or its folder does not.
      ConfigError: A value that the user has set cannot be used.
      DataError: The dataset cannot be used.
    """
    check_target("--out", out)
    given: dict[str, Any] = {}
    for override in settled:
        apply_override(given, override)
    dataset = checked_dataset(data)

    from mmrank.job import check_job  # TensorFlow takes seconds to import

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
    """The time and memory of a run on this machine, without evaluation and export.

    Attributes:
      prepare: Seconds before the first step: reading, decoding, embedding, tracing.
      epoch: Seconds of an epoch, including validation.
      epochs: Maximum number of epochs.
      memory: Peak memory in bytes.
      trees: Seconds to grow trees; 0 without trees.
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
    """Estimates a run's needs by training some steps, and growing all trees, in a temporary folder.

    Args:
      config: The config of the run.
      dataset: Its dataset.
    """
    from mmrank.job import train
    from mmrank.training.clock import Clock

    training = config.training
    lists = dataset.rows("train")[dataset.schema.lists.list].nunique()
    steps = training.steps_per_epoch or math.ceil(lists / training.batch_lists)
    few = min(steps, STEPS)
    short = dataclasses.replace(training, epochs=1, steps_per_epoch=few)
    clock = Clock()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mmrank-") as folder:
        logger.info("measuring %d training steps", few)
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
        # Tracing is over after the first step, and does not happen again in later epochs.
        prepare = ends[0] - began
        epoch = steps * step + max(clock.ended - ends[-1], 0.0)
    unit = 1 if sys.platform == "darwin" else 1024
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return Need(float(prepare), float(epoch), epochs, memory, after)


def as_text(
    plain: dict[str, Any],
    made: Sequence[Choice],
    need: Need,
    data: pathlib.Path,
    out: pathlib.Path,
) -> str:
    """The config as YAML below comments that give a run's needs and the reasons of the choices.

    Args:
      plain: The config.
      made: The choices in it.
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
