"""Compares rankers over folds with single match features and with peers that read the same."""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mmrank.data.tables import Dataset
from mmrank.data.validation import checked_dataset
from mmrank.evaluation.compared import compared_scores
from mmrank.evaluation.costs import Cost
from mmrank.evaluation.offline import evaluate_scores
from mmrank.evaluation.peers import PEERS, TRIALS
from mmrank.evaluation.report import Report
from mmrank.evaluation.tasks import ranking_label
from mmrank.outputs import InputError, exit_code, log_progress
from mmrank.plain_features import plain_features
from mmrank.trained_run import Run, load_run

EXAMPLE = """\
example:
  python -m pipelines.benchmarks.match_peers --run runs/homedepot
  python -m pipelines.benchmarks.match_peers --run runs/fold-0 runs/fold-1 --peers lambdamart,gam

Compares a ranker with the cosines and the BM25 of single fields, and with peers, which read the
plain features that the ranker reads and are tuned on the validation lists of their run. Runs over
folds of one dataset are reported as one, which `python -m mmrank.evaluate` does not do.
"""
METRIC = "ndcg@10"
SINGLE = ("/cosine", "/bm25")
STANDARD = ("lambdamart", "regression_trees")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 good, 2 wrong input, 130 interrupted."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.match_peers",
        description="Compares trained rankers with single match features, and with peers, on "
        "the same lists.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", type=pathlib.Path, nargs="+", required=True, metavar="RUN")
    parser.add_argument(
        "--split", default="test", choices=("valid", "test"), help="(default %(default)s)"
    )
    parser.add_argument(
        "--peers",
        default=",".join(STANDARD),
        help=f"comma-separated, of {', '.join(PEERS)} (default %(default)s)",
    )
    parser.add_argument(
        "--trials", type=int, default=TRIALS, help="settings to try per peer (default %(default)s)"
    )
    args = parser.parse_args(argv)
    log_progress()

    def compared() -> None:
        peers = [name for name in args.peers.split(",") if name]
        for name in peers:
            PEERS.entry(name, "--peers")
            PEERS.check_installed(name)
        if args.trials < 1:
            raise InputError(f"--trials {args.trials}: must be at least 1")
        runs = [load_run(folder) for folder in args.run]
        loaded = [(r, checked_dataset(r.data)) for r in runs]
        print(measure(loaded, args.split, peers, args.trials).to_text())

    return exit_code(compared)


def measure(
    runs: Sequence[tuple[Run, Dataset]],
    split: str = "test",
    peers: Sequence[str] = STANDARD,
    trials: int = TRIALS,
) -> Report:
    """The report on a ranker and its peers.

    Args:
      runs: Runs over folds of one dataset, or one run, each with its dataset.
      split: The split whose lists are scored.
      peers: Names from `PEERS`.
      trials: Number of settings to try for each peer, in each run.

    Raises:
      InputError: The runs do not have the same plain features.
    """
    scores: dict[str, list[np.ndarray]] = {}
    tested = []
    costs: dict[str, Cost] = {}
    known: tuple[str, ...] = ()
    for run, dataset in runs:
        rows = dataset.rows(split)
        names, features = plain_features(run, dataset, rows)
        if known and known != names:
            raise InputError(f"{run.folder}: its features differ from those of the previous run")
        known = names
        found = {"model": run.score(dataset, rows)}
        for column, name in enumerate(names):
            if name.endswith(SINGLE):
                found[name] = np.nan_to_num(features[:, column]).astype(np.float64)
        label = ranking_label(dataset, run.config)
        compared = compared_scores(run, dataset, rows, peers, trials=trials)
        for name, values in (found | compared.scores).items():
            scores.setdefault(name, []).append(values)
        for name, cost in compared.costs.items():
            costs[name if len(runs) == 1 else f"{name} of {run.folder.name}"] = cost
        tested.append(rows)
    report = evaluate_scores(
        dataset,
        pd.concat(tested),
        {name: np.concatenate(values) for name, values in scores.items()},
        split=split,
        label=label,
        metrics=(METRIC,),
        with_slices=False,
    )
    return dataclasses.replace(report, costs=costs)


if __name__ == "__main__":
    raise SystemExit(main())
