"""Command line: plans online experiments and analyses their outcomes."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import pathlib
from collections.abc import Sequence
from typing import Any

from mmrank.config import ConfigError, apply_override, from_mapping
from mmrank.outputs import check_target, exit_code, log_progress, write_whole

logger = logging.getLogger("mmrank.experiment")
PAGE, USER = "page", "user"
EXAMPLE = """examples:
  python -m mmrank.experiment plan --proportion 0.04 --lift 0.05 --daily 10000
  python -m mmrank.experiment plan --mean 1.2 --sd 2.5 --units 20000
  python -m mmrank.experiment analyse --log logs --by version --metric clicks/pages \\
      --metric purchases --planned 160000 --window 7
  python -m mmrank.experiment analyse --table users.csv --unit user --by arm --metric revenue
  python -m mmrank.experiment interleaving --log logs

`COMMAND --help` explains the options of each.
"""
ANALYSE = """A metric is a column, whose mean by unit is compared, or two, such as clicks/pages,
whose sums are divided. A log of shown pages has the columns pages, clicks, carts, purchases, dwell
and reward, the groups version, model and policy, and the units user and page. With --planned, the
differences are also given for each day, in intervals that may be looked at every day.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 2 for wrong input, 130 when interrupted.

    Args:
      argv: The arguments; by default those of the process.
    """
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: args.run(args))


def _plan(args: argparse.Namespace) -> None:
    _check_json(args)
    if (args.mean is None) != (args.sd is None):
        raise ConfigError("--mean and --sd belong together; for a share of users: --proportion")
    if args.daily is not None and not args.daily > 0:
        raise ConfigError(f"--daily {args.daily}: expected a number above 0")

    from mmrank.experiments.power import plan_means, plan_proportions
    from mmrank.experiments.text import plan_text

    asked = {name: getattr(args, name) for name in ("lift", "units", "power", "alpha", "groups")}
    if args.proportion is not None:
        plan = plan_proportions(args.proportion, **asked)
    else:
        plan = plan_means(args.mean, args.sd, **asked)
    print(plan_text(plan, groups=args.groups, power=args.power, daily=args.daily))
    _write_json(args, dataclasses.asdict(plan))


def _analyse(args: argparse.Namespace) -> None:
    _check_json(args)
    _check_share("--alpha", args.alpha)
    if args.planned is not None and args.planned < 1:
        raise ConfigError(f"--planned {args.planned}: must be at least 1")
    if args.window is not None and not args.window >= 0:
        raise ConfigError(f"--window {args.window}: expected days, 0 or more")
    shares = None if args.shares is None else _shares(args.shares)

    import pandas as pd

    from mmrank.experiments.arms import compare_arms
    from mmrank.experiments.daily import daily_looks
    from mmrank.experiments.ratio_mismatch import check_shares
    from mmrank.experiments.text import arms_text, looks_text
    from mmrank.experiments.units import Metric, units_of

    metrics = [Metric.parse(text) for text in dict.fromkeys(args.metric)]
    frame, file = _table(args, metrics)
    window = args.window
    if args.planned is not None and window is None:
        if args.unit in frame and frame[args.unit].duplicated().any():
            raise ConfigError(
                f"--planned: some values of {args.unit!r} have several rows, so that outcomes grow "
                "from day to day; give --window, the days from the first row in which they count"
            )
        window = 0.0
    if window is not None and args.time is None:
        raise ConfigError("--window and --planned need --time, the column of the rows' times")
    units = units_of(
        frame,
        file,
        unit=args.unit,
        by=args.by,
        metrics=metrics,
        control=args.control,
        time=args.time,
        window=window,
        leave_out_mixed=args.leave_out_mixed,
    )
    for count, why in (
        (units.mixed, "in several groups"),
        (units.incomplete, "whose window is not over"),
    ):
        if count:
            logger.info("left out: %s units %s", f"{count:,}", why)
    if shares is not None and len(shares) != len(units.groups):
        raise ConfigError(f"--shares: {len(units.groups)} are needed: {', '.join(units.groups)}")
    counts = units.counts().tolist()
    p = check_shares(units.groups, counts, shares or [1.0] * len(counts))
    arms = compare_arms(units, metrics, alpha=args.alpha)
    print(arms_text(arms))
    print(f"\nsizes of the groups as expected: p = {p:.3f}")
    looks = []
    if args.planned is not None:
        looks = daily_looks(units, metrics, planned=args.planned, alpha=args.alpha)
        print(f"\nlooked at every day:\n{looks_text(looks, args.alpha)}")
    about = {"shares_p": p, "arms": arms, "looks": looks}
    _write_json(args, json.loads(pd.Series(about).to_json(default_handler=dataclasses.asdict)))


def _table(args: argparse.Namespace, metrics: Sequence[Any]) -> tuple[Any, str]:
    """The rows and name of a table or log; fills in `--unit`, `--by` and `--time` for a log."""
    if args.table is not None:
        from mmrank.data.reading import read_table

        if args.unit is None or args.by is None:
            raise ConfigError("--table: give --unit and --by, the columns of units and groups")
        if args.rewards:
            raise ConfigError("--rewards is for --log; a table has its own columns")
        numbers = [column for metric in metrics for column in metric.columns]
        frame = read_table(args.table, [args.unit, args.by], numbers=numbers)
        return frame, args.table.name

    from mmrank.experiments.log_table import page_table

    if args.time is not None:
        raise ConfigError("--time is for --table; a log has its own times")
    args.unit, args.by, args.time = args.unit or USER, args.by or "version", "time"
    for flag, value, known in (
        ("--unit", args.unit, (USER, PAGE)),
        ("--by", args.by, ("version", "model", "policy")),
    ):
        if value not in known:
            raise ConfigError(f"{flag} {value!r}: expected {', '.join(known)} with --log")
    log = _read_log(args.log)
    frame = page_table(log.pages, _rewards(args.rewards))
    shared = len(log.pages) - len(frame)
    if shared:
        logger.info("left out: %s interleaved pages", f"{shared:,}")
    return frame, str(args.log)


def _rewards(overrides: Sequence[str]) -> Any:
    from mmrank.reranking.users import Rewards

    plain: dict[str, Any] = {}
    for override in overrides:
        apply_override(plain, override)
    return from_mapping(Rewards, plain, "--rewards")


def _read_log(folder: pathlib.Path) -> Any:
    from mmrank.data.page_log import read_page_log

    log = read_page_log(folder)
    if log.left_out():
        logger.info("left out: %s", log.left_out())
    return log


def _interleaving(args: argparse.Namespace) -> None:
    _check_json(args)
    _check_share("--alpha", args.alpha)

    from mmrank.experiments.interleaved import preferences
    from mmrank.experiments.text import preferences_text

    log = _read_log(args.log)
    found = preferences(log.pages, unit=args.unit, alpha=args.alpha, seed=args.seed)
    print(preferences_text(found, args.unit))
    _write_json(args, [dataclasses.asdict(row) for row in found])


def _check_json(args: argparse.Namespace) -> None:
    if args.json is not None:
        check_target("--json", args.json, args.force)


def _write_json(args: argparse.Namespace, plain: Any) -> None:
    if args.json is not None:
        write_whole(args.json, json.dumps(plain, indent=2) + "\n")


def _check_share(flag: str, value: float) -> None:
    if not 0 < value < 1:
        raise ConfigError(f"{flag} {value}: expected a probability above 0 and below 1")


def _shares(text: str) -> list[float]:
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        shares = []
    if not shares or not all(0 < share < float("inf") for share in shares):
        raise ConfigError(f"--shares {text!r}: write it as 0.5,0.5, the control first")
    return shares


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.experiment",
        description="Plans online experiments and analyses their outcomes.",
        epilog=EXAMPLE,
        formatter_class=raw,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--alpha", type=float, default=0.05, help="probability of a false discovery (%(default)s)"
    )
    shared.add_argument(
        "--json", type=pathlib.Path, metavar="FILE", help="also write the figures as JSON"
    )
    shared.add_argument("--force", action="store_true", help="replace an existing file")

    plan = commands.add_parser("plan", parents=[shared], help="the size of an experiment")
    plan.set_defaults(run=_plan)
    outcome = plan.add_mutually_exclusive_group(required=True)
    outcome.add_argument("--mean", type=float, help="mean of the control, with --sd")
    outcome.add_argument("--proportion", type=float, help="share of the control's units")
    plan.add_argument(
        "--sd", type=float, help="standard deviation of a unit's outcome, in the wider group"
    )
    size = plan.add_mutually_exclusive_group(required=True)
    size.add_argument("--lift", type=float, help="relative difference to find, such as 0.02")
    size.add_argument("--units", type=int, help="units of each group: the smallest lift they find")
    plan.add_argument(
        "--power", type=float, default=0.8, help="probability of finding it (%(default)s)"
    )
    plan.add_argument(
        "--groups", type=int, default=2, help="number of groups with the control (%(default)s)"
    )
    plan.add_argument("--daily", type=float, help="units that come each day, in all groups")

    analyse = commands.add_parser(
        "analyse",
        parents=[shared],
        help="groups compared with the control",
        description=ANALYSE,
        formatter_class=raw,
    )
    analyse.set_defaults(run=_analyse)
    source = analyse.add_mutually_exclusive_group(required=True)
    source.add_argument("--log", type=pathlib.Path, help="folder of a log of shown pages")
    source.add_argument("--table", type=pathlib.Path, help="a table, .csv or .parquet")
    analyse.add_argument(
        "--metric", action="append", required=True, help="what is compared; may be repeated"
    )
    analyse.add_argument("--unit", metavar="COLUMN", help="what was assigned (log: user)")
    analyse.add_argument("--by", metavar="COLUMN", help="the groups (log: version)")
    analyse.add_argument("--control", metavar="GROUP", help="the control (the first by name)")
    analyse.add_argument("--shares", help="intended shares of the groups, such as 0.9,0.1 (equal)")
    analyse.add_argument("--time", metavar="COLUMN", help="times of a table's rows")
    analyse.add_argument(
        "--window",
        type=float,
        metavar="DAYS",
        help="days from a unit's first row in which its outcomes count (all)",
    )
    analyse.add_argument(
        "--planned",
        type=int,
        metavar="UNITS",
        help="units planned in all groups: adds intervals that may be looked at every day",
    )
    analyse.add_argument(
        "--leave-out-mixed", action="store_true", help="leave out units in several groups"
    )
    analyse.add_argument(
        "--rewards",
        action="append",
        default=[],
        metavar="A=B",
        help="worth of a click, a purchase or a second (dwell): click=1, purchase=5, dwell=0",
    )

    interleaving = commands.add_parser(
        "interleaving", parents=[shared], help="versions that shared pages"
    )
    interleaving.set_defaults(run=_interleaving)
    interleaving.add_argument("--log", type=pathlib.Path, required=True, help="folder of the log")
    interleaving.add_argument(
        "--unit", choices=(USER, PAGE), default=USER, help="what wins or loses (%(default)s)"
    )
    interleaving.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
