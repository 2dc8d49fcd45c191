"""The costs of a scorer: time to train and to score, size, and how it was tuned."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Tuning:
    """How a scorer's settings were chosen.

    Attributes:
      trials: How many settings were tried.
      space: The values that the settings were drawn from.
      choice: The chosen settings, and what training chose itself, such as the number of rounds.
      validation: NDCG@10 of the choice on the validation lists, by which it was chosen.
    """

    trials: int
    space: Mapping[str, Sequence[Any]]
    choice: Mapping[str, Any]
    validation: float


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a scorer costs on this machine; None for a cost that is unknown or does not apply.

    Attributes:
      train_seconds: Time to train it once, with the chosen settings.
      tune_seconds: Time of all trials together.
      score_seconds: Time to score all rows of the evaluation, without the time counted in
        `feature_seconds`.
      feature_seconds: Time to make the features of these rows, if several scorers share them.
      size: Bytes of the trained model.
      tuning: How its settings were chosen.
    """

    train_seconds: float | None = None
    tune_seconds: float | None = None
    score_seconds: float | None = None
    feature_seconds: float | None = None
    size: int | None = None
    tuning: Tuning | None = None


def cost_columns(costs: Mapping[str, Cost]) -> list[list[str]]:
    """Returns the costs as columns of a table, with one row per scorer."""
    shown = costs.values()
    tunings = [c.tuning for c in shown]
    return [
        ["cost", *costs],
        ["trained in", *(_seconds(c.train_seconds) for c in shown)],
        ["tuned in", *(_seconds(c.tune_seconds) for c in shown)],
        ["features in", *(_seconds(c.feature_seconds) for c in shown)],
        ["scored in", *(_seconds(c.score_seconds) for c in shown)],
        ["size", *(_bytes(c.size) for c in shown)],
        ["trials", *("-" if t is None else str(t.trials) for t in tunings)],
        ["valid ndcg@10", *("-" if t is None else f"{t.validation:.3f}" for t in tunings)],
    ]


def choice_lines(costs: Mapping[str, Cost], width: int) -> list[str]:
    """Returns the settings of every tuned scorer, in lines of at most `width` characters."""
    lines = []
    for name, cost in costs.items():
        if cost.tuning is not None:
            choices = ", ".join(f"{key} {_value(v)}" for key, v in cost.tuning.choice.items())
            lines += textwrap.wrap(f"{name}: {choices}", width, subsequent_indent="  ")
    return lines


def _value(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return "-".join(map(str, value))
    return str(value)


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f} s" if value >= 10 else f"{value:.2f} s"


def _bytes(value: int | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1e6:.1f} MB" if value >= 1e6 else f"{value / 1e3:.0f} kB"
