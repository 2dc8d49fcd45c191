"""Compares a model of several tasks with one of a single task on pages of a simulated shop.

The single-task model has the same config with only the compared task. The shop's pages are divided
again by time, so that the test lists have enough purchases to distinguish the models. The figure is
the ROC-AUC of the task, such as purchase.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mmrank.config import Config, ConfigError, load_config
from mmrank.data.simulator import simulate
from mmrank.data.tables import Dataset, load_dataset
from mmrank.evaluation.baselines import baseline_scores
from mmrank.outputs import (
    UserError,
    exit_code,
    log_progress,
    new_folder,
    refuse_filled,
    write_whole,
)
from mmrank.schema import Feature, save_schema

TEXT_SCORE = "text_score"
RESULT = "compare_tasks.json"
TRAIN, VALID = 0.6, 0.1
EXAMPLE = """example:
  python -m pipelines.compare_tasks --config configs/shop_tasks.yaml --out runs/compare_tasks

On two cores: two minutes per model, two models per seed.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 2 for wrong input, 130 when interrupted.

    Args:
      argv: The arguments; those of the process by default.
    """
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args), "finished results are kept in --out")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.compare_tasks",
        description="Compares a model of several tasks with one of a single task.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", required=True, type=pathlib.Path, metavar="FILE")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="new folder for all runs")
    parser.add_argument("--task", default="purchase", help="task to compare (default: %(default)s)")
    parser.add_argument(
        "--seeds", type=int, default=1, help="models of each kind (default: %(default)s)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="override a config value"
    )
    return parser


def single(config: Config, task: str) -> Config:
    """The same config with only one task, which depends on no other.

    Raises:
      ConfigError: The config does not have the task, or has only that one.
    """
    tasks = config.training.tasks
    if task not in tasks or len(tasks) < 2:
        raise ConfigError(
            f"--task {task}: the config must have this task and others, but training.tasks has "
            f"{', '.join(tasks) or 'none'}"
        )
    alone = dataclasses.replace(tasks[task], given=None, weight=1.0)
    training = dataclasses.replace(
        config.training, tasks={task: alone}, task_weights="fixed", select_by=None
    )
    model = dataclasses.replace(config.model, order=None)
    return dataclasses.replace(config, training=training, model=model)


def split_by_time(lists: pd.DataFrame) -> np.ndarray:
    """The split of every row: the first 60% of the lists train, the next 10% choose the weights.

    Args:
      lists: With columns list_id and time.
    """
    first = lists.groupby("list_id")["time"].first().rank(method="first", pct=True)
    share = lists["list_id"].map(first).to_numpy()
    return np.select([share <= TRAIN, share <= TRAIN + VALID], ["train", "valid"], "test")


def make_shop(config: Config, folder: pathlib.Path) -> Dataset:
    """The config's simulated shop in a new folder, its lists divided by `split_by_time`.

    Candidates get a pair feature `text_score`, the BM25 of query and product, as a shop's search
    engine would pass it on: there are too few clicks to learn two languages from random weights.

    Raises:
      ConfigError: The config simulates no shop.
    """
    if config.data.simulate is None:
        raise ConfigError("data.simulate: the comparison needs a simulated shop; give its size")
    with new_folder(folder) as partial:
        shop = partial / "shop"
        simulate(shop, **dataclasses.asdict(config.data.simulate))
        lists = pd.read_parquet(shop / "lists.parquet")
        lists["split"] = split_by_time(lists)
        dataset = load_dataset(shop)
        # Loading makes the rows of a list adjacent, as they already are in the file.
        lists[TEXT_SCORE] = baseline_scores(dataset, dataset.lists, ["bm25"])["bm25"]
        lists.to_parquet(shop / "lists.parquet", index=False)
        feature = Feature(TEXT_SCORE, "number", "pair", TEXT_SCORE)
        schema = dataset.schema
        save_schema(dataclasses.replace(schema, features=(*schema.features, feature)), shop)
    return load_dataset(folder / "shop")


def summary(reports: Sequence[dict[str, Any]], task: str) -> list[dict[str, Any]]:
    """The mean ROC-AUC of both models and of their differences, for each part of the candidates.

    Args:
      reports: `TaskReport.to_dict` of every seed, with the scorers `tasks` and `alone`.
      task: The compared task.
    """
    found: dict[str, dict[str, list[float]]] = {}
    counts: dict[str, dict[str, int]] = {}
    for report in reports:
        for figures in report["figures"]:
            if figures["task"] == task and figures["figures"]["auc"] is not None:
                part = found.setdefault(figures["part"], {})
                part.setdefault(figures["scorer"], []).append(figures["figures"]["auc"])
                counts[figures["part"]] = {n: figures[n] for n in ("rows", "positives")}
    return [
        {
            "part": part,
            **counts[part],
            "tasks": float(np.mean(values["tasks"])),
            "alone": float(np.mean(values["alone"])),
            "difference": float(np.mean(values["tasks"]) - np.mean(values["alone"])),
        }
        for part, values in found.items()
    ]


def _run(args: argparse.Namespace) -> None:
    if args.seeds < 1:
        raise UserError(f"--seeds {args.seeds}: must be at least 1")
    refuse_filled(args.out)
    config = load_config(args.config, args.set)
    configs = {"tasks": config, "alone": single(config, args.task)}

    from mmrank.config_checks import check_config
    from mmrank.evaluation.calibration import calibrate
    from mmrank.evaluation.tasks import report_tasks
    from mmrank.training.loop import train_run

    for one in configs.values():
        check_config(one)
    args.out.mkdir(parents=True, exist_ok=True)
    dataset = make_shop(config, args.out / "data")
    rows, reports = dataset.rows("test"), []
    for seed in range(config.seed, config.seed + args.seeds):
        runs = {}
        for name, one in configs.items():
            folder = args.out / f"{name}-{seed}"
            folder.mkdir()
            trained = train_run(dataclasses.replace(one, seed=seed), dataset, folder)
            runs[name] = calibrate(trained, dataset, config.evaluation.calibration)
        report = report_tasks(dataset, rows, runs)
        print(f"seed {seed}\n\n{report.to_text()}", flush=True)
        reports.append(report.to_dict())
    means = summary(reports, args.task)
    text = json.dumps({"mean": means, "seeds": reports}, indent=2, allow_nan=False)
    write_whole(args.out / RESULT, text + "\n")
    print(f"ROC-AUC of {args.task}, mean over {args.seeds} seed(s)")
    for line in means:
        print(
            f"  {line['part']:<40} {line['positives']:>6,} of {line['rows']:>8,}  "
            f"tasks {line['tasks']:.4f}  alone {line['alone']:.4f}  {line['difference']:+.4f}"
        )


if __name__ == "__main__":
    sys.exit(main())
