"""Makes one report from the scores of a model and of its baselines on the same lists."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mmrank.config import Config
from mmrank.data.frequency import counts_at_lists
from mmrank.data.tables import DataError, Dataset
from mmrank.evaluation.exposure import Exposure, exposure
from mmrank.evaluation.metrics import DEFAULT_METRICS, per_list, rank
from mmrank.evaluation.report import HEADLINE, Report, SliceReport
from mmrank.evaluation.significance import (
    LEVEL,
    PERMUTATIONS,
    RESAMPLES,
    Interval,
    bootstrap_intervals,
    compare,
)
from mmrank.evaluation.slices import ALWAYS, Slice, find_slices
from mmrank.outputs import shown

Values = dict[str, dict[str, np.ndarray]]


def evaluate_scores(
    dataset: Dataset,
    rows: pd.DataFrame,
    scores: Mapping[str, np.ndarray],
    *,
    split: str = "test",
    label: str = "grade",
    metrics: Sequence[str] = DEFAULT_METRICS,
    no_relevant: str = "skip",
    relevant_grade: float = 1.0,
    with_slices: bool = True,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Report:
    """Returns the report on the scorers: metrics with intervals, paired tests and slices.

    Args:
      dataset: The dataset.
      rows: Candidate rows of the dataset, whole lists, for example `dataset.rows("test")`.
      scores: By scorer, finite scores in the order of the rows, [rows]. The first scorer is the
        model; the paired test compares it with every other scorer.
      split: Name of the rows in the report.
      label: The label whose values are the grades; for dwell the grades are log(1 + seconds).
      metrics: Names as in `mmrank.evaluation.metrics`.
      no_relevant: The convention for lists without a relevant item: skip, zero or one.
      relevant_grade: The lowest grade that counts as relevant for all metrics except NDCG.
      with_slices: Whether the report includes slices and exposure.
      level: Coverage of the intervals.
      resamples: Number of bootstrap resamples.
      permutations: Number of sign patterns of the paired test.
      seed: Seed of resamples, sign patterns and the order of ties.

    Raises:
      DataError: There are no rows, the rows of a list are not consecutive, a grade is negative or
        not finite, or a score is not finite.
      SchemaError: The schema does not have the label.
      ValueError: There is no scorer, scores have the wrong shape, or a metric or the convention is
        unknown.

    Example:
      >>> from mmrank.data.simulator import simulate
      >>> from mmrank.data.tables import load_dataset
      >>> _ = simulate("shop", items=60, queries=40, users=5)
      >>> dataset = load_dataset("shop")
      >>> rows = dataset.rows("test")
      >>> truth = rows["grade"].to_numpy(float)
      >>> scores = {"ideal": truth, "worst": -truth}
      >>> report = evaluate_scores(dataset, rows, scores, with_slices=False)
      >>> report.metrics["ideal"]["ndcg@10"].mean
      1.0
    """
    if not scores:
        raise ValueError("there are no scores to evaluate")
    schema = dataset.schema
    if len(rows) == 0:
        raise DataError(f"{schema.lists.file}: the split {split!r} has no rows; use another split")
    grades = label_grades(dataset, rows, label)
    scores = {name: _checked(name, value, len(rows)) for name, value in scores.items()}
    ids = rows[schema.lists.list]
    offsets = list_offsets(ids)
    keys = pd.util.hash_pandas_object(
        rows[[schema.lists.list, schema.lists.item]], index=False
    ).to_numpy()

    def values(kept: np.ndarray, starts: np.ndarray, names: Mapping[str, Sequence[str]]) -> Values:
        return {
            scorer: per_list(
                scores[scorer][kept],
                grades[kept],
                starts,
                metrics=wanted,
                relevant_grade=relevant_grade,
                no_relevant=no_relevant,
                tie_keys=keys[kept],
                seed=seed,
            )
            for scorer, wanted in names.items()
        }

    everything = values(np.ones(len(rows), dtype=bool), offsets, dict.fromkeys(scores, metrics))
    versus = functools.partial(
        compare, level=level, resamples=resamples, permutations=permutations, seed=seed
    )
    model = next(iter(scores))
    light = [HEADLINE] if HEADLINE in metrics else list(metrics[:1])
    by_slice = []
    for part in find_slices(dataset, rows) if with_slices else ():
        kept = _kept_rows(part, grades, offsets)
        starts = _offsets_of(kept, offsets)
        wanted = {scorer: metrics if scorer == model else light for scorer in scores}
        found = values(kept, starts, wanted) if len(starts) > 1 else None
        if found is None and part.name not in ALWAYS:
            continue
        headline = {name: {light[0]: of[light[0]]} for name, of in (found or {}).items()}
        by_slice.append(
            SliceReport(
                name=part.name,
                description=part.description,
                of=part.of,
                lists=len(starts) - 1,
                rows=int(kept.sum()),
                metrics=_intervals(found, level, resamples, seed) if found else {},
                comparisons=tuple(versus(headline)) if headline else (),
            )
        )
    shown: dict[str, Exposure] = {}
    if with_slices:
        counts = counts_at_lists(dataset, rows)
        for name, value in scores.items():
            ranked = rank(value, grades, offsets, tie_keys=keys, seed=seed)
            shown[name] = exposure(
                rows["_item"].to_numpy(dtype=np.int64)[ranked.row],
                ranked.rank,
                offsets,
                counts[ranked.row],
                len(dataset.catalog),
            )
    return Report(
        dataset=schema.name,
        split=split,
        lists=len(offsets) - 1,
        rows=len(rows),
        no_relevant=no_relevant,
        relevant_grade=relevant_grade,
        without_positive=int((_count(grades > 0, offsets) == 0).sum()),
        without_relevant=int((_count(grades >= relevant_grade, offsets) == 0).sum()),
        level=level,
        metrics=_intervals(everything, level, resamples, seed),
        comparisons=tuple(versus(everything)),
        slices=tuple(by_slice),
        exposure=shown,
    )


def list_offsets(ids: pd.Series) -> np.ndarray:
    """Returns where each list starts, then the number of rows, int64 [lists + 1].

    Args:
      ids: The list id of every row; equal ids are consecutive, [rows].

    Raises:
      DataError: The rows of a list are not consecutive.
    """
    codes, unique = pd.factorize(ids, use_na_sentinel=False)
    changes = np.flatnonzero(np.diff(codes)) + 1
    if len(changes) + 1 != len(unique):
        raise DataError(
            f"column {ids.name!r}: the rows of a list must be adjacent; sort them by list"
        )
    return np.concatenate([[0], changes, [len(ids)]]).astype(np.int64)


def learned_label(config: Config) -> str:
    """Returns the label by which weights are chosen and from which peers learn.

    It is `training.select_by`, else the label of the first task, else grade.
    """
    first = next(iter(config.training.tasks.items()), None)
    task_label = None if first is None else first[1].label or first[0]
    return config.training.select_by or task_label or "grade"


def label_grades(dataset: Dataset, rows: pd.DataFrame, label: str) -> np.ndarray:
    """Returns the values of a label as grades, [rows]; log(1 + seconds) for dwell.

    Raises:
      DataError: A grade is negative or not finite.
      SchemaError: The schema does not have the label.
    """
    schema = dataset.schema
    grades = _grades(schema.lists.file, rows[schema.feature(label).column])
    return np.log1p(grades) if label == "dwell" else grades


def _grades(file: str, column: pd.Series) -> np.ndarray:
    grades = column.to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.flatnonzero(~np.isfinite(grades) | (grades < 0))
    if len(wrong):
        raise DataError(
            f"{file}, column {column.name!r}: {len(wrong)} grade(s) are negative or not finite, "
            f"the first {shown(column.iloc[wrong[0]])}; fix or drop these rows"
        )
    return grades


def _checked(name: str, scores: np.ndarray, rows: int) -> np.ndarray:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape != (rows,):
        raise ValueError(f"scorer {name!r}: scores of shape {scores.shape} for {rows} rows")
    if not np.isfinite(scores).all():
        raise DataError(
            f"scorer {name!r}: {int((~np.isfinite(scores)).sum())} of {rows} scores are not finite"
        )
    return scores


def _count(rows: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Returns the number of marked rows in each list, int64 [lists]."""
    return np.diff(np.concatenate([[0], np.cumsum(rows)])[offsets])


def _kept_rows(part: Slice, grades: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Returns the rows of a slice that are evaluated, bool [rows].

    An item slice drops a list if the slice holds fewer than two of its candidates or none with a
    positive grade.
    """
    if part.of == "lists":
        return part.rows
    useful = (_count(part.rows, offsets) >= 2) & (_count(part.rows & (grades > 0), offsets) > 0)
    return part.rows & np.repeat(useful, np.diff(offsets))


def _offsets_of(kept: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Returns offsets into the kept rows, for the lists that keep at least one row."""
    sizes = _count(kept, offsets)
    return np.concatenate([[0], np.cumsum(sizes[sizes > 0])]).astype(np.int64)


def _intervals(
    values: Values, level: float, resamples: int, seed: int
) -> dict[str, dict[str, Interval]]:
    """Returns the interval of every scorer and metric, all from the same resampled lists."""
    columns = [column for by_metric in values.values() for column in by_metric.values()]
    found = iter(
        bootstrap_intervals(np.stack(columns, axis=1), level=level, resamples=resamples, seed=seed)
    )
    return {scorer: {name: next(found) for name in names} for scorer, names in values.items()}
