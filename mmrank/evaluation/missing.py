"""How the order holds as a modality goes missing: NDCG by the share of items that lost it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mmrank.data.tables import Dataset
from mmrank.evaluation.offline import evaluate_scores
from mmrank.evaluation.report import HEADLINE
from mmrank.evaluation.significance import Interval

if TYPE_CHECKING:
    import pathlib

    from mmrank.build import Run

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclasses.dataclass(frozen=True)
class MissingCurve:
    """NDCG@10 of some runs as a modality goes missing.

    Attributes:
      modality: The feature.
      shares: Shares of the items that have it from which it is taken, ascending.
      points: By run, one interval a share; a run without the feature has the same one throughout.
    """

    modality: str
    shares: tuple[float, ...]
    points: Mapping[str, tuple[Interval, ...]]

    def to_text(self) -> str:
        """A table with a row for every run."""
        width = max(len(name) for name in [*self.points, "run"])
        lines = [
            f"{HEADLINE} as {self.modality!r} is taken from a share of the items that have it",
            "  ".join(["run".ljust(width), *(f"{share:>18.0%}" for share in self.shares)]),
        ]
        for name, points in self.points.items():
            cells = (f"{p.mean:.3f} [{p.low:.3f} {p.high:.3f}]" for p in points)
            lines.append("  ".join([name.ljust(width), *(f"{cell:>18}" for cell in cells)]))
        return "\n".join(lines)

    def plot(self, file: pathlib.Path) -> None:
        """Draws the curves with their intervals into a file, its kind by its ending.

        Raises:
          ModuleNotFoundError: matplotlib is not there.
          ValueError: The ending names no kind of picture.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.add_subplot()
        share = 100 * np.array(self.shares)
        for name, points in self.points.items():
            (line,) = axes.plot(share, [p.mean for p in points], marker="o", label=name)
            low, high = [p.low for p in points], [p.high for p in points]
            axes.fill_between(share, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        axes.set_xticks(share)
        axes.set_xlabel(f"{self.modality} removed from % of the items that have it")
        axes.set_ylabel(f"{HEADLINE}, 95% interval over lists")
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(file)


def missing_curve(
    runs: Mapping[str, Run],
    dataset: Dataset,
    rows: pd.DataFrame,
    modality: str,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
) -> MissingCurve:
    """The curve of every run on the same lists, with the same items losing the modality.

    What is taken at a smaller share is taken at a larger one too.

    Args:
      runs: By name. One without the feature, trained without it, say, is scored once.
      dataset: The dataset.
      rows: Rows of `dataset.lists`, whole lists.
      modality: An item feature that at least one run has.
      shares: Shares in [0, 1].
      seed: Seed of the order in which items lose it.
    """
    order = np.random.default_rng(seed).permutation(len(dataset.catalog))
    points: dict[str, tuple[Interval, ...]] = {}
    for name, run in runs.items():
        if modality in run.features:
            has = run.has(dataset, modality)
            scores = {
                f"{share}": run.score(dataset, rows, hidden={modality: taken(has, order, share)})
                for share in shares
            }
        else:
            scores = dict.fromkeys(map(str, shares), run.score(dataset, rows))
        report = evaluate_scores(
            dataset, rows, scores, metrics=[HEADLINE], with_slices=False, permutations=1
        )
        points[name] = tuple(report.metrics[f"{share}"][HEADLINE] for share in shares)
    return MissingCurve(modality, tuple(shares), points)


def taken(has: np.ndarray, order: np.ndarray, share: float) -> np.ndarray:
    """The items that lose a modality, [items] bool: the first `share` in `order` that have it.

    Args:
      has: Which items have it, [items] bool.
      order: A permutation of the items, [items] int.
      share: In [0, 1].
    """
    owners = order[has[order]]
    gone = np.zeros(len(has), dtype=bool)
    gone[owners[: round(share * len(owners))]] = True
    return gone
