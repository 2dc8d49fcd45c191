"""The report of the debiasing experiment: propensities against the truth, and the recovered gap."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence

import numpy as np

from mmrank.data.tables import Dataset
from mmrank.evaluation.metrics import per_list
from mmrank.evaluation.offline import list_offsets
from mmrank.evaluation.report import HEADLINE
from mmrank.evaluation.significance import (
    Comparison,
    Interval,
    bootstrap_intervals,
    compare,
)
from mmrank.propensity.estimate import Propensities

RAW, TRUE, DEBIASED, METHOD = "raw clicks", "true grades", "inverse propensity", "harvest"
TOP = 10  # positions whose propensities are judged
WITHIN, SHARE = 0.10, 0.50
RESAMPLES, SEED = 1_000, 0


@dataclasses.dataclass(frozen=True)
class DebiasReport:
    """The figures of one experiment.

    Attributes:
      about: How the shop was simulated.
      truth: True propensities relative to position 1, [K].
      propensities: The estimates by method, [K] each.
      errors: By method, the largest relative error at positions 1 to 10.
      ndcg: NDCG@10 by model on the test lists, by true grades.
      against_raw: The paired test of every other model against raw clicks.
      shares: By model, the share of the gap between raw clicks and true grades that it recovers,
        with its bootstrap interval over lists.
    """

    about: Mapping[str, float]
    truth: tuple[float, ...]
    propensities: Mapping[str, tuple[float, ...]]
    errors: Mapping[str, float]
    ndcg: Mapping[str, Interval]
    against_raw: tuple[Comparison, ...]
    shares: Mapping[str, Interval]

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        scores: Mapping[str, np.ndarray],
        found: Sequence[Propensities],
        truth: np.ndarray,
        about: Mapping[str, float],
    ) -> DebiasReport:
        """The report on the scores of several models for the test rows.

        Args:
          dataset: The shop.
          scores: By model, [rows]; they include raw clicks and true grades.
          found: The estimated propensities.
          truth: The true ones [K], relative to position 1.
          about: How the shop was simulated.
        """
        rows = dataset.rows("test")
        grades = rows[dataset.schema.feature("grade").column].to_numpy(np.float64)
        offsets = list_offsets(rows[dataset.schema.lists.list])
        values = {
            name: per_list(one.astype(np.float64), grades, offsets, metrics=[HEADLINE])
            for name, one in scores.items()
        }
        names = list(values)
        table = np.stack([values[name][HEADLINE] for name in names], 1)
        compared = []
        for name in names:
            if name != RAW:
                compared += compare({name: values[name], RAW: values[RAW]})
        return cls(
            about=dict(about),
            truth=tuple(map(float, truth)),
            propensities={p.method: tuple(map(float, p.propensity)) for p in found},
            errors={
                p.method: float(np.abs(p.propensity[:TOP] / truth[:TOP] - 1).max()) for p in found
            },
            ndcg=dict(zip(names, bootstrap_intervals(table), strict=True)),
            against_raw=tuple(compared),
            shares={
                name: recovered(table[:, names.index(RAW)], one, table[:, names.index(TRUE)])
                for name, one in zip(names, table.T, strict=True)
                if name not in (RAW, TRUE)
            },
        )

    @property
    def reached(self) -> bool:
        """Whether both figures are reached: the error of `harvest`, and the share of its model."""
        return self.errors[METHOD] <= WITHIN and self.shares[DEBIASED].mean >= SHARE

    def to_json(self) -> str:
        """The figures as JSON."""
        plain = dataclasses.asdict(self) | {"reached": self.reached}
        return json.dumps(plain, indent=2) + "\n"

    def to_text(self) -> str:
        """The figures as Markdown."""
        settings = ", ".join(f"{name} {value:g}" for name, value in self.about.items())
        lines = ["# Debiasing on a simulated shop", "", settings, "", *self._propensity_table(), ""]
        lines += ["| trained on | NDCG@10 | against raw clicks | gap recovered |"]
        lines += ["| --- | --- | --- | --- |"]
        tests = {c.a: c for c in self.against_raw}
        for name, mean in self.ndcg.items():
            test = tests.get(name)
            change = "" if test is None else f"{_cell(test.difference)}, p = {test.p_value:.4f}"
            share = _cell(self.shares[name], percent=True) if name in self.shares else ""
            lines.append(f"| {name} | {_cell(mean)} | {change} | {share} |")
        lines += [
            "",
            f"- {self._verdict(self.errors[METHOD] <= WITHIN)}: the propensities by {METHOD} are "
            f"within {self.errors[METHOD]:.1%} of the truth at positions 1 to {TOP} "
            f"(required: {WITHIN:.0%}).",
            f"- {self._verdict(self.shares[DEBIASED].mean >= SHARE)}: {DEBIASED} recovers "
            f"{self.shares[DEBIASED].mean:.0%} of the gap (required: {SHARE:.0%}).",
        ]
        return "\n".join(lines) + "\n"

    def _propensity_table(self) -> list[str]:
        methods = list(self.propensities)
        lines = [
            "| position | truth | " + " | ".join(methods) + " |",
            "| --- " * (2 + len(methods)) + "|",
        ]
        for k in range(min(TOP, len(self.truth))):
            cells = (f"{self.propensities[m][k]:.3f}" for m in methods)
            lines.append(f"| {k + 1} | {self.truth[k]:.3f} | " + " | ".join(cells) + " |")
        errors = (f"{self.errors[m]:.1%}" for m in methods)
        return [*lines, "| largest error | | " + " | ".join(errors) + " |"]

    def _verdict(self, reached: bool) -> str:
        return "reached" if reached else "NOT reached"


def recovered(raw: np.ndarray, debiased: np.ndarray, true: np.ndarray) -> Interval:
    """The share (debiased − raw) / (true − raw) of means, with its bootstrap interval over lists.

    Args:
      raw, debiased, true: A metric of each list, NaN where it has none, [lists].
    """
    values = np.stack([raw, debiased, true], 1)
    values = values[~np.isnan(values).any(1)]

    def share(means: np.ndarray) -> np.ndarray:
        return (means[..., 1] - means[..., 0]) / (means[..., 2] - means[..., 0])

    rng = np.random.default_rng(SEED)
    drawn = np.stack(
        [values[rng.integers(len(values), size=len(values))].mean(0) for _ in range(RESAMPLES)]
    )
    low, high = np.percentile(share(drawn), (2.5, 97.5))
    return Interval(float(share(values.mean(0))), float(low), float(high), len(values))


def _cell(value: Interval, percent: bool = False) -> str:
    form = ".0%" if percent else ".3f"
    return f"{value.mean:{form}} [{value.low:{form}} {value.high:{form}}]"
