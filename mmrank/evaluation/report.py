"""The report of an evaluation, as a mapping for JSON and as tables of plain text."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmrank.evaluation.costs import Cost, choice_lines, cost_columns
from mmrank.evaluation.exposure import TOP, Exposure
from mmrank.evaluation.significance import Comparison, Interval

HEADLINE = "ndcg@10"
WIDTH = 100
_MEANING = {
    "skip": "excluded from the mean",
    "zero": "counted as 0",
    "one": "counted as 1",
}


@dataclasses.dataclass(frozen=True)
class SliceReport:
    """The metrics on one slice.

    Attributes:
      name, description, of: As in `Slice`.
      lists: Number of lists in the slice, excluding dropped lists.
      rows: Number of evaluated candidates in those lists.
      metrics: By scorer, then by metric. The model has every metric, the other scorers only
        NDCG@10, or the first metric if NDCG@10 is not among the metrics. Empty without a list.
      comparisons: The model against every other scorer under that one metric. Empty without a list.

    Example:
      >>> cold = SliceReport("cold items", "items without an event", "items", 0, 0, metrics={})
      >>> cold.lists, cold.comparisons
      (0, ())
    """

    name: str
    description: str
    of: str
    lists: int
    rows: int
    metrics: Mapping[str, Mapping[str, Interval]]
    comparisons: tuple[Comparison, ...] = ()


@dataclasses.dataclass(frozen=True)
class Report:
    """The results of an evaluation.

    Attributes:
      dataset: The dataset's name.
      split: The split or other name of the rows.
      lists: Number of lists.
      rows: Number of candidates.
      no_relevant: The convention for lists without a relevant item: skip, zero or one.
      relevant_grade: The lowest grade that counts as relevant for all metrics except NDCG.
      without_positive: Number of lists without a positive grade. The convention applies to their
        NDCG.
      without_relevant: Number of lists without a grade of at least `relevant_grade`. The convention
        applies to their other metrics.
      level: Coverage of the intervals.
      metrics: By scorer, then by metric. The first scorer is the model.
      comparisons: The model against every other scorer, under every metric.
      slices: The slices that apply.
      exposure: By scorer, the exposure of items in the top 10 of all lists together.
      costs: By scorer, its time to train and to score, its size, and how it was tuned.

    Example:
      >>> from mmrank.evaluation.significance import Interval
      >>> report = Report(
      ...     dataset="shop",
      ...     split="test",
      ...     lists=40,
      ...     rows=800,
      ...     no_relevant="skip",
      ...     relevant_grade=1.0,
      ...     without_positive=0,
      ...     without_relevant=0,
      ...     level=0.95,
      ...     metrics={"ours": {"ndcg@10": Interval(0.71, 0.64, 0.78, 40)}},
      ...     comparisons=(),
      ...     slices=(),
      ... )
      >>> lines = report.to_text().splitlines()
      >>> print(lines[0])
      shop, split test: 40 lists, 800 candidates
      >>> print(lines[-1])
      ndcg@10  0.710 [0.640 0.780]
      >>> report.to_dict()["metrics"]["ours"]["ndcg@10"]["mean"]
      0.71
    """

    dataset: str
    split: str
    lists: int
    rows: int
    no_relevant: str
    relevant_grade: float
    without_positive: int
    without_relevant: int
    level: float
    metrics: Mapping[str, Mapping[str, Interval]]
    comparisons: tuple[Comparison, ...]
    slices: tuple[SliceReport, ...]
    exposure: Mapping[str, Exposure] = dataclasses.field(default_factory=dict)
    costs: Mapping[str, Cost] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns a mapping for `json.dumps(..., allow_nan=False)`; undefined values are None."""
        mapping: dict[str, Any] = plain(dataclasses.asdict(self))
        return mapping

    def to_text(self) -> str:
        """Returns the report as plain text of at most 100 columns (unless names are very long)."""
        parts = [self._heading(), *self._metric_tables()]
        parts.extend(self._slice_tables())
        if self.exposure:
            parts.append(self._exposure_table())
        if self.costs:
            parts.append(text_table(cost_columns(self.costs)))
            if lines := choice_lines(self.costs, WIDTH):
                parts.append("\n".join(lines))
        if self.comparisons:  # last, since the end of the output is what a terminal shows
            parts.append(self._comparison_table())
        return "\n\n".join(parts) + "\n"

    def _heading(self) -> str:
        skipped = " (skipped)" if self.no_relevant == "skip" else ""
        return "\n".join(
            [
                f"{self.dataset}, split {self.split}: "
                f"{self.lists:,} lists, {self.rows:,} candidates",
                f"Lists without a relevant item: {_MEANING[self.no_relevant]} "
                f"(--no-relevant {self.no_relevant}).",
                f"  NDCG (no positive grade): {self.without_positive:,} lists{skipped}",
                f"  other metrics (no grade of {self.relevant_grade:g} or more): "
                f"{self.without_relevant:,} lists{skipped}",
                f"In brackets: {self.level:.0%} bootstrap intervals over lists.",
            ]
        )

    def _metric_tables(self) -> Iterable[str]:
        scorers = list(self.metrics)
        names = list(self.metrics[scorers[0]])
        columns = [
            [scorer, *(_interval(self.metrics[scorer][name]) for name in names)]
            for scorer in scorers
        ]
        return _blocks([["metric", *names]], columns)

    def _comparison_table(self) -> str:
        metric = HEADLINE if any(c.metric == HEADLINE for c in self.comparisons) else None
        shown = [c for c in self.comparisons if metric in (None, c.metric)]
        several = metric is None and len({c.metric for c in shown}) > 1
        columns = [
            ["compared", *(f"{c.a} - {c.b}" for c in shown)],
            *([["metric", *(c.metric for c in shown)]] if several else []),
            [
                "difference" if several else f"by {shown[0].metric}",
                *(_interval(c.difference, "+") for c in shown),
            ],
            ["relative", *(_number(c.relative, "+.1%") for c in shown)],
            ["p (paired)", *(_number(c.p_value, ".4f") for c in shown)],
            ["p (Holm)", *(_number(c.p_holm, ".4f") for c in shown)],
            ["won/tied/lost", *(f"{c.wins:,}/{c.ties:,}/{c.losses:,}" for c in shown)],
        ]
        return text_table(columns)

    def _slice_tables(self) -> Iterable[str]:
        shown = self.slices
        if not shown:
            return []
        scorers = list(self.metrics)
        metric = (
            HEADLINE
            if HEADLINE in self.metrics[scorers[0]]
            else next(iter(self.metrics[scorers[0]]))
        )
        fixed = [
            [f"{metric} by slice", *(part.name for part in shown)],
            ["lists", *(f"{part.lists:,}" for part in shown)],
        ]
        columns = [
            [
                scorer,
                *(_interval(p.metrics[scorer][metric]) if p.metrics else "-" for p in shown),
            ]
            for scorer in scorers
        ]
        return _blocks(fixed, columns)

    def _exposure_table(self) -> str:
        shown = self.exposure.values()
        return text_table(
            [
                [f"top {TOP}", *self.exposure],
                ["coverage", *(f"{e.coverage:.1%}" for e in shown)],
                ["Gini", *(_number(e.gini, ".3f") for e in shown)],
                ["mean log(1 + events)", *(_number(e.popularity, ".2f") for e in shown)],
                ["over candidates", *(_number(e.popularity_bias, ".2f") for e in shown)],
            ]
        )


def plain(value: Any) -> Any:
    """Returns the value for JSON, with numbers that are not finite replaced by None."""
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "-"


def _interval(value: Interval, sign: str = "") -> str:
    if not math.isfinite(value.mean):
        return "-"
    form = f"{sign}.3f"
    return f"{value.mean:{form}} [{value.low:{form}} {value.high:{form}}]"


def _blocks(fixed: Sequence[Sequence[str]], columns: Sequence[Sequence[str]]) -> list[str]:
    """Returns tables that each show the fixed columns and as many others as fit in `WIDTH`."""
    tables: list[str] = []
    room: list[Sequence[str]] = []
    for column in columns:
        if room and _width([*fixed, *room, column]) > WIDTH:
            tables.append(text_table([*fixed, *room]))
            room = []
        room.append(column)
    return [*tables, text_table([*fixed, *room])]


def _width(columns: Sequence[Sequence[str]]) -> int:
    return sum(max(map(len, column)) + 2 for column in columns) - 2


def text_table(columns: Sequence[Sequence[str]]) -> str:
    """Returns the columns as an aligned table: the first to the left, the others to the right.

    Example:
      >>> print(text_table([["scorer", "ours", "bm25"], ["ndcg@10", ".912", ".631"]]))
      scorer  ndcg@10
      ---------------
      ours       .912
      bm25       .631
    """
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in zip(*columns, strict=True)
    ]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(line.rstrip() for line in lines)
