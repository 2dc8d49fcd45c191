"""A table of what compression costs and saves, and a check that it does not cost too much."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mmrank.data.tables import DataError, Dataset
from mmrank.evaluation.offline import evaluate_scores
from mmrank.evaluation.significance import Interval
from mmrank.outputs import UserError

METRIC = "ndcg@10"
MEGABYTE = 2**20


class CompressionRefused(UserError):
    """Raised if a compressed ranker loses too much NDCG@10, or cannot become smaller.

    Example:
      >>> check_loss("int8", Quality(ndcg=0.76, loss=0.05), most=0.01)
      Traceback (most recent call last):
      mmrank.compression.report.CompressionRefused: int8 loses 5.00% of NDCG@10 ...
    """


@dataclasses.dataclass(frozen=True)
class Measured:
    """The size and latency of a ranker.

    Attributes:
      size: Bytes of its files.
      packed: Bytes of their archive, compressed by gzip: the amount to transfer.
      milliseconds: Median time to rank one list of candidates whose tokens are stored.
    """

    size: int
    packed: int
    milliseconds: float


@dataclasses.dataclass(frozen=True)
class Quality:
    """NDCG@10 of a compressed ranker, compared with the ranker before compression.

    Attributes:
      ndcg: The mean over the lists that have a relevant item.
      change: Mean of the difference, with its interval; None for the first ranker.
      loss: Share of the first ranker's NDCG@10 that is lost; negative for a gain.
    """

    ndcg: float
    change: Interval | None = None
    loss: float = 0.0


def qualities(
    dataset: Dataset, rows: pd.DataFrame, label: str, scores: Mapping[str, np.ndarray]
) -> dict[str, Quality]:
    """Returns the quality of each scorer, compared with the first scorer's, by name.

    Args:
      dataset: The dataset.
      rows: Some of the dataset's lists.
      label: The label whose values are the grades.
      scores: Scores [rows] by scorer.

    Raises:
      DataError: The first scorer's NDCG@10 is not above 0, as without a relevant item.
    """
    found: dict[str, Quality] = {}
    (first, before), *others = scores.items()
    for name, after in others or [(first, before)]:
        report = evaluate_scores(
            dataset,
            rows,
            {"after": after, "before": before},
            label=label,
            metrics=(METRIC,),
            with_slices=False,
        )
        old, new = (report.metrics[n][METRIC].mean for n in ("before", "after"))
        if not old > 0:
            raise DataError(
                f"{dataset.folder}: NDCG@10 is {old} on the validation lists, so no loss can be "
                "measured; the lists must include one with a relevant item that the ranker finds"
            )
        found.setdefault(first, Quality(old))
        if others:
            (comparison,) = report.comparisons
            found[name] = Quality(new, comparison.difference, (old - new) / old)
    return found


def check_loss(name: str, quality: Quality, most: float) -> None:
    """Checks that a compressed ranker has not lost too much NDCG@10.

    Args:
      name: The ranker's name in the message.
      quality: The ranker's quality.
      most: Share of the NDCG@10 that may be lost.

    Raises:
      CompressionRefused: The ranker lost more.
    """
    if quality.loss > most:
        raise CompressionRefused(
            f"{name} loses {quality.loss:.2%} of NDCG@10 on the validation lists, more than "
            f"{most:.2%}, so nothing was exported; compress less, or allow it with --max-loss "
            f"{np.ceil(quality.loss * 1000) / 1000:g}"
        )


def as_table(
    qualities: Mapping[str, Quality], measured: Mapping[str, Measured], notes: Sequence[str] = ()
) -> str:
    """Returns a table of size, latency and NDCG@10, a row a ranker.

    Values that were not measured are dashes.
    """
    width = max(map(len, qualities))
    head = f"{'':{width}}  {'MB':>8}  {'gzip MB':>8}  {'ms':>8}  ndcg@10"
    lines = [f"{head}  change [95% of the difference]"]
    for name, quality in qualities.items():
        taken = measured.get(name)
        figures = (
            ("–", "–", "–")
            if taken is None
            else (
                f"{taken.size / MEGABYTE:.2f}",
                f"{taken.packed / MEGABYTE:.2f}",
                f"{taken.milliseconds:.2f}",
            )
        )
        change = ""
        if quality.change is not None:
            low, high = quality.change.low, quality.change.high
            change = f"{-quality.loss:+.2%} [{low:+.4f} {high:+.4f}]"
        cells = "  ".join(f"{figure:>8}" for figure in figures)
        lines.append(f"{name:{width}}  {cells}  {quality.ndcg:>7.4f}  {change}".rstrip())
    return "\n".join([*lines, *notes])
