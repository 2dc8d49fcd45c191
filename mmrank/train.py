"""Trains, evaluates and exports a ranker: `python -m mmrank.train --config FILE`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import os
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from mmrank.config import (
    CONFIG_FILE,
    STATE_FILE,
    TEACHER_FOLDER,
    Config,
    ConfigError,
    apply_override,
    from_mapping,
    read_plain,
)
from mmrank.data.run_state import read_state
from mmrank.data.simulator import simulate
from mmrank.data.tables import Dataset
from mmrank.data.validation import checked_dataset
from mmrank.defaults import default_config
from mmrank.evaluation.compared import check_compared
from mmrank.outputs import exit_code, log_progress, refuse_filled
from mmrank.training.run_lock import LOCK, locked_run
from mmrank.training.workers import Worker, WorkerLost, this_worker, wait_for

logger = logging.getLogger("mmrank.train")

EXAMPLE = """\
example:
  python -m mmrank.train --config configs/quickstart.yaml
  python -m mmrank.train --data myshop
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
    parser.add_argument(
        "--config",
        type=pathlib.Path,
        metavar="FILE",
        help="what the run is like (default: chosen by what --data has, told, and kept in RUN; "
        "likewise for a file without a section `model`)",
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
    if args.config is None and args.data is None and not args.resume:
        raise ConfigError("name what to learn from: --data DIR, --config FILE or both")
    given = _Given.read(args)
    config = given.config
    try:
        check_compared(config.evaluation.baselines)
    except ValueError as error:
        raise ConfigError(f"{given.name}: evaluation.baselines: {error}") from error
    worker = this_worker(config.training.strategy)
    if args.init_from is not None:
        _check_init(args, worker)
    run = _run_folder(args, worker)
    if not worker.is_chief:  # only the first writes the run
        _train(args, given, worker, run, started)
        return
    try:
        with locked_run(run, claimed=args.out is None):
            if args.out is not None and not args.resume:
                _refuse_filled(run)  # by another training, since it was looked at
            _train(args, given, worker, run, started)
    finally:
        if args.out is None:
            with contextlib.suppress(OSError):
                run.parent.rmdir()  # if nothing came into it


def _train(
    args: argparse.Namespace, given: _Given, worker: Worker, run: pathlib.Path, started: float
) -> None:
    config = given.config

    # ---- data
    dataset = checked_dataset(_data_folder(args, config, run, worker))
    config = given.for_dataset(dataset)

    # ---- training. TensorFlow takes seconds to import, so wrong input is told before.
    from mmrank.job import check_data, check_job, measure_and_export, train
    from mmrank.training.strategy import make_strategy

    strategy = make_strategy(config.training.strategy)  # TensorFlow joins workers before all else
    check_job(config, dataset.schema)
    check_data(config, dataset)
    trained = train(config, dataset, run, args.resume, args.init_from, strategy)
    if not worker.is_chief:
        logger.info("trained; the first worker evaluates and exports")
        return

    # ---- evaluation and export
    finished = measure_and_export(trained, dataset, started)
    if finished.report is not None:
        print(finished.report.to_text())
    if finished.tasks.figures:
        print(finished.tasks.to_text())
    seconds = finished.seconds
    print(f"run       {run}")
    print(f"export    {finished.export}")
    print(
        f"time      data and training {seconds['training']:.0f} s, "
        f"evaluation {seconds['evaluation']:.0f} s, export {seconds['export']:.0f} s"
    )
    print(f"next      {_next_command(dataset, run)}")


@dataclasses.dataclass(frozen=True)
class _Given:
    """What the user's config says.

    Attributes:
      name: The file, for messages.
      config: It, with plain defaults where it says nothing.
      plain: What it says, if the rest is to be chosen by the dataset, or None.
    """

    name: str
    config: Config
    plain: Mapping[str, Any] | None

    @classmethod
    def read(cls, args: argparse.Namespace) -> _Given:
        """What `--config` and `--set` say; a run that goes on has its own choices already."""
        kept = None if args.out is None or not args.resume else args.out / CONFIG_FILE
        file = args.config
        if file is None and kept is not None and kept.is_file():
            file = kept
        name = "config" if file is None else str(file)
        plain: dict[str, Any] = {} if file is None else read_plain(file)
        chosen = plain.get("model") is None
        if chosen and kept is not None and kept.is_file():
            plain, chosen = read_plain(kept), False
        for override in args.set:
            apply_override(plain, override)
        return cls(name, from_mapping(Config, plain, name), plain if chosen else None)

    def for_dataset(self, dataset: Dataset) -> Config:
        """The config, what nobody gave chosen by what the dataset has."""
        if self.plain is None:
            return self.config
        return default_config(dataset.schema, dataset, self.plain)


def _run_folder(args: argparse.Namespace, worker: Worker) -> pathlib.Path:
    if worker.count > 1:
        if args.out is None:
            raise ConfigError(
                "several workers train one run: name its folder, a shared one, with --out"
            )
        if args.resume or not worker.is_chief:
            return args.out
    if args.resume:
        if args.out is None or _state_file(args.out) is None:
            raise ConfigError(
                "--resume goes on with a run: name its folder, which holds a state.json, with --out"
            )
        return args.out
    if args.out is not None:
        _refuse_filled(args.out)
        return args.out
    number = 1
    source = args.data.absolute().name if args.config is None else args.config.stem
    while True:
        folder = pathlib.Path("runs") / f"{source}-{number}"
        try:
            folder.mkdir(parents=True)  # in one step, so that no other training takes it too
        except FileExistsError:
            number += 1
        else:
            return folder


def _refuse_filled(out: pathlib.Path) -> None:
    try:
        refuse_filled(out, but=(LOCK,))
    except ValueError as error:
        raise ConfigError(f"{error}; or go on with it by --resume") from error


def _state_file(run: pathlib.Path) -> pathlib.Path | None:
    """That of a run or, where it had not begun yet, of its teacher; None where neither has."""
    files = (run / STATE_FILE, run / TEACHER_FOLDER / STATE_FILE)
    return next((file for file in files if file.is_file()), None)


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
    if (state := _state_file(run)) is not None:
        return pathlib.Path(read_state(state)["data"])
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
