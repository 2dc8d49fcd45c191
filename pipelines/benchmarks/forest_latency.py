"""Latency of trees, as ops and in libraries: `python -m pipelines.benchmarks.forest_latency`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mmrank.outputs import exit_code, require_extra

EXAMPLE = """\
example:
  python -m pipelines.benchmarks.forest_latency
  python -m pipelines.benchmarks.forest_latency --trees 1000 --candidates 100 1000 --threads 1

The ops are loaded from a SavedModel, as a server runs them. Each round times every way once, so
that other load on the machine affects all ways equally.
"""
WAYS = ("ops", "catboost", "lightgbm")
LEAVES, ROWS, GRADES, LIST = 31, 20_000, 5, 20
WARM_UP = 3


@dataclasses.dataclass(frozen=True)
class Row:
    """The measurements for lists of one length.

    Attributes:
      candidates: Number of candidates of a list.
      milliseconds: Median by way.
    """

    candidates: int
    milliseconds: dict[str, float]

    def to_text(self) -> str:
        """A line of the table; the last column is the ops' time as a share of LightGBM's."""
        times = "".join(f"{self.milliseconds[way]:12.2f}" for way in WAYS)
        share = self.milliseconds["ops"] / self.milliseconds["lightgbm"]
        return f"{self.candidates:10,d}{times}{share:12.2f}"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 good, 2 wrong input, 130 interrupted."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.forest_latency",
        description="Median milliseconds for the scores of one list by trees: CatBoost's as "
        "TensorFlow ops, CatBoost's own, and LightGBM's own with as many trees of 31 leaves.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--candidates", type=int, nargs="+", default=[100, 500, 1000], help="(%(default)s)")
    add("--trees", type=int, default=500, help="(default %(default)s)")
    add("--depth", type=int, default=6, help="depth of the symmetric trees (default %(default)s)")
    add("--features", type=int, default=20, help="(default %(default)s)")
    add("--threads", type=int, default=1, help="threads of each way (default %(default)s)")
    add("--repeats", type=int, default=50, help="timed lists (default %(default)s)")
    args = parser.parse_args(argv)
    require_extra("this benchmark", "lightgbm", "benchmarks")
    require_extra("this benchmark", "catboost", "trees")

    def run() -> None:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(args.threads)
        tf.config.threading.set_inter_op_parallelism_threads(args.threads)
        print(f"{'candidates':>10}" + "".join(f"{f'{w} ms':>12}" for w in WAYS) + f"{'share':>12}")
        for row in measure(**vars(args)):
            print(row.to_text(), flush=True)

    return exit_code(run, "nothing was written")


def measure(
    candidates: Sequence[int],
    trees: int,
    depth: int,
    features: int,
    threads: int,
    repeats: int,
) -> Iterator[Row]:
    """Yields a row for each length.

    Args:
      candidates: Lengths of a list.
      trees, depth, features: Number of trees, their depth, number of features.
      threads: Number of threads that the libraries may use.
      repeats: Number of lists timed for each way.
    """
    random = np.random.default_rng(0)
    values = random.normal(size=[ROWS, features]).astype(np.float32)
    worth = values[:, 0] * values[:, 1] + values[:, 2] + random.normal(size=ROWS)
    grades = np.searchsorted(np.quantile(worth, np.linspace(0, 1, GRADES + 1)[1:-1]), worth)
    with tempfile.TemporaryDirectory() as folder:
        boosted, ops = _symmetric(values, grades, trees, depth, threads, pathlib.Path(folder))
        ways: dict[str, Callable[[np.ndarray], Any]] = {
            "ops": ops,
            "catboost": lambda rows: boosted.predict(rows, thread_count=threads),
            "lightgbm": _leafwise(values, grades, trees, threads),
        }
        for count in candidates:
            rows = values[random.integers(0, ROWS, count)]
            times: dict[str, list[float]] = {way: [] for way in WAYS}
            for turn in range(WARM_UP + repeats):
                for way in WAYS:
                    started = time.perf_counter()
                    ways[way](rows)
                    if turn >= WARM_UP:
                        times[way].append(time.perf_counter() - started)
            yield Row(count, {way: 1e3 * statistics.median(times[way]) for way in WAYS})


def _symmetric(
    values: np.ndarray,
    grades: np.ndarray,
    trees: int,
    depth: int,
    threads: int,
    folder: pathlib.Path,
) -> tuple[Any, Callable[[np.ndarray], Any]]:
    """A model of CatBoost, and its trees as a SavedModel runs them."""
    import catboost
    import tensorflow as tf

    from mmrank.trees.forest import read_catboost
    from mmrank.trees.layer import ForestScores

    model = catboost.CatBoost(
        {
            "loss_function": "QueryRMSE",
            "iterations": trees,
            "depth": depth,
            "thread_count": os.cpu_count(),
            "verbose": False,
            "allow_writing_files": False,
        }
    )
    model.fit(catboost.Pool(values, grades, group_id=np.arange(ROWS) // LIST))
    file = folder / "model.json"
    model.save_model(str(file), format="json")
    layer = ForestScores(read_catboost(file))
    spec = tf.TensorSpec([None, None, values.shape[1]], tf.float32)
    module = tf.Module()
    module.layer = layer
    module.scores = tf.function(layer, input_signature=[spec])
    tf.saved_model.save(module, str(folder / "ops"))
    loaded = tf.saved_model.load(str(folder / "ops")).scores
    np.testing.assert_allclose(
        loaded(values[None, :100])[0], model.predict(values[:100]), rtol=1e-4, atol=1e-4
    )
    return model, lambda rows: loaded(tf.constant(rows[None])).numpy()


def _leafwise(
    values: np.ndarray, grades: np.ndarray, trees: int, threads: int
) -> Callable[[np.ndarray], Any]:
    """A LightGBM model with the same number of trees."""
    import lightgbm

    settings = {"objective": "lambdarank", "num_leaves": LEAVES, "verbose": -1}
    data = lightgbm.Dataset(values, grades, group=np.full(ROWS // LIST, LIST))
    model = lightgbm.train(settings, data, trees)
    return lambda rows: model.predict(rows, num_threads=threads)


if __name__ == "__main__":
    raise SystemExit(main())
