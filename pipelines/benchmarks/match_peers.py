"""A ranker beside its match features alone: `python -m pipelines.benchmarks.match_peers`."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mmrank.build import Run, load_run
from mmrank.data.tables import Dataset
from mmrank.data.validation import checked_dataset
from mmrank.evaluation.metrics import per_list
from mmrank.evaluation.offline import evaluate_scores, label_grades, list_offsets
from mmrank.evaluation.report import Report
from mmrank.evaluation.tasks import ranking_label
from mmrank.outputs import InputError, exit_code, log_progress, require_extra

EXAMPLE = """\
example:
  python -m pipelines.benchmarks.match_peers --run runs/homedepot
  python -m pipelines.benchmarks.match_peers --run runs/fold-0 runs/fold-1 runs/fold-2

The peers are the cosines and the BM25 of single fields, and trees of LightGBM over all match
features: LambdaMART, and a regression of the grades. Trees have as many leaves and rounds as serve
the validation lists of their run best. Runs over folds of one dataset are told as one.
"""
METRIC = "ndcg@10"
SINGLE = ("/cosine", "/bm25")
LEAVES = (7, 15, 31)
MOST_ROUNDS, PATIENCE = 800, 60
SETTINGS = {
    "learning_rate": 0.05,
    "min_data_in_leaf": 20,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.6,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "verbose": -1,
    "seed": 0,
}
TREES = {"lambdamart": "lambdarank", "regression trees": "regression"}
logger = logging.getLogger("match_peers")


@dataclasses.dataclass(frozen=True)
class Part:
    """The lists of one split.

    Attributes:
      rows: As of the dataset.
      features: The match features, [rows, F].
      grades: [rows].
      offsets: List i holds rows offsets[i] to offsets[i + 1].
    """

    rows: pd.DataFrame
    features: np.ndarray
    grades: np.ndarray
    offsets: np.ndarray


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 good, 2 wrong input, 130 interrupted."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.match_peers",
        description="Compares a trained ranker with its match features alone, and with trees over "
        "them, on the same lists.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", type=pathlib.Path, nargs="+", required=True, metavar="RUN")
    parser.add_argument(
        "--split", default="test", choices=("valid", "test"), help="(default %(default)s)"
    )
    args = parser.parse_args(argv)
    log_progress()
    require_extra("this benchmark", "lightgbm", "benchmarks")

    def compared() -> None:
        runs = [load_run(folder) for folder in args.run]
        print(measure([(r, checked_dataset(r.data)) for r in runs], args.split).to_text())

    return exit_code(compared)


def measure(runs: Sequence[tuple[Run, Dataset]], split: str = "test") -> Report:
    """The report on a ranker and its peers.

    Args:
      runs: Runs over folds of one dataset, or one run, each with its dataset.
      split: Whose lists are scored.

    Raises:
      InputError: The runs do not have the same match features.
    """
    scores: dict[str, list[np.ndarray]] = {}
    tested = []
    names: tuple[str, ...] = ()
    for run, dataset in runs:
        train, valid, test = (_part(run, dataset, s) for s in ("train", "valid", split))
        assert run.model.matcher is not None  # or its features could not have been had
        if names and names != run.model.matcher.names:
            raise InputError(f"{run.folder}: its match features are not those of the run before")
        names = run.model.matcher.names
        found = {"model": run.score(dataset, test.rows)}
        for place, name in enumerate(names):
            if name.endswith(SINGLE):
                found[name] = test.features[:, place].astype(np.float64)
        for name, objective in TREES.items():
            found[name] = grown(objective, train, valid).predict(test.features)
        for name, values in found.items():
            scores.setdefault(name, []).append(values)
        tested.append(test.rows)
    return evaluate_scores(
        dataset,
        pd.concat(tested),
        {name: np.concatenate(values) for name, values in scores.items()},
        split=split,
        label=ranking_label(dataset, run.config),
        metrics=(METRIC,),
        with_slices=False,
    )


def _part(run: Run, dataset: Dataset, split: str) -> Part:
    rows = dataset.rows(split)
    if dataset.schema.label("grade") is None:
        raise InputError(f"{dataset.folder}: trees learn from a label `grade`; the schema has none")
    return Part(
        rows,
        run.match_features(dataset, rows),
        label_grades(dataset, rows, "grade"),
        list_offsets(rows[dataset.schema.lists.list]),
    )


def grown(objective: str, train: Part, valid: Part) -> Any:
    """The trees, of some numbers of leaves, that order validation lists best by NDCG@10.

    Args:
      objective: LightGBM's name of it.
      train, valid: What is learned from, and what leaves and rounds are chosen by.
    """
    import lightgbm

    levels = np.unique(np.concatenate([train.grades, valid.grades]))
    ranks = objective != "regression"

    def data(part: Part, reference: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
        label = np.searchsorted(levels, part.grades) if ranks else part.grades
        sizes = np.diff(part.offsets)
        return lightgbm.Dataset(part.features, label, group=sizes, reference=reference)

    learned = data(train)
    best, figure = None, -1.0
    for leaves in LEAVES:
        settings = SETTINGS | {"objective": objective, "num_leaves": leaves, "metric": "None"}
        if ranks:
            settings["label_gain"] = (2.0**levels - 1.0).tolist()

        model = lightgbm.train(
            settings,
            learned,
            MOST_ROUNDS,
            valid_sets=[data(valid, learned)],
            feval=lambda scores, _: (METRIC, _ndcg(scores, valid), True),
            callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
        )
        reached = model.best_score["valid_0"][METRIC]
        logger.info(
            "%s, %d leaves: %d rounds, validation %.4f",
            objective,
            leaves,
            model.best_iteration,
            reached,
        )
        if reached > figure:
            best, figure = model, reached
    return best


def _ndcg(scores: np.ndarray, part: Part) -> float:
    values = per_list(scores, part.grades, part.offsets, metrics=(METRIC,))[METRIC]
    return float(np.nanmean(values))


if __name__ == "__main__":
    raise SystemExit(main())
