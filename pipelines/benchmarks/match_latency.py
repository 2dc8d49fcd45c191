"""The latency of match features in a request: `python -m pipelines.benchmarks.match_latency`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import statistics
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from mmrank.outputs import exit_code, log_progress
from pipelines.benchmarks.fusion_speed import paired_seconds

EXAMPLE = """\
example:
  python -m pipelines.benchmarks.match_latency
  python -m pipelines.benchmarks.match_latency --candidates 100 1000 --items 5000
  python -m pipelines.benchmarks.match_latency --extra spelling category number
"""
HEADER = f"{'signature':18}{'candidates':>11}{'without ms':>12}{'with ms':>9}{'adds ms':>9}"
# Enough steps for a ranker that can be exported; only its shape matters.
SETTINGS = {
    "training": {"epochs": 1, "steps_per_epoch": 2},
    "evaluation": {"baselines": ["random"]},
}


@dataclasses.dataclass(frozen=True)
class Row:
    """The latency of one signature for one list, with and without match features or extras.

    Attributes:
      signature: Its name.
      candidates: Number of candidates of the list.
      without, with_match: Median milliseconds, in process.
      adds: Median of the differences within a repeat, milliseconds.
    """

    signature: str
    candidates: int
    without: float
    with_match: float
    adds: float

    def to_text(self) -> str:
        """A line of the table."""
        return (
            f"{self.signature:18}{self.candidates:11,d}{self.without:12.1f}{self.with_match:9.1f}"
            f"{self.adds:9.1f}"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 good, 2 wrong input, 130 interrupted."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    args = _parser().parse_args(argv)
    log_progress()

    def run() -> None:
        rows = measure(args.items, args.candidates, args.repeats, args.extra)
        print("\n".join([HEADER, *(row.to_text() for row in rows)]))

    return exit_code(run, "nothing was written")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.match_latency",
        description="Measures rank_items and serving_default of two rankers of the simulated shop, "
        "which differ only in `model.match`, in turn. With --extra both have match features, and "
        "one of them these extras.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--items", type=int, default=2000, help="items of the shop (%(default)s)")
    parser.add_argument(
        "--candidates", type=int, nargs="+", default=[100, 500, 1000], help="(%(default)s)"
    )
    parser.add_argument("--extra", nargs="+", default=[], help="names for model.match_extra")
    parser.add_argument("--repeats", type=int, default=30, help="timed rounds (%(default)s)")
    return parser


def measure(
    items: int, candidates: Sequence[int], repeats: int, extra: Sequence[str] = ()
) -> list[Row]:
    """A row for each signature and length; every repeat measures both rankers in turn.

    Args:
      items: Number of items of the shop.
      candidates: Lengths of lists.
      repeats: Number of timed rounds.
      extra: Names of extras that one ranker has while both have match features; none to compare
        match features with none.
    """
    import tensorflow as tf

    from mmrank.config import Config, from_mapping
    from mmrank.data.simulator import simulate
    from mmrank.data.tables import load_dataset
    from mmrank.job import measure_and_export, train
    from mmrank.serving.ranker import Ranker
    from mmrank.serving.samples import Samples
    from mmrank.serving.signatures import DEFAULT, ITEMS, LIST_LENGTH, RANK_ITEMS

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        simulate(root / "shop", items=items, queries=200, users=50, seed=0)
        dataset = load_dataset(root / "shop")
        rankers = {}
        ways: dict[str, dict[str, Any]] = {
            "without": {"match": "auto" if extra else "none"},
            "with": {"match": "auto", "match_extra": list(extra)},
        }
        for way, match in ways.items():
            plain = {**SETTINGS, "model": {"drop": ["photo"], **match}}
            run = train(from_mapping(Config, plain, way), dataset, root / way)
            rankers[way] = Ranker.load(measure_and_export(run, dataset, 0.0).export)
        samples = Samples(run.fitted, dataset)
        for count in candidates:
            sample = samples.of(count)
            asked = {**sample.contexts, **sample.history, **sample.pairs}
            requests = {
                RANK_ITEMS: asked | {ITEMS: sample.ids},
                DEFAULT: asked | sample.items | {LIST_LENGTH: sample.length},
            }
            for signature, request in requests.items():
                tensors = {n: tf.constant(a) for n, a in request.items()}
                calls = {m: _call(r, signature, tensors) for m, r in rankers.items()}
                taken = paired_seconds(calls, repeats)
                without, with_match = (statistics.median(taken[m]) for m in ("without", "with"))
                pairs = zip(taken["with"], taken["without"], strict=True)
                adds = statistics.median(one - other for one, other in pairs)
                rows.append(Row(signature, count, 1e3 * without, 1e3 * with_match, 1e3 * adds))
    return rows


def _call(ranker: Any, signature: str, tensors: dict[str, Any]) -> Callable[[], Any]:
    return lambda: ranker.signatures[signature](**tensors)["scores"].numpy()


if __name__ == "__main__":
    raise SystemExit(main())
