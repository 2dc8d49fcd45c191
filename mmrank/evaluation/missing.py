"""Measures how NDCG falls as a modality is removed from a growing share of the items."""

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

    from mmrank.trained_run import Run

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclasses.dataclass(frozen=True)
class MissingCurve:
    """NDCG@10 of some runs as a modality is removed from a growing share of the items.

    Attributes:
      modality: The feature.
      shares: Shares of the items with the feature from which it is removed, ascending.
      points: By run, one interval per share. A run without the feature has the same interval for
        all shares.

    Example:
      >>> from mmrank.evaluation.significance import Interval
      >>> all_photos, no_photos = Interval(0.9, 0.88, 0.92, 50), Interval(0.7, 0.67, 0.73, 50)
      >>> curve = MissingCurve("photo", (0.0, 1.0), {"ours": (all_photos, no_photos)})
      >>> print(curve.to_text())
      ndcg@10 with 'photo' removed from a share of the items that have it
      run                   0%                100%
      ours  0.900 [0.880 0.920]  0.700 [0.670 0.730]
    """

    modality: str
    shares: tuple[float, ...]
    points: Mapping[str, tuple[Interval, ...]]

    def to_text(self) -> str:
        """Returns a table with a row for every run."""
        width = max(len(name) for name in [*self.points, "run"])
        lines = [
            f"{HEADLINE} with {self.modality!r} removed from a share of the items that have it",
            "  ".join(["run".ljust(width), *(f"{share:>18.0%}" for share in self.shares)]),
        ]
        for name, points in self.points.items():
            cells = (f"{p.mean:.3f} [{p.low:.3f} {p.high:.3f}]" for p in points)
            lines.append("  ".join([name.ljust(width), *(f"{cell:>18}" for cell in cells)]))
        return "\n".join(lines)

    def plot(self, file: pathlib.Path) -> None:
        """Draws the curves with their intervals into a file; the file's suffix sets its format.

        Raises:
          ModuleNotFoundError: matplotlib is not installed.
          ValueError: The suffix is not that of a picture format.
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
        axes.set_xlabel(f"% of the items with {self.modality} from which it is removed")
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
    """Returns the curve of every run on the same lists, with the same items losing the modality.

    Items that lose the modality at a smaller share also lose it at every larger share.

    Args:
      runs: Runs by name. A run without the feature, for example one trained without it, is scored
        once.
      dataset: The dataset.
      rows: Rows of `dataset.lists`, whole lists.
      modality: An item feature that at least one run has.
      shares: Shares in [0, 1].
      seed: Seed of the order in which items lose the modality.
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
    """Returns the items that lose a modality, [items] bool.

    These are the first in `order` among the items that have it, up to the given share of them.

    Args:
      has: Which items have it, [items] bool.
      order: A permutation of the items, [items] int.
      share: In [0, 1].
    """
    owners = order[has[order]]
    removed = np.zeros(len(has), dtype=bool)
    removed[owners[: round(share * len(owners))]] = True
    return removed
