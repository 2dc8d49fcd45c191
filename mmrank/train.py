"""Trains, evaluates and exports a ranker: `python -m mmrank.train --config FILE`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import pathlib
import sys
import time
from collections.abc import Sequence

from mmrank.config import STATE_FILE, Config, ConfigError, load_config
from mmrank.data.simulator import simulate
from mmrank.data.tables import DataError, Dataset, load_dataset
from mmrank.data.validation import validate_dataset
from mmrank.evaluation.baselines import baseline_scores, check_names
from mmrank.evaluation.offline import evaluate_scores
from mmrank.outputs import exit_code, log_progress, refuse_filled, write_whole
from mmrank.training.workers import Worker, WorkerLost, this_worker, wait_for

logger = logging.getLogger("mmrank.train")

EXAMPLE = """\
example:
  python -m mmrank.train --config configs/quickstart.yaml
  python -m mmrank.train --config configs/quickstart.yaml --data data/shop --out runs/shop \\
      --set training.epochs=3 --set model.fusion.name=cross_attention
  python -m mmrank.train --config configs/quickstart.yaml --out runs/shop --resume
  python -m mmrank.train --config configs/quickstart.yaml --data data/new --init-from runs/shop

Over several hosts the same command runs on each, with training.strategy multi_worker, TF_CONFIG in
the environment and --resume, which begins a run that has not begun; see docs/scaling.md.

RUN holds config.yaml, schema.yaml, features.json, checkpoints/, logs/ (TensorBoard), metrics.json
and export/1/ (SavedModel). A run that was stopped or killed goes on with --resume.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 wrong input or failed training, 130 interrupted."""
    args = _parser().parse_args(argv)
    log_progress()

    def job() -> None:
        try:
            _run(args)
        except WorkerLost as error:
            if argv is not None:  # called from Python, whose process is not ours to replace
                raise
            logger.warning("%s; this one starts again and waits for the others", error)
            _start_again()

    return exit_code(job, "a finished epoch is kept: the same command with --resume goes on")


def _start_again() -> None:
    """Becomes a new process of this command, which goes on with the run; never returns.

    TensorFlow cannot leave a cluster and join it once more in one process.
    """
    again = [*sys.argv[1:], *([] if "--resume" in sys.argv else ["--resume"])]
    os.execv(sys.executable, [sys.executable, "-m", "mmrank.train", *again])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.train",
        description="Trains a ranker, compares it with baselines and exports a SavedModel.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", required=True, type=pathlib.Path, metavar="FILE")
    parser.add_argument(
        "--data",
        type=pathlib.Path,
        metavar="DIR",
        help="prepared dataset (default: data.path of the config, or the shop it simulates)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=C",
        help="override a value of the config; may be repeated",
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        metavar="RUN",
        help="folder of the run (default: runs/CONFIG-N, N counting up)",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument(
        "--init-from",
        type=pathlib.Path,
        metavar="RUN",
        help="begin with the weights of another run, as far as features and words are the same",
    )
    return parser


def _run(args: argparse.Namespace) -> None:
    started = time.monotonic()
    config = load_config(args.config, args.set)
    try:
        check_names(config.evaluation.baselines)
    except ValueError as error:
        raise ConfigError(f"{args.config}: evaluation.baselines: {error}") from error
    worker = this_worker(config.training.strategy)
    run = _run_folder(args, worker)
    if args.init_from is not None:
        _check_init(args, worker)

    # ---- data
    folder = _data_folder(args, config, run, worker)
    report = validate_dataset(folder)
    logger.info("%s", report)
    report.raise_if_errors()
    dataset = load_dataset(folder)

    # ---- training. TensorFlow takes seconds to import, so wrong input is told before.
    from mmrank.build import check_config
    from mmrank.evaluation.calibration import calibrate, check_calibration
    from mmrank.evaluation.tasks import ranking_label, report_tasks
    from mmrank.training.callbacks import State
    from mmrank.training.loop import train_run
    from mmrank.training.strategy import make_strategy

    strategy = make_strategy(config.training.strategy)  # TensorFlow joins workers before all else
    check_config(config)
    check_calibration(config.evaluation.calibration)
    run.mkdir(parents=True, exist_ok=True)
    lists = None
    if config.data.records is not None:
        from mmrank.records.source import RecordLists

        lists = RecordLists(config, dataset, run)
    best = train_run(config, dataset, run, args.resume, args.init_from, lists, strategy)
    if not worker.is_chief:
        logger.info("trained; the first worker evaluates and exports")
        return
    best = calibrate(best, dataset, config.evaluation.calibration)
    state = State.load(run / STATE_FILE)
    trained = time.monotonic()

    # ---- evaluation
    split = config.evaluation.split
    rows = dataset.rows(split)
    if rows.empty:
        raise DataError(f"{folder}: the split {split!r} has no list; set evaluation.split")
    logger.info("scoring %s", split)
    scores = {"model": best.score(dataset, rows)}
    scores |= baseline_scores(
        dataset, rows, config.evaluation.baselines, best.fitted.as_of(dataset)
    )
    table = evaluate_scores(
        dataset,
        rows,
        scores,
        split=split,
        label=ranking_label(dataset, config),
        no_relevant=config.evaluation.no_relevant,
        relevant_grade=config.evaluation.relevant_grade,
    )
    tasks = report_tasks(dataset, rows, {"model": best})
    evaluated = time.monotonic()
    figures = {
        "seconds": {"training": trained - started, "evaluation": evaluated - trained},
        f"validation_{config.training.select_metric}": state.best,
        "epochs": state.epoch,
        "tasks": tasks.to_dict(),
    } | table.to_dict()
    write_whole(run / "metrics.json", json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    print(table.to_text())
    if tasks.figures:
        print(tasks.to_text())

    # ---- export
    from mmrank.serving.export import export_run

    exported = export_run(best, run / "export", dataset)
    print(f"run       {run}")
    print(f"export    {exported}")
    print(
        f"time      data and training {trained - started:.0f} s, "
        f"evaluation {evaluated - trained:.0f} s, export {time.monotonic() - evaluated:.0f} s"
    )
    print(f"next      {_next_command(dataset, run)}")


def _run_folder(args: argparse.Namespace, worker: Worker) -> pathlib.Path:
    if worker.count > 1:
        if args.out is None:
            raise ConfigError(
                "several workers train one run: name its folder, a shared one, with --out"
            )
        if args.resume or not worker.is_chief:
            return args.out
    if args.resume:
        if args.out is None or not (args.out / "state.json").is_file():
            raise ConfigError(
                "--resume goes on with a run: name its folder, which holds a state.json, with --out"
            )
        return args.out
    if args.out is not None:
        try:
            refuse_filled(args.out)
        except ValueError as error:
            raise ConfigError(f"{error}; or go on with it by --resume") from error
        return args.out
    number = 1
    while (folder := pathlib.Path("runs") / f"{args.config.stem}-{number}").exists():
        number += 1
    return folder


def _check_init(args: argparse.Namespace, worker: Worker) -> None:
    if args.resume and worker.count == 1:
        raise ConfigError("--resume knows what the run began with; leave --init-from out")
    if not (args.init_from / STATE_FILE).is_file():
        raise ConfigError(
            f"--init-from {args.init_from}: no {STATE_FILE}, so this is not the folder of a run"
        )


def _data_folder(
    args: argparse.Namespace, config: Config, run: pathlib.Path, worker: Worker
) -> pathlib.Path:
    """The dataset's folder; the simulated shop is made if the config asks for it."""
    if args.data is not None:
        return args.data
    if not worker.is_chief and config.data.path is None:
        wait_for(run / STATE_FILE)  # the first worker makes the shop
    if (run / STATE_FILE).is_file():
        return pathlib.Path(json.loads((run / STATE_FILE).read_text(encoding="utf-8"))["data"])
    if config.data.path is not None:
        return pathlib.Path(config.data.path)
    if config.data.simulate is None:
        raise ConfigError(
            f"{args.config}: names no data; add --data DIR, a folder with a schema.yaml"
        )
    folder = run / "data"
    if not folder.is_dir():
        shop = config.data.simulate
        logger.info("simulating a shop of %d items in %s", shop.items, folder)
        run.mkdir(parents=True, exist_ok=True)
        simulate(folder, **dataclasses.asdict(shop))
    return folder


def _next_command(dataset: Dataset, run: pathlib.Path) -> str:
    image = next((f.name for f in dataset.schema.features if f.kind == "image"), None)
    drop = f" --drop {image}" if image else ""
    return f"python -m mmrank.evaluate --run {run}{drop}"


if __name__ == "__main__":
    raise SystemExit(main())
