"""The weight of each feature in a run.

It is measured by how often the feature is present, how large its tokens are and how much it changes
scores.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mmrank.data.tables import Dataset
from mmrank.evaluation.offline import list_offsets

if TYPE_CHECKING:
    from mmrank.trained_run import Run

LISTS = 100


@dataclasses.dataclass(frozen=True)
class ModalityWeight:
    """The weight of one feature.

    Attributes:
      name: The feature.
      present: Share of the distinct items that have the feature; None if it is not an item feature.
      norm: Mean Euclidean norm of its tokens where it is present, after projection and layer
        normalisation, as fusion receives them; None if it is not an item feature or is never
        present.
      share: How much its absence changes scores relative to each other within a list (the standard
        deviation of the change, averaged over lists), as a share of the sum over all features.

    Example:
      >>> photo = ModalityWeight("photo", present=0.9, norm=2.5, share=0.25)
      >>> query = ModalityWeight("query", present=None, norm=None, share=0.75)
      >>> print(weights_table((photo, query)))
      feature  on items    norm   share
      query           -       -   75.0%
      photo         90%    2.50   25.0%
    """

    name: str
    present: float | None
    norm: float | None
    share: float


def modality_weights(
    run: Run, dataset: Dataset, rows: pd.DataFrame, lists: int = LISTS, seed: int = 0
) -> tuple[ModalityWeight, ...]:
    """Returns the weight of every feature of a run, in the run's order of features.

    Args:
      run: The run.
      dataset: The dataset.
      rows: Rows of `dataset.lists`, whole lists.
      lists: Maximum number of lists to use, chosen at random.
      seed: Seed of that choice.
    """
    offsets = list_offsets(rows[dataset.schema.lists.list])
    count = len(offsets) - 1
    chosen = np.random.default_rng(seed).permutation(count)[:lists]
    kept = np.zeros(count, dtype=bool)
    kept[chosen] = True
    sizes = np.diff(offsets)
    part = rows[np.repeat(kept, sizes)]
    starts = np.concatenate([[0], np.cumsum(sizes[kept])[:-1]])

    full = run.score(dataset, part)
    moves = {n: _move(full - run.score(dataset, part, drop=[n]), starts) for n in run.features}
    table = run.encode(dataset, part)
    norms = np.linalg.norm(table["tokens"].astype(np.float64), axis=-1)
    total = sum(moves.values())
    weights = []
    for name in run.features:
        present = norm = None
        if name in run.modalities:
            m = run.modalities.index(name)
            here = table["present"][:, m]
            present = float(here.mean())
            norm = float(norms[here, m].mean()) if here.any() else None
        weights.append(
            ModalityWeight(name, present, norm, moves[name] / total if total > 0 else 0.0)
        )
    return tuple(weights)


def weights_table(weights: tuple[ModalityWeight, ...]) -> str:
    """Returns the weights as a table of plain text, the largest share first."""
    width = max(len(w.name) for w in weights)
    lines = [f"{'feature'.ljust(width)}  on items    norm   share"]
    for weight in sorted(weights, key=lambda w: -w.share):
        present = "-" if weight.present is None else f"{weight.present:.0%}"
        norm = "-" if weight.norm is None else f"{weight.norm:.2f}"
        lines.append(f"{weight.name.ljust(width)}  {present:>8}  {norm:>6}  {weight.share:>6.1%}")
    return "\n".join(lines)


def _move(change: np.ndarray, starts: np.ndarray) -> float:
    """Returns the mean over lists of the standard deviation of a change of scores within a list.

    Args:
      change: Change of the scores, [rows].
      starts: Index of the first row of each list, [lists].
    """
    sizes = np.diff(np.concatenate([starts, [len(change)]]))
    change = change.astype(np.float64)
    centred = change - np.repeat(np.add.reduceat(change, starts) / sizes, sizes)
    return float(np.sqrt(np.add.reduceat(centred**2, starts) / sizes).mean())
