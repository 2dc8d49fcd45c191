"""Trains, evaluates and exports a ranker: `python -m mmrank.train --config FILE`."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmrank.config import ConfigError
from mmrank.data.tables import Dataset
from mmrank.data.validation import checked_dataset
from mmrank.evaluation.compared import check_compared
from mmrank.launch import (
    GivenConfig,
    check_init,
    data_folder,
    refuse_other_run,
    run_folder,
)
from mmrank.outputs import exit_code, log_progress
from mmrank.training.run_lock import locked_run
from mmrank.training.workers import Worker, WorkerLost, this_worker

if TYPE_CHECKING:
    from mmrank.job import Finished

logger = logging.getLogger("mmrank.train")

EXAMPLE = """\
example:
  python -m mmrank.train --config configs/quickstart.yaml
  python -m mmrank.train --data myshop
  python -m mmrank.train --config configs/quickstart.yaml --data data/shop --out runs/shop \\
      --set training.epochs=3 --set model.fusion.name=cross_attention
  python -m mmrank.train --config configs/quickstart.yaml --out runs/shop --resume
  python -m mmrank.train --config configs/quickstart.yaml --data data/new --init-from runs/shop

To train on several hosts, run the same command on each, with training.strategy multi_worker,
TF_CONFIG in the environment and --resume, which also starts a new run; see docs/scaling.md.

RUN holds config.yaml, schema.yaml, features.json, checkpoints/, logs/ (TensorBoard), metrics.json
and export/1/ (SavedModel). A run that was stopped or killed continues with --resume.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 wrong input or failed training, 130 interrupted."""
    args = _parser().parse_args(argv)
    log_progress()

    def job() -> None:
        try:
            _run(args)
        except WorkerLost as error:
            if argv is not None:  # called from Python: this process must not be replaced
                raise
            logger.warning("%s; this worker starts again and waits for the others", error)
            _restart()

    return exit_code(job, "finished epochs are kept; run the command with --resume to continue")


def _restart() -> None:
    """Replaces this process by a new one of this command, which resumes the run; never returns.

    In one process, TensorFlow cannot leave a cluster and join it again.
    """
    arguments = [*sys.argv[1:], *([] if "--resume" in sys.argv else ["--resume"])]
    os.execv(sys.executable, [sys.executable, "-m", "mmrank.train", *arguments])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.train",
        description="Trains a ranker, compares it with baselines and exports a SavedModel.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        type=pathlib.Path,
        metavar="FILE",
        help="config of the run (default: chosen for --data, logged, and saved in RUN; the same "
        "holds for a file without a section `model`)",
    )
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
        help="override a config value; may be repeated",
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        metavar="RUN",
        help="folder of the run (default: runs/CONFIG-N with the next free N)",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument(
        "--init-from",
        type=pathlib.Path,
        metavar="RUN",
        help="start from the weights of another run where features and vocabularies match",
    )
    return parser


def _run(args: argparse.Namespace) -> None:
    started = time.monotonic()
    if args.config is None and args.data is None and not args.resume:
        raise ConfigError("no dataset; give --data DIR, --config FILE or both")
    given = GivenConfig.read(args.config, args.set, args.out if args.resume else None)
    try:
        check_compared(given.config.evaluation.baselines)
    except ValueError as error:
        raise ConfigError(f"{given.name}: evaluation.baselines: {error}") from error
    worker = this_worker(given.config.training.strategy)
    if args.init_from is not None:
        check_init(args.init_from, args.resume, worker)
    name = args.config.stem if args.config is not None else ""
    if args.config is None and args.data is not None:
        name = args.data.absolute().name
    run = run_folder(args.out, args.resume, worker, name)
    if not worker.is_chief:  # only the chief writes the run
        _train(args, given, worker, run, started)
        return
    try:
        with locked_run(run, claimed=args.out is None):
            if args.out is not None and not args.resume:
                refuse_other_run(run)  # another training may have filled it since the first check
            _train(args, given, worker, run, started)
    finally:
        if args.out is None:
            with contextlib.suppress(OSError):
                run.parent.rmdir()  # only if it is empty


def _train(
    args: argparse.Namespace, given: GivenConfig, worker: Worker, run: pathlib.Path, started: float
) -> None:
    # ---- data
    dataset = checked_dataset(args.data or data_folder(given, run, worker))
    config = given.for_dataset(dataset)

    # ---- training, evaluation and export. Importing TensorFlow takes seconds, so it comes last.
    from mmrank.job import run_experiment
    from mmrank.training.strategy import make_strategy

    strategy = make_strategy(config.training.strategy)  # TensorFlow must join workers first
    finished = run_experiment(
        config,
        dataset,
        run,
        resume=args.resume,
        init_from=args.init_from,
        strategy=strategy,
        started=started,
    )
    if finished is None:
        logger.info("trained; the first worker evaluates and exports")
    else:
        _print(finished, dataset)


def _print(finished: Finished, dataset: Dataset) -> None:
    """Prints the figures of a run, where it is, how long it took and what comes next."""
    if finished.report is not None:
        print(finished.report.to_text())
    if finished.tasks.figures:
        print(finished.tasks.to_text())
    seconds, run = finished.seconds, finished.run.folder
    print(f"run       {run}")
    print(f"export    {finished.export}")
    print(
        f"time      data and training {seconds['training']:.0f} s, "
        f"evaluation {seconds['evaluation']:.0f} s, export {seconds['export']:.0f} s"
    )
    print(f"next      {_next_command(dataset, run)}")


def _next_command(dataset: Dataset, run: pathlib.Path) -> str:
    image = next((f.name for f in dataset.schema.features if f.kind == "image"), None)
    drop = f" --drop {image}" if image else ""
    split = "" if len(dataset.rows("test")) else " --split valid"
    return f"python -m mmrank.evaluate --run {run}{split}{drop}"


if __name__ == "__main__":
    raise SystemExit(main())
