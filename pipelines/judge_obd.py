"""Judges one policy from the log of another on the Open Bandit Dataset, where both ran."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from mmrank.data.reading import read_table
from mmrank.outputs import InputError, exit_code
from mmrank.reranking.judging import Estimate, LoggedPages, estimate, overlap_of, verdicts

EXAMPLE = """\
example:
  python -m pipelines.judge_obd --data obd

DATA has {random,bts}/CAMPAIGN/CAMPAIGN.csv.gz, as the small version of the Open Bandit Dataset in
the package `obp` (obp/dataset/obd): impressions of the fashion shop ZOZOTOWN under uniformly random
recommendations and under Thompson sampling (bts). Each policy's click rate is estimated from the
other's log, and compared with its own log. A row is one item at one position.

Source: Saito et al., "Open Bandit Dataset and Pipeline: towards realistic and reproducible
off-policy evaluation" (NeurIPS 2021, datasets and benchmarks): the task, and the relative error.
"""
CAMPAIGNS = ("all", "men", "women")
COLUMNS = ("item_id", "position", "click", "propensity_score")
NAMES = ("inverse_propensity", "self_normalised", "direct", "doubly_robust", "switch_doubly_robust")
FOLDS = 3
PERCENT = 100


@dataclasses.dataclass(frozen=True)
class Log:
    """The impressions of one policy in one campaign.

    Attributes:
      items, positions: From 0, [n] int.
      clicks: [n] float.
      propensity: Probability of the item at this position, [n].
    """

    items: np.ndarray
    positions: np.ndarray
    clicks: np.ndarray
    propensity: np.ndarray


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 good, 2 wrong input, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.judge_obd",
        description="Estimates the click rate of one policy from the log of another.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument(
        "--campaigns", default=",".join(CAMPAIGNS), help="comma-separated (default %(default)s)"
    )
    args = parser.parse_args(argv)
    return exit_code(lambda: _run(args.data, args.campaigns.split(",")))


def _run(folder: pathlib.Path, campaigns: Sequence[str]) -> None:
    for campaign in campaigns:
        random, bts = (read_log(folder, policy, campaign) for policy in ("random", "bts"))
        for name, log, own in (("random", bts, random), ("bts", random, bts)):
            print(report(campaign, name, log, own), end="\n\n", flush=True)


def read_log(folder: pathlib.Path, policy: str, campaign: str) -> Log:
    """Returns the log of a policy in a campaign.

    Raises:
      DataError: The file cannot be read.
      InputError: It lacks a column, or a value is not a number.
    """
    file = folder / policy / campaign / f"{campaign}.csv.gz"
    rows = read_table(file)
    values = {}
    for column in COLUMNS:
        if column not in rows:
            raise InputError(f"{file}: no column {column!r}; is this the Open Bandit Dataset?")
        values[column] = pd.to_numeric(rows[column], errors="coerce").to_numpy(float)
        if np.isnan(values[column]).any():
            row = int(np.flatnonzero(np.isnan(values[column]))[0]) + 1
            raise InputError(f"{file}, column {column!r}, row {row}: not a number; download again")
    return Log(
        values["item_id"].astype(int),
        values["position"].astype(int) - 1,
        values["click"],
        values["propensity_score"],
    )


def report(campaign: str, name: str, log: Log, own: Log) -> str:
    """Returns the estimates of a policy's click rate as text.

    Args:
      campaign: The campaign.
      name: The policy that is judged, `random` or `bts`.
      log: The other policy's log.
      own: Its own log, whose click rate is the truth.
    """
    judged = judged_rows(name, log, own)
    truth = on_policy(own)
    overlap = overlap_of(judged)
    lines = [
        f"{campaign}: {name}, {len(own.clicks):,} rows of its own with {own.clicks.sum():.0f} "
        f"clicks: {_percent(truth)}",
        f"judged from {overlap.pages:,} rows with {log.clicks.sum():.0f} clicks, worth "
        f"{overlap.effective:.0f}; highest weight {judged.weights().max():.0f}, mean "
        f"{overlap.mean_weight:.2f}",
        f"{'estimator':<24}{'click rate (%)':<26}relative error",
    ]
    for said in verdicts(judged, NAMES):
        if said.reward is None:
            lines.append(f"{said.estimator:<24}refused: {said.refusal}")
        else:
            error = abs(said.reward.mean / truth.mean - 1)
            lines.append(f"{said.estimator:<24}{_percent(said.reward):<26}{error:.1%}")
    return "\n".join(lines)


def on_policy(log: Log) -> Estimate:
    """Returns a policy's click rate in its own log."""
    one = np.ones([len(log.clicks), 1])
    return estimate(LoggedPages(log.clicks[:, np.newaxis], one, one), "inverse_propensity")


def judged_rows(name: str, log: Log, own: Log) -> LoggedPages:
    """Returns a log with the probabilities of the policy that is judged.

    The random policy's are equal. Those of Thompson sampling, which sees no users but changes as it
    learns, are the shares of the items at each position of its own log.

    Args:
      name, log, own: As for `report`.
    """
    count = int(max(log.items.max(), own.items.max())) + 1
    positions = int(max(log.positions.max(), own.positions.max())) + 1
    if name == "random":
        policy = np.full((positions, count), 1 / count)
    else:
        policy = np.zeros((positions, count))
        np.add.at(policy, (own.positions, own.items), 1.0)
        policy /= policy.sum(-1, keepdims=True)
    rate = click_rates(log, positions, count)
    row = np.arange(len(log.items))

    def column(values: np.ndarray) -> np.ndarray:
        return values[:, np.newaxis]

    return LoggedPages(
        rewards=column(log.clicks),
        logged=column(log.propensity),
        judged=column(policy[log.positions, log.items]),
        predicted=column(rate[row, log.positions, log.items]),
        expected=column((policy * rate).sum(-1)[row, log.positions]),
    )


def click_rates(log: Log, positions: int, count: int) -> np.ndarray:
    """Returns the rates that a logistic regression predicts, [rows, positions, items].

    It reads item and position, and predicts each row from the other folds.
    """
    given = np.stack([log.items, log.positions], -1)
    asked = np.stack(np.meshgrid(np.arange(positions), np.arange(count), indexing="ij"), -1)
    asked = asked.reshape(-1, 2)[:, ::-1]
    fold = np.random.default_rng(0).permutation(len(given)) % FOLDS
    rates = np.empty((FOLDS, positions, count))
    for number in range(FOLDS):
        model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
        model.fit(given[fold != number], log.clicks[fold != number])
        rates[number] = model.predict_proba(asked)[:, 1].reshape(positions, count)
    return rates[fold]


def _percent(found: Estimate) -> str:
    mean, low, high = (PERCENT * value for value in (found.mean, found.low, found.high))
    return f"{mean:.3f}" if np.isnan(low) else f"{mean:.3f} [{low:.3f} {high:.3f}]"


if __name__ == "__main__":
    sys.exit(main())
