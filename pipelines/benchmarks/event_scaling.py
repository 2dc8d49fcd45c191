"""The cost of ten times the events: `python -m pipelines.benchmarks.event_scaling`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import pandas as pd

from mmrank.config import Config, from_mapping
from mmrank.data.simulator import simulate
from mmrank.data.tables import load_dataset
from mmrank.outputs import UserError, exit_code
from mmrank.schema import load_schema, save_schema

TIME_BOUND, MEMORY_BOUND = 1.1, 1.5
MODEL = {
    "seed": 1,
    "data": {"cache": None},
    "model": {
        "width": 16,
        "encoders": {
            "text": {
                "layers": 1,
                "heads": 2,
                "hidden": 16,
                "intermediate": 32,
                "max_tokens": 8,
                "vocabulary_size": 1000,
            },
            "history": {"length": 8, "heads": 2},
        },
        "drop": ["photo", "description"],
        "head": {"hidden": [16]},
    },
    "training": {"batch_lists": 128, "epochs": 2, "patience": 9},
}
EXAMPLE = """\
example:
  python -m pipelines.benchmarks.event_scaling --events 100000 1000000

Trains the same small model for the same number of epochs on simulated shops of these sizes, each
in a separate process. Larger shops have proportionally more users, who do the same as those of the
smallest shop. Exit code 0: ten times the events take at most 11 times the time and 1.5 times the
memory; 1: more.
"""


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of one training.

    Attributes:
      events, lists, candidates: Numbers in the whole dataset.
      loading, training: Seconds.
      memory: Peak resident memory of the process, in bytes.
    """

    events: int
    lists: int
    candidates: int
    loading: float
    training: float
    memory: int

    @property
    def seconds(self) -> float:
        """Seconds of loading and training together."""
        return self.loading + self.training

    def within(self, before: Cost) -> bool:
        """Whether time per event grew by at most a tenth, and memory by at most half."""
        times = self.events / before.events
        return (
            self.seconds <= TIME_BOUND * times * before.seconds
            and self.memory <= MEMORY_BOUND * before.memory
        )

    def to_text(self, before: Cost | None) -> str:
        """A line of the table, compared with the previous line."""
        line = (
            f"{self.events:>10,} {self.lists:>8,} {self.candidates:>10,} {self.loading:>9.1f} "
            f"{self.training:>10.1f} {self.memory / 2**20:>9,.0f}"
        )
        if before is None:
            return line
        return (
            f"{line} {self.seconds / before.seconds:>7.1f} {self.memory / before.memory:>7.2f}  "
            f"{'ok' if self.within(before) else 'too much'}"
        )


HEADER = (
    "    events    lists candidates   loading   training    memory    time  memory\n"
    "                                 seconds    seconds       MiB   times   times"
)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 within the bounds, 1 beyond, 2 wrong input, 130 interrupted."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    args = _parser().parse_args(argv)
    if args.child is not None:
        print(json.dumps(dataclasses.asdict(train_once(args.child))))
        return 0
    good: list[bool] = []
    code = exit_code(lambda: good.extend(_run(args.events)), "nothing was written")
    return code if code or all(good) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.event_scaling",
        description="Measures time and memory of training as events grow.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--events",
        type=int,
        nargs="+",
        default=[100_000, 1_000_000],
        metavar="N",
        help="sizes, ascending (default: 100000 1000000)",
    )
    parser.add_argument("--child", type=pathlib.Path, help=argparse.SUPPRESS)
    return parser


def _run(sizes: Sequence[int]) -> list[bool]:
    if sorted(set(sizes)) != list(sizes) or sizes[0] < 1:
        raise UserError(f"--events {' '.join(map(str, sizes))}: sizes must be in ascending order")
    good = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        # The proportions of the quickstart: about eleven events for each list of twenty items.
        simulate(folder / "shop", items=500, queries=800, users=133, seed=1)
        base = len(pd.read_parquet(folder / "shop" / "events.parquet", columns=["time"]))
        first = max(1, round(sizes[0] / base))  # copies, so that the sizes keep their proportion
        before: Cost | None = None
        print(HEADER, flush=True)
        for size in sizes:
            grown = folder / str(size)
            grow(folder / "shop", grown, max(1, round(first * size / sizes[0])))
            cost = in_a_process(grown)
            print(cost.to_text(before), flush=True)
            good.append(before is None or cost.within(before))
            before = cost
    return good


def grow(shop: pathlib.Path, out: pathlib.Path, times: int) -> None:
    """Writes a shop with a multiple of the users, lists and events, over the same catalogue.

    Each copy of the log has separate users and lists. Photos are not copied.

    Args:
      shop: A simulated shop.
      out: Folder to create.
      times: Number of copies.
    """
    out.mkdir()
    schema = load_schema(shop)
    for file, ids in (("lists.parquet", ["list_id", "user_id"]), ("events.parquet", ["user_id"])):
        table = pd.read_parquet(shop / file)
        copies = [
            table.assign(**{column: table[column] + f"-{copy}" for column in ids})
            for copy in range(times)
        ]
        pd.concat(copies, ignore_index=True).to_parquet(out / file, index=False)
    for name in (schema.catalog.file, schema.media):
        (out / str(name)).symlink_to(shop.resolve() / str(name))
    save_schema(schema, out)


def in_a_process(data: pathlib.Path) -> Cost:
    """The cost of one training in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.benchmarks.event_scaling", "--child", str(data)],
        stdout=subprocess.PIPE,
        check=False,
        text=True,
    )
    if done.returncode:
        raise UserError(f"the training on {data.name} events ended with code {done.returncode}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def train_once(data: pathlib.Path, config: Config | None = None) -> Cost:
    """Loads a dataset and trains on it, in this process."""
    from mmrank.training.loop import train_run

    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    start = time.monotonic()
    dataset = load_dataset(data)
    loaded = time.monotonic()
    assert dataset.events is not None
    counts = (len(dataset.events), dataset.lists["list_id"].nunique(), len(dataset.lists))
    run = data / "run"
    run.mkdir()
    train_run(config or from_mapping(Config, MODEL, "benchmark"), dataset, run)
    done = time.monotonic()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # in KiB on Linux
    return Cost(*counts, loading=loaded - start, training=done - loaded, memory=peak)


if __name__ == "__main__":
    raise SystemExit(main())
