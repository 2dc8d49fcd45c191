"""Debiasing with a known truth: what position bias costs, and how much of it is recovered.

Simulates a shop that shows its bestsellers first, estimates examination propensities from its
log, trains one small ranker on raw clicks, on debiased clicks and on true grades, and ranks the
same test lists with each. The exit code is 0 if both hold:

- the propensities by `harvest` are within 10% of the simulator's at positions 1 to 10;
- the ranker whose clicks are weighted by the inverse of these propensities recovers at least half
  of the gap in NDCG@10 between raw clicks and true grades.

Models that learn from clicks also select their epoch by clicks: only the model of true grades and
the evaluation read true grades.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import pathlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm

from mmrank.config import Config, Loss, PositionBias, Task, load_config
from mmrank.data.simulator import simulate
from mmrank.data.simulator.clicks import ClickModel
from mmrank.data.tables import Dataset, load_dataset
from mmrank.outputs import (
    UserError,
    exit_code,
    log_progress,
    refuse_filled,
    require_extra,
    write_whole,
)
from mmrank.propensity import METHODS
from mmrank.propensity.estimate import Propensities, estimate
from mmrank.propensity.log import ClickLog, read_log
from mmrank.propensity.plot import plot_propensities
from mmrank.propensity.table import write_propensities
from pipelines.debias_report import DebiasReport

logger = logging.getLogger("mmrank.debias_shop")
CONFIG = pathlib.Path(__file__).parent.parent / "configs" / "shop_clicks.yaml"
ITEMS, USERS, SEED = 600, 400, 7
# Position k is examined with probability 1 / k. Sales weigh as much as the words of a query, and
# one page in ten is in random order. The simulator's milder defaults leave little bias to correct.
ETA, SALES_WEIGHT, RANDOMISED = 1.0, 1.0, 0.1
POSITIONS = 15
CLIP = 0.03
EXAMPLE = """example:
  python -m pipelines.debias_shop --out runs/debias

On two cores: about six minutes. OUT has the shop, propensities-METHOD.csv, propensities.png, a run
for each model, report.md and report.json.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0 if both figures are reached, else 1; 2 for wrong input, 130 interrupted.

    Args:
      argv: The arguments; those of the process by default.
    """
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args), "finished results are kept in --out")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.debias_shop",
        description="Compares models of raw clicks, debiased clicks and true grades.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", required=True, type=pathlib.Path, help="new folder for results")
    parser.add_argument(
        "--queries", type=int, default=40_000, metavar="N", help="logged pages (default 40000)"
    )
    parser.add_argument(
        "--resamples",
        type=int,
        default=20,
        metavar="N",
        help="bootstrap resamples for the intervals of propensities (default 20)",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="override a config value"
    )
    return parser


def variants(config: Config, table: pathlib.Path) -> dict[str, Config]:
    """The configs to compare by name, which differ only in what they learn from.

    Args:
      config: The common config.
      table: File of the propensities for the weights.
    """
    softmax, tower = Loss("softmax_loss"), PositionBias("tower")
    tasks: dict[str, Mapping[str, Task]] = {
        "raw clicks": {"click": Task(loss=softmax)},
        "inverse propensity": {
            "click": Task(loss=softmax, position_bias=PositionBias("ipw", str(table), CLIP))
        },
        "position tower": {"click": Task(loss=softmax, position_bias=tower)},
        "click EM": {"click": Task(loss=Loss("click_em_loss"), position_bias=tower)},
        "true grades": {"grade": Task(loss=softmax)},
    }
    return {
        name: dataclasses.replace(
            config, training=dataclasses.replace(config.training, tasks=learned)
        )
        for name, learned in tasks.items()
    }


def _run(args: argparse.Namespace) -> int:
    require_extra("the plot", "matplotlib", "plots")
    if args.resamples < 2:
        raise UserError(f"--resamples {args.resamples}: must be at least 2")
    config = load_config(CONFIG, args.set)
    refuse_filled(args.out)
    args.out.mkdir(parents=True, exist_ok=True)
    _simulate(args.out / "shop", args.queries)
    truth = ClickModel(eta=ETA).examination(np.arange(1, POSITIONS + 1))

    log = read_log(args.out / "shop", positions=POSITIONS, randomised="randomised")
    found = [_estimated(args.out, log, method, args.resamples) for method in METHODS]
    plot_propensities(args.out / "propensities.png", found, truth)

    configs = variants(config, args.out / "propensities-harvest.csv")
    dataset = load_dataset(args.out / "shop")
    scores = {name: _scores(args.out, name, one, dataset) for name, one in configs.items()}
    report = DebiasReport.of(dataset, scores, found, truth, _about(args.queries))
    write_whole(args.out / "report.json", report.to_json())
    write_whole(args.out / "report.md", report.to_text())
    print(report.to_text())
    return 0 if report.reached else 1


def _simulate(folder: pathlib.Path, queries: int) -> None:
    logger.info("simulating %d pages", queries)
    with tqdm(total=queries + ITEMS, unit="step", desc="pages", disable=None) as bar:
        simulate(
            folder,
            ITEMS,
            queries,
            USERS,
            SEED,
            bar.update,
            eta=ETA,
            sales_weight=SALES_WEIGHT,
            randomised=RANDOMISED,
            match=True,
        )


def _estimated(out: pathlib.Path, log: ClickLog, method: str, resamples: int) -> Propensities:
    logger.info("propensities by %s", method)
    found = estimate(log, method, resamples=resamples)
    write_propensities(out / f"propensities-{method}.csv", found)
    return found


def _scores(out: pathlib.Path, name: str, config: Config, dataset: Dataset) -> np.ndarray:
    """The scores of the test rows by a model trained as a config says."""
    import tensorflow as tf

    from mmrank.config_checks import check_config
    from mmrank.training.loop import train_run

    logger.info("training on %s", name)
    check_config(config)
    folder = out / name.replace(" ", "-")
    folder.mkdir()
    scores = train_run(config, dataset, folder).score(dataset, dataset.rows("test"))
    tf.keras.backend.clear_session()
    return scores


def _about(queries: int) -> dict[str, float]:
    return {
        "pages": queries,
        "items": ITEMS,
        "eta": ETA,
        "sales_weight": SALES_WEIGHT,
        "randomised": RANDOMISED,
        "clip": CLIP,
        "seed": SEED,
    }


if __name__ == "__main__":
    sys.exit(main())
