"""A plot of propensities: one line with an interval for each estimate."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np

from mmrank.propensity.estimate import Propensities


def plot_propensities(
    file: pathlib.Path, estimates: Sequence[Propensities], truth: np.ndarray | None = None
) -> None:
    """Draws propensities by position into a file; the file's ending chooses the format.

    Args:
      file: A .png, .svg or .pdf file.
      estimates: The estimates; each becomes a line with an interval.
      truth: The true propensities [K] relative to position 1, if they are known.

    Raises:
      ModuleNotFoundError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    if truth is not None:
        axes.plot(np.arange(1, len(truth) + 1), truth, "k--", label="truth", linewidth=1)
    for found in estimates:
        position = np.arange(1, len(found.propensity) + 1)
        (line,) = axes.plot(position, found.propensity, marker=".", label=found.method)
        axes.fill_between(
            position, found.low, found.high, color=line.get_color(), alpha=0.15, linewidth=0
        )
    axes.set_yscale("log")
    axes.set_xlabel("position")
    axes.set_ylabel("propensity relative to position 1, 95% interval")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(file)
