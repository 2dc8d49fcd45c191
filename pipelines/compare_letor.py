"""Trains one ranker per fold and reports NDCG over all folds under three conventions.

    python -m pipelines.compare_letor --config configs/letor.yaml --data data/mq2008 --out runs/mq

A list without a relevant document has no NDCG. `skip` excludes it; `zero` (LETOR's own script)
and `one` (LightGBM, XGBoost) count it as 0 and 1, which changes the mean although no ranking
changes. One table shows all three: the mean of the folds' means, as it is published, and the mean
over all lists with its interval. The baselines of the config are scored on the same lists.

With `--split valid` the folds' validation lists are reported and no test list is scored; use it to
choose a config.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mmrank.config import Config, apply_override, from_mapping, read_plain
from mmrank.data.tables import Dataset
from mmrank.data.validation import checked_dataset
from mmrank.defaults import default_config
from mmrank.evaluation.compared import compared_scores
from mmrank.evaluation.metrics import CONVENTIONS, per_list
from mmrank.evaluation.offline import label_grades, list_offsets
from mmrank.evaluation.significance import Comparison, bootstrap_intervals, compare
from mmrank.outputs import (
    InputError,
    exit_code,
    log_progress,
    refuse_filled,
    write_whole,
)

METRICS = ("ndcg@1", "ndcg@5", "ndcg@10")
MODEL = "model"
RESULT = "compare_letor.json"
EXAMPLE = """\
example:
  python -m pipelines.prepare_letor --source MQ2008 --out data/mq2008
  python -m pipelines.compare_letor --config configs/letor.yaml --data data/mq2008 --out runs/mq2008
  python -m pipelines.compare_letor --data data/mq2008 --out runs/default
  python -m pipelines.compare_letor --config configs/letor.yaml --data data/mq2008 \\
      --out runs/peers --set model.name=hybrid \\
      --set 'evaluation.baselines=[random, lambdamart, yetirank, xgboost]'
"""
Values = dict[str, dict[str, np.ndarray]]  # by scorer and metric, a value per list


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of the command line: 0, 2 for wrong input, 130 after Ctrl-C.

    Args:
      argv: The arguments; those of the process by default.
    """
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args), "the runs of finished folds are kept in --out")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.compare_letor",
        description="Trains a ranker on every fold and reports NDCG under three conventions.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        type=pathlib.Path,
        metavar="FILE",
        help="config of the rankers (default: chosen for the data, as by `mmrank.train`; the same "
        "holds for a file without a section `model`)",
    )
    parser.add_argument(
        "--data",
        required=True,
        type=pathlib.Path,
        metavar="DIR",
        help="folder of prepared folds, or one prepared dataset",
    )
    parser.add_argument("--out", required=True, type=pathlib.Path, help="new folder for all runs")
    parser.add_argument(
        "--split", default="test", choices=("valid", "test"), help="default: %(default)s"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="override a config value"
    )
    return parser


def folds_in(data: pathlib.Path) -> dict[str, pathlib.Path]:
    """The prepared folds in a folder by name; a folder that is one dataset has the name `lists`.

    Raises:
      InputError: The folder has no prepared dataset.
    """
    if (data / "schema.yaml").is_file():
        return {"lists": data}
    found = {f.name: f for f in data.glob("fold*") if (f / "schema.yaml").is_file()}
    if not found:
        raise InputError(
            f"{data}: no fold with a schema.yaml; `python -m pipelines.prepare_letor` makes folds"
        )
    return dict(sorted(found.items(), key=lambda f: int(re.sub(r"\D", "", f[0]) or 0)))


def list_values(dataset: Dataset, rows: pd.DataFrame, scores: Mapping[str, np.ndarray]) -> Values:
    """NDCG of every list by scorer, under names such as `ndcg@10 skip`.

    Args:
      dataset: The dataset.
      rows: Rows of its lists, whole lists.
      scores: By scorer, [rows].
    """
    grades = label_grades(dataset, rows, "grade")
    lists = dataset.schema.lists
    offsets = list_offsets(rows[lists.list])
    keys = pd.util.hash_pandas_object(rows[[lists.list, lists.item]], index=False).to_numpy()
    return {
        scorer: {
            f"{metric} {convention}": values
            for convention in CONVENTIONS
            for metric, values in per_list(
                given, grades, offsets, metrics=METRICS, no_relevant=convention, tie_keys=keys
            ).items()
        }
        for scorer, given in scores.items()
    }


def summary(folds: Sequence[Values]) -> dict[str, dict[str, dict[str, float]]]:
    """By scorer and metric: `folds`, the mean of the folds' means, and `lists` with its interval.

    Args:
      folds: The result of `list_values` for each fold.
    """
    pooled = together(folds)
    names = [(scorer, metric) for scorer, of in pooled.items() for metric in of]
    intervals = bootstrap_intervals(np.stack([pooled[s][m] for s, m in names], axis=1))
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for (scorer, metric), interval in zip(names, intervals, strict=True):
        means = [float(np.nanmean(fold[scorer][metric])) for fold in folds]
        figures.setdefault(scorer, {})[metric] = {
            "folds": float(np.mean(means)),
            "lists": interval.mean,
            "low": interval.low,
            "high": interval.high,
        }
    return figures


def together(folds: Sequence[Values]) -> Values:
    """The lists of all folds, one fold after the other."""
    return {
        scorer: {metric: np.concatenate([f[scorer][metric] for f in folds]) for metric in of}
        for scorer, of in folds[0].items()
    }


def to_text(
    figures: Mapping[str, Mapping[str, Mapping[str, float]]], tests: Sequence[Comparison]
) -> str:
    """The table, and the paired tests of the model against each other scorer."""
    width = max(len(scorer) for scorer in figures)
    head = "".join(f"{c:>30}" for c in CONVENTIONS)
    lines = [f"{'lists without relevance':<{width + 10}}{head}"]
    for metric in METRICS:
        for scorer, of in figures.items():
            cells = "".join(
                f"{_cell(of[f'{metric} {convention}']):>30}" for convention in CONVENTIONS
            )
            lines.append(f"{metric:<9} {scorer:<{width}}{cells}")
    lines.append("mean of folds, then mean over all lists with its 95% interval")
    lines += [
        f"{t.a} - {t.b}  {t.metric}  {t.difference.mean:+.3f} [{t.difference.low:+.3f} "
        f"{t.difference.high:+.3f}]  p {t.p_value:.4f}, by Holm {t.p_holm:.4f}"
        for t in tests
    ]
    return "\n".join(lines)


def _cell(figure: Mapping[str, float]) -> str:
    return (
        f"{figure['folds']:.3f}  {figure['lists']:.3f} [{figure['low']:.3f} {figure['high']:.3f}]"
    )


def _run(args: argparse.Namespace) -> None:
    refuse_filled(args.out)
    given = _given(args)
    folders = folds_in(args.data)

    from mmrank.job import check_data, check_job

    folds, seconds = [], {}
    for name, folder in folders.items():
        dataset = checked_dataset(folder)
        config = given(dataset)
        check_job(config, dataset.schema)
        check_data(config, dataset)
        started = time.monotonic()
        folds.append(_fold(config, dataset, args.out / name, args.split))
        seconds[name] = time.monotonic() - started
        reached = summary(folds[-1:])[MODEL]["ndcg@10 skip"]["lists"]
        print(f"{name}: ndcg@10 {reached:.4f} (skip)", flush=True)
    figures = summary(folds)
    pooled = together(folds)
    chosen = {scorer: {"ndcg@10 skip": of["ndcg@10 skip"]} for scorer, of in pooled.items()}
    tests = compare(chosen)
    result: dict[str, Any] = {
        "split": args.split,
        "seconds": seconds,
        "figures": figures,
        "p_values": {t.b: t.p_value for t in tests},
        "p_holm": {t.b: t.p_holm for t in tests},
    }
    write_whole(args.out / RESULT, json.dumps(result, indent=2) + "\n")
    print(f"\n{args.split} lists of {len(folds)} fold(s)\n{to_text(figures, tests)}")
    print(f"time      {sum(seconds.values()):.0f} s for training and scoring")


def _given(args: argparse.Namespace) -> Callable[[Dataset], Config]:
    """The config for a dataset: that of the file, or one chosen for the data."""
    plain = {} if args.config is None else read_plain(args.config)
    for override in args.set:
        apply_override(plain, override)
    config = from_mapping(Config, plain, "config" if args.config is None else str(args.config))
    if plain.get("model") is not None and args.config is not None:
        return lambda dataset: config
    return lambda dataset: default_config(dataset.schema, dataset, plain)


def _fold(config: Config, dataset: Dataset, run: pathlib.Path, split: str) -> Values:
    from mmrank.job import train

    trained = train(config, dataset, run)
    rows = dataset.rows(split)
    if rows.empty:
        raise InputError(f"{dataset.folder}: the split {split} has no lists")
    settings = config.evaluation
    compared = compared_scores(
        trained,
        dataset,
        rows,
        settings.baselines,
        trials=settings.peer_trials,
        seed=config.seed,
    )
    scores = {MODEL: trained.score(dataset, rows)} | compared.scores
    return list_values(dataset, rows, scores)


if __name__ == "__main__":
    sys.exit(main())
