"""Latency of a cross-encoder by candidates: `python -m pipelines.benchmarks.cross_latency`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mmrank.outputs import UserError, exit_code

if TYPE_CHECKING:
    from mmrank.trained_run import Run

EXAMPLE = """\
example:
  python -m pipelines.benchmarks.cross_latency --run runs/homedepot_cross
  python -m pipelines.benchmarks.cross_latency --run runs/homedepot_cross --candidates 10 50
"""
HEADER = f"{'candidates':>10}{'read':>8}{'ms':>10}"
WARM_UP = 2


@dataclasses.dataclass(frozen=True)
class Row:
    """The measurements for lists of one length.

    Attributes:
      candidates: Number of candidates of a list.
      read: Number of best candidates that are read together with the query.
      milliseconds: Median of `rank_items` for one list, in process.
    """

    candidates: int
    read: int
    milliseconds: float

    def to_text(self) -> str:
        """A line of the table."""
        return f"{self.candidates:10d}{self.read:8d}{self.milliseconds:10.1f}"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 good, 2 wrong input, 130 interrupted."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    args = _parser().parse_args(argv)

    def run() -> None:
        rows = list(measure(args.run, args.candidates, args.read, args.repeats))
        print("\n".join([HEADER, *(row.to_text() for row in rows)]))

    return exit_code(run, "nothing was written")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.cross_latency",
        description="Median milliseconds of the signature rank_items of a run with a "
        "cross-encoder, one list at a time, where it reads only some of the best. With one read "
        "the time is about that without a cross-encoder.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", type=pathlib.Path, required=True, help="folder of a trained run")
    parser.add_argument(
        "--candidates", type=int, nargs="+", default=[10, 50, 100], help="per list (%(default)s)"
    )
    parser.add_argument(
        "--read", type=int, nargs="+", default=[1, 50, 100], help="of the best, read (%(default)s)"
    )
    parser.add_argument("--repeats", type=int, default=15, help="timed lists (%(default)s)")
    return parser


def measure(
    folder: pathlib.Path, candidates: Sequence[int], read: Sequence[int], repeats: int
) -> Iterator[Row]:
    """A row for each different pair of numbers of candidates and of read candidates.

    Raises:
      UserError: The run has no cross-encoder or only a cross-encoder, or a number is below 1.
    """
    import tensorflow as tf

    from mmrank.data.tables import load_dataset
    from mmrank.serving.export import export_run
    from mmrank.serving.ranker import Ranker
    from mmrank.serving.samples import Samples
    from mmrank.serving.signatures import ITEMS, RANK_ITEMS
    from mmrank.trained_run import load_run

    if min(*candidates, *read, repeats) < 1:
        raise UserError("--candidates, --read and --repeats must be at least 1")
    run = load_run(folder)
    dataset = load_dataset(run.data)
    for most in sorted(set(read)):
        with tempfile.TemporaryDirectory(prefix="mmrank-") as temporary:
            exported = export_run(reading(run, most), pathlib.Path(temporary), dataset)
            function = Ranker.load(exported).signatures[RANK_ITEMS]
            for count in candidates:
                if most > count and any(count <= m < most for m in read):
                    continue  # which also reads all candidates
                sample = Samples(run.fitted, dataset).of(count)
                request = {**sample.contexts, **sample.history, **sample.pairs, ITEMS: sample.ids}
                tensors = {n: tf.constant(a) for n, a in request.items()}
                seconds = []
                for _ in range(WARM_UP + repeats):
                    start = time.perf_counter()
                    function(**tensors)
                    seconds.append(time.perf_counter() - start)
                milliseconds = 1000 * statistics.median(seconds[WARM_UP:])
                yield Row(count, min(most, count), milliseconds)


def reading(run: Run, most: int) -> Run:
    """The run, with a cross-encoder that reads the given number of best candidates.

    Raises:
      UserError: The run has no cross-encoder, or only a cross-encoder.
    """
    from mmrank.build import build_model

    cross = run.config.model.cross
    if cross is None or cross.alone:
        raise UserError(f"{run.folder}: has no cross-encoder after its towers; give another run")
    options = dataclasses.replace(run.config.model, cross=dataclasses.replace(cross, rescore=most))
    config = dataclasses.replace(run.config, model=options)
    model = build_model(config, run.fitted)
    model.network.set_weights(run.model.network.get_weights())
    return dataclasses.replace(run, config=config, model=model, _kept={})


if __name__ == "__main__":
    raise SystemExit(main())
