"""Draws ROC and precision–recall curves as a picture, with one line per scorer."""

from __future__ import annotations

import pathlib

from mmrank.evaluation.classify import Classification

PICTURES = (".png", ".svg", ".pdf")


def plot_curves(file: pathlib.Path, found: Classification) -> None:
    """Draws both curves side by side into a file; the file's suffix sets its format.

    Args:
      file: A file whose suffix is one of `PICTURES`.
      found: The classifiers. Those without curves are left out.

    Raises:
      ModuleNotFoundError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), layout="constrained")
    roc, pr = figure.subplots(1, 2)
    for one in found.classifiers:
        if one.curves is None:
            continue
        drawn = one.curves
        roc.plot(drawn.false_positive_rate, drawn.recall, label=f"{one.name} ({drawn.roc_auc:.3f})")
        (line,) = pr.plot(
            drawn.recall,
            drawn.precision,
            drawstyle="steps-pre",
            label=f"{one.name} ({drawn.average_precision:.3f})",
        )
        if one.at is not None:
            pr.plot([one.at.recall], [one.at.precision], "o", color=line.get_color())
    roc.plot([0, 1], [0, 1], "k--", linewidth=0.8)
    roc.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    pr.set(xlabel="recall", ylabel="precision", title="precision and recall", ylim=(0, 1.02))
    for axes in (roc, pr):
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(file)
