"""A search over the settings of a ranker: `python -m mmrank.tune --config FILE --space FILE`."""

from __future__ import annotations

import argparse
import logging
import math
import os
import pathlib
import shlex
import sys
import time
from collections.abc import Sequence
from typing import Any

from mmrank.config import Config, ConfigError, apply_override, from_mapping, read_plain
from mmrank.data.validation import checked_dataset
from mmrank.evaluation.peers import PEERS
from mmrank.outputs import exit_code, log_progress, refuse_filled, require_extra
from mmrank.schema import load_schema
from mmrank.tuning.reading import read_space
from mmrank.tuning.space import STUDY_FILE, Space

logger = logging.getLogger("mmrank.tune")

EXAMPLE = """\
example:
  python -m mmrank.tune --config configs/quickstart.yaml --space configs/space.yaml \\
      --data data/shop --trials 40 --hours 8 --out runs/tuned
  python -m mmrank.train --config runs/tuned/best.yaml

The space names keys of the config, each with a range or a list of choices:
  training.learning_rate: {low: 3.0e-4, high: 1.0e-2, log: true}
  model.width: {low: 16, high: 64, step: 16}
  training.loss: [{name: softmax_loss}, {name: approx_ndcg_loss}]

Trial 0 uses the values of the config, as far as the space contains them. Each trial trains on the
training lists in its own process. Trials are compared by their best `training.select_metric` on
the validation lists; test lists are not read. A trial below the median of the others at the same
epoch is pruned. Run the same command again to continue, also after kill -9; a higher --trials adds
trials. --peers also tunes rankers of other libraries. OUT gets best.yaml, trials.csv,
importance.png, study.db, and trials/N/ with the log of each trial. The weights of the best trial
are kept.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 wrong input or no trial that ended, 130 interrupted."""
    args = _parser().parse_args(argv)
    command = shlex.join(["python", "-m", "mmrank.tune", *(sys.argv[1:] if argv is None else argv)])
    log_progress()
    return exit_code(
        lambda: _run(args, command),
        "finished trials are kept; run the command again to continue",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.tune",
        description="Searches for the best settings of a ranker by trials on the validation lists.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    path = pathlib.Path
    parser.add_argument(
        "--config", type=path, required=True, metavar="FILE", help="config of the ranker, in YAML"
    )
    parser.add_argument(
        "--space", type=path, required=True, metavar="FILE", help="the space to search, in YAML"
    )
    parser.add_argument(
        "--trials",
        type=int,
        required=True,
        metavar="N",
        help="number of trials, including those of earlier runs of the command",
    )
    parser.add_argument(
        "--hours",
        type=float,
        metavar="H",
        help="hours after which this command ends (default: no limit)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="J",
        help="trials that run at the same time (default: 1)",
    )
    parser.add_argument(
        "--data",
        type=path,
        metavar="DIR",
        help="prepared dataset (default: the config's data.path)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=C",
        help="override a value of the config; may be repeated",
    )
    parser.add_argument(
        "--peers",
        default="",
        metavar="NAMES",
        help="also tune these peers, separated by commas, with N trials each on the same "
        f"validation lists: {', '.join(PEERS)}",
    )
    parser.add_argument(
        "--out", type=path, required=True, metavar="OUT", help="folder of the search"
    )
    return parser


def _run(args: argparse.Namespace, command: str) -> None:
    began = time.monotonic()
    require_extra("mmrank.tune", "optuna", "tune")
    for option, least in (("trials", 1), ("jobs", 1)):
        if getattr(args, option) < least:
            raise ConfigError(f"--{option} {getattr(args, option)}: give {least} or more")
    if args.hours is not None and not (args.hours > 0 and math.isfinite(args.hours)):
        raise ConfigError(f"--hours {args.hours:g}: give a number above 0")
    peers = [name for name in args.peers.split(",") if name]
    for name in peers:
        PEERS.entry(name, "--peers")
        PEERS.check_installed(name)
    base, data = _base(args)
    space = read_space(args.space, base)
    schema = load_schema(data)
    if not (args.out / STUDY_FILE).is_file():
        refuse_filled(args.out)

    # This process and the trials share a GPU; by default TensorFlow would take all its memory.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

    # ---- checks of every value of the space. TensorFlow takes seconds to import.
    from mmrank.tuning.checks import check_space

    check_space(space, schema)
    checked_dataset(data)
    end = None if args.hours is None else began + 3600 * args.hours
    _search(args, command, space, data, end, peers)


def _base(args: argparse.Namespace) -> tuple[dict[str, Any], pathlib.Path]:
    """The config that trials begin with, and the path of the dataset that the config names."""
    plain = read_plain(args.config)
    for override in args.set:
        apply_override(plain, override)
    config = from_mapping(Config, plain, str(args.config))
    if plain.get("model") is None:
        raise ConfigError(
            f"{args.config}: has no section model; `python -m mmrank.suggest` writes a config "
            "with one"
        )
    if config.training.strategy == "multi_worker":
        raise ConfigError(f"{args.config}: training.strategy: a trial is trained on one host")
    data = args.data
    if data is None:
        if config.data.path is None:
            raise ConfigError(
                f"{args.config}: names no dataset; add --data DIR, a folder with a schema.yaml, "
                "such as `python -m mmrank.simulate` makes"
            )
        data = pathlib.Path(config.data.path)
    plain["data"] = {**(plain.get("data") or {}), "path": str(data.resolve()), "simulate": None}
    return plain, data


def _search(
    args: argparse.Namespace,
    command: str,
    space: Space,
    data: pathlib.Path,
    end: float | None,
    peers: Sequence[str],
) -> None:
    """Runs the trials, prints and draws the results; `end` is a time of `time.monotonic`."""
    from mmrank.tuning.checks import check_plain
    from mmrank.tuning.results import summary, write_importances, write_results
    from mmrank.tuning.search import Search
    from mmrank.tuning.study import fingerprints, open_study

    config = from_mapping(Config, space.base, space.name)
    schema = load_schema(data)
    metric = config.training.select_metric
    began_with = fingerprints(space, data, schema)
    with open_study(args.out, began_with, args.trials, config.seed) as study:
        search = Search(
            study,
            space,
            data,
            args.out,
            args.trials,
            args.jobs,
            check=lambda plain: check_plain(plain, schema, space.name),
            report=lambda: write_results(study, args.out, metric, command),
            end=end,
        )
        search.run()
        print(summary(study, args.out, metric))
        write_importances(study, args.out, metric)
        if peers:
            from mmrank.tuning.peers import tune_peers

            print(tune_peers(study, args.out, data, peers, args.trials))


if __name__ == "__main__":
    raise SystemExit(main())
