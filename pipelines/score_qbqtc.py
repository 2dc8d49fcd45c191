"""Compares a run's scores with the labels of QBQTC over all judged pairs of query and title.

    python -m pipelines.score_qbqtc --run RUN

Lists show how a title ranks among titles of other queries. The source judges pairs: here the scores
of all pairs, across queries, are compared with their labels together.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from mmrank.data.splits import SPLITS
from mmrank.data.tables import DataError, load_dataset
from mmrank.evaluation.baselines import baseline_scores
from mmrank.outputs import exit_code

BASELINES = ("bm25", "random")


def pair_metrics(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Spearman's rank correlation, and ROC-AUC of label 1 or 2 and of only label 2.

    Args:
      labels: [pairs] 0, 1 or 2.
      scores: [pairs] finite.

    Returns:
      `spearman`, `auc_1` and `auc_2`; NaN if all labels are on one side.
    """
    metrics = {"spearman": float("nan")}
    if len(np.unique(labels)) > 1 and len(np.unique(scores)) > 1:
        metrics["spearman"] = float(spearmanr(labels, scores).statistic)
    for lowest in (1, 2):
        above = labels >= lowest
        metrics[f"auc_{lowest}"] = (
            float(roc_auc_score(above, scores)) if 0 < above.sum() < len(above) else float("nan")
        )
    return metrics


def report(rows: pd.DataFrame, scores: dict[str, np.ndarray]) -> str:
    """A line of metrics per scorer, over the rows that have a label.

    Args:
      rows: Candidate rows with `label`, missing if not judged.
      scores: By scorer, [rows].
    """
    judged = rows["label"].notna().to_numpy()
    labels = rows["label"][judged].to_numpy(dtype=np.int64)
    lines = [
        f"{judged.sum():,} judged pairs",
        f"{'':<10}{'Spearman':>10}{'AUC 1+':>10}{'AUC 2':>10}",
    ]
    for name, values in scores.items():
        metrics = pair_metrics(labels, values[judged])
        lines.append(f"{name:<10}" + "".join(f"{value:>10.3f}" for value in metrics.values()))
    return "\n".join(lines)


def _score(run_folder: pathlib.Path, data: pathlib.Path | None, split: str) -> None:
    from mmrank.trained_run import load_run

    run = load_run(run_folder)
    folder = run.data if data is None else data
    dataset = load_dataset(folder)
    rows = dataset.rows(split)
    if "label" not in rows or not rows["label"].notna().any():
        raise DataError(
            f"{folder}: the split {split!r} has no judged pairs; make the dataset with "
            "`python -m pipelines.prepare_qbqtc`"
        )
    # A score depends on its list, so whole lists are scored and the judged rows selected.
    scores = {"model": run.score(dataset, rows), **baseline_scores(dataset, rows, BASELINES)}
    print(report(rows, scores))


def main(argv: list[str] | None = None) -> int:
    """The exit code of the command line: 0, 2 for wrong input, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.score_qbqtc",
        description="Compares scores with the labels of all judged pairs.",
        epilog="example: python -m pipelines.score_qbqtc --run runs/qbqtc",
    )
    parser.add_argument("--run", type=pathlib.Path, required=True, help="folder of a trained run")
    parser.add_argument(
        "--data", type=pathlib.Path, help="folder of a prepared dataset (default: the run's own)"
    )
    parser.add_argument("--split", default="test", choices=SPLITS)
    args = parser.parse_args(argv)

    def run() -> int:
        _score(args.run, args.data, args.split)
        return 0

    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
