"""Size and speed of every fusion: `python -m pipelines.benchmarks.fusion_speed`."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from mmrank.outputs import UserError, exit_code

EXAMPLE = """\
example:
  python -m pipelines.benchmarks.fusion_speed
  python -m pipelines.benchmarks.fusion_speed --items 200 --lists 16 --modalities 8 --width 128
"""
HEADER = f"{'fusion':16}{'weights':>10}{'candidates/s':>14}{'to concat':>11}"


@dataclasses.dataclass(frozen=True)
class Row:
    """The measurements for one fusion with its head.

    Attributes:
      fusion: Name of the fusion.
      weights: Number of trainable parameters of fusion and head.
      rate: Candidates scored per second, the median of the repeats.
      ratio: Median over the repeats of the rate relative to `concat` in the same repeat.
    """

    fusion: str
    weights: int
    rate: float
    ratio: float

    def to_text(self) -> str:
        """A line of the table."""
        return f"{self.fusion:16}{self.weights:10,d}{self.rate:14,.0f}{self.ratio:11.2f}"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 good, 2 wrong input, 130 interrupted."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    args = _parser().parse_args(argv)

    def run() -> None:
        rows = measure(args.items, args.lists, args.modalities, args.width, args.repeats)
        print("\n".join([HEADER, *(row.to_text() for row in rows)]))

    return exit_code(run, "nothing was written")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.fusion_speed",
        description="Measures weights and inference speed of each fusion with the default head, "
        "on random tokens of which a fifth are absent, with a query and a user.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, value, text in (
        ("items", 60, "candidates per list"),
        ("lists", 64, "lists per batch"),
        ("modalities", 4, "tokens per candidate"),
        ("width", 64, "width of a token"),
        ("repeats", 9, "timed rounds over all fusions; the median is printed"),
    ):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"{text} (%(default)s)")
    return parser


def measure(items: int, lists: int, modalities: int, width: int, repeats: int) -> list[Row]:
    """A row for each fusion. Every repeat times all fusions in turn, for a fair ratio.

    Raises:
      UserError: A size is below 1, or the width is not a multiple of 4 heads.
    """
    if min(items, lists, modalities, repeats) < 1 or width < 4:
        raise UserError("--items, --lists, --modalities, --repeats: 1 or more; --width: 4 or more")
    inputs = random_inputs(items, lists, modalities, width)
    scorers, weights = {}, {}
    for name, scorer, count in _scorers(inputs):
        scorers[name], weights[name] = scorer, count
    seconds = paired_seconds(scorers, repeats)
    return [
        Row(
            name,
            weights[name],
            lists * items / statistics.median(taken),
            statistics.median(
                other / one for one, other in zip(taken, seconds["concat"], strict=True)
            ),
        )
        for name, taken in seconds.items()
    ]


def random_inputs(items: int, lists: int, modalities: int, width: int) -> tuple[np.ndarray, ...]:
    """Tokens [B, L, K, D], their presence, contexts [B, 2, D], their presence, mask [B, L]."""
    rng = np.random.default_rng(0)
    return (
        rng.normal(size=[lists, items, modalities, width]).astype(np.float32),
        rng.random([lists, items, modalities]) > 0.2,
        rng.normal(size=[lists, 2, width]).astype(np.float32),
        np.ones([lists, 2], bool),
        np.ones([lists, items], bool),
    )


def _scorers(inputs: tuple[np.ndarray, ...]) -> Iterator[tuple[str, Callable[[], Any], int]]:
    """For each fusion, the function that scores the inputs, and its number of weights."""
    import tensorflow as tf

    from mmrank.build import build_head
    from mmrank.config import Head
    from mmrank.fusion import FUSIONS, make_fusion

    tensors = [tf.constant(x) for x in inputs]
    for name in FUSIONS:
        fusion, head = make_fusion(name, {}), build_head(Head())
        score = tf.function(functools.partial(_score, fusion, head))
        score(*tensors)  # traces the graph and makes the weights
        weights = fusion.trainable_weights + head.trainable_weights
        yield (
            name,
            functools.partial(_run, score, tensors),
            sum(w.shape.num_elements() for w in weights),
        )


def _score(fusion: Any, head: Any, *given: Any) -> Any:
    return head((fusion(given[:4], training=False), given[4]), training=False)


def _run(score: Callable[..., Any], tensors: Sequence[Any]) -> np.ndarray:
    return score(*tensors).numpy()  # returns when the scores are computed


def paired_seconds(
    jobs: Mapping[str, Callable[[], Any]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each job in each repeat, all jobs in turn, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for repeat in tqdm(range(repeats + 1), desc="rounds", disable=None):
        for name, job in jobs.items():
            start = clock()
            job()
            if repeat:
                seconds[name].append(clock() - start)
    return seconds


if __name__ == "__main__":
    raise SystemExit(main())
