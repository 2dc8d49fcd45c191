"""Bootstrap intervals and a paired test over lists.

The unit is the list. The candidates of a list are not independent of each other, so lists are
resampled, never rows.

The paired test is the sign-flip randomisation test on the differences of each list. It tests
exactly the reported figure, the difference of the means. It assumes only that under the null
hypothesis the two scorers could be swapped on any list. Wilcoxon's test uses ranks of differences
instead, drops the zeros that equal rankings give and can contradict the means. Smucker, Allan and
Carterette (CIKM 2007) advise against it for retrieval. `scipy.stats.permutation_test` is the same
test, but takes 16 s for 10,000 lists, where flipping the signs by one matrix product takes 0.3 s.
The unit tests compare the two.

The p-values of one scorer against several others under one metric are also given with Holm's
correction. It keeps the probability of any false discovery among these comparisons below the level.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

LEVEL = 0.95
RESAMPLES = 1_000
PERMUTATIONS = 9_999
_CHUNK_CELLS = 8_000_000
_EQUAL = 1e-9  # two values of one list that differ by no more count as equal, up to rounding


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean over lists with its bootstrap interval; all NaN if no list has a value.

    Attributes:
      mean: The mean over the lists that have a value.
      low, high: The ends of the interval.
      lists: How many lists have a value.

    Example:
      >>> import numpy as np
      >>> [interval] = bootstrap_intervals(np.array([[0.0], [1.0], [np.nan]]))
      >>> interval.mean, interval.lists, interval.low <= interval.mean <= interval.high
      (0.5, 2, True)
    """

    mean: float
    low: float
    high: float
    lists: int


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The paired test of scorer `a` against scorer `b` under one metric, on the same lists.

    Attributes:
      a, b: The names of the two scorers.
      metric: The metric.
      difference: Mean of a − b over lists, with its bootstrap interval.
      relative: The difference divided by b's mean; NaN if that mean is zero.
      p_value: Two-sided p-value; never below 1 / (permutations + 1).
      p_holm: The p-value corrected for all scorers that `a` is compared with under this metric.
      wins, ties, losses: Lists on which a is above b, equal up to rounding, and below.

    Example:
      >>> import numpy as np
      >>> ours, bm25 = np.array([1.0, 0.5]), np.array([0.5, 0.5])
      >>> [comparison] = compare({"ours": {"ndcg": ours}, "bm25": {"ndcg": bm25}})
      >>> comparison.a, comparison.b, comparison.difference.mean
      ('ours', 'bm25', 0.25)
      >>> comparison.p_holm == comparison.p_value  # one comparison needs no correction
      True
    """

    a: str
    b: str
    metric: str
    difference: Interval
    relative: float
    p_value: float
    p_holm: float
    wins: int
    ties: int
    losses: int


def bootstrap_intervals(
    values: np.ndarray, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> list[Interval]:
    """Returns the mean of every column with its percentile bootstrap interval.

    The columns share the resampled lists, which makes many columns as cheap as one. A resample
    draws from all lists and averages a column over those drawn that have a value.

    Args:
      values: A value per list and column, NaN where a list has none, [lists, columns].
      level: Coverage of the interval, between 0 and 1.
      resamples: Number of bootstrap resamples.
      seed: Seed of the resamples.

    Source: Efron and Tibshirani 1993, section 13.3 (percentile interval).

    Example:
      >>> import numpy as np
      >>> bootstrap_intervals(np.array([[0.5], [0.5], [np.nan]]))
      [Interval(mean=0.5, low=0.5, high=0.5, lists=2)]
    """
    values = np.asarray(values, dtype=np.float64)
    columns = values.shape[1]
    defined = ~np.isnan(values)
    counted = defined.sum(axis=0)
    if not counted.any():
        return [Interval(np.nan, np.nan, np.nan, 0)] * columns
    means = resampled_means(values, resamples=resamples, seed=seed)
    tail = 50.0 * (1.0 - level)
    intervals = []
    for column in range(columns):
        if counted[column] == 0:
            intervals.append(Interval(np.nan, np.nan, np.nan, 0))
            continue
        low, high = np.nanpercentile(means[:, column], (tail, 100.0 - tail))
        mean = np.nansum(values[:, column]) / counted[column]
        intervals.append(Interval(float(mean), float(low), float(high), int(counted[column])))
    return intervals


def resampled_means(values: np.ndarray, *, resamples: int, seed: int) -> np.ndarray:
    """Returns the mean of every column over lists drawn with replacement, [resamples, columns].

    Args:
      values: A value per list and column, NaN where a list has none, [lists, columns].
      resamples: Number of bootstrap resamples, which all columns share.
      seed: Seed of the resamples.

    Example:
      >>> import numpy as np
      >>> resampled_means(np.array([[0.5], [0.5]]), resamples=2, seed=0).tolist()
      [[0.5], [0.5]]
    """
    values = np.asarray(values, dtype=np.float64)
    lists, columns = values.shape
    defined = ~np.isnan(values)
    filled = np.where(defined, values, 0.0)
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, columns))
    chunk = max(1, _CHUNK_CELLS // lists)
    for start in range(0, resamples, chunk):
        drawn = np.stack(
            [
                np.bincount(rng.integers(0, lists, lists), minlength=lists)
                for _ in range(min(chunk, resamples - start))
            ]
        ).astype(np.float64)
        with np.errstate(invalid="ignore"):
            means[start : start + chunk] = (drawn @ filled) / (drawn @ defined.astype(np.float64))
    return means


def sign_flip_p_values(
    differences: np.ndarray, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> np.ndarray:
    """Returns the two-sided p-value of every column's mean, by flipping signs of lists at random.

    Args:
      differences: Paired differences, NaN where a list has none, [lists, columns].
      permutations: Number of random sign patterns.
      seed: Seed of the patterns.

    Returns:
      (1 + patterns at least as far from zero) / (1 + patterns), float64 [columns].

    Source: Fisher 1935; Smucker, Allan and Carterette, CIKM 2007. Counting the observed
      pattern among the random ones: Phipson and Smyth 2010.

    Example:
      Ten equal gains: only 2 of 1,024 sign patterns are as far from zero, those of equal signs.

      >>> import numpy as np
      >>> differences = np.stack([np.full(10, 0.1), np.tile([0.1, -0.1], 5)], axis=1)
      >>> gain, none = sign_flip_p_values(differences).tolist()
      >>> abs(gain - 2 / 1024) < 0.002, none
      (True, 1.0)
    """
    # A list without a value adds nothing to any sum. Testing the sum is the same as testing the
    # mean.
    filled = np.nan_to_num(np.asarray(differences, dtype=np.float64))
    lists = len(filled)
    observed = filled.sum(axis=0)
    # The tolerance keeps rounding from separating equal sums, which are common for discrete
    # metrics.
    threshold = np.abs(observed) - 1e-9 * np.abs(filled).sum(axis=0)
    rng = np.random.default_rng(seed)
    extreme = np.zeros(filled.shape[1], dtype=np.int64)
    chunk = max(1, _CHUNK_CELLS // max(1, lists))
    width = (lists + 7) // 8
    for start in range(0, permutations, chunk):
        size = min(chunk, permutations - start)
        bits = np.frombuffer(rng.bytes(size * width), dtype=np.uint8).reshape(size, width)
        kept = np.unpackbits(bits, axis=1, count=lists).astype(np.float64)
        flipped = 2.0 * (kept @ filled) - observed
        extreme += (np.abs(flipped) >= threshold).sum(axis=0)
    return (1 + extreme) / (1 + permutations)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Returns the p-values of several tests, corrected for their number, float64 [tests].

    Args:
      p_values: P-values, [tests]. NaN marks a test that was not made; it does not count.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".

    Example:
      >>> import numpy as np
      >>> holm(np.array([0.01, 0.04, 0.03])).round(4).tolist()  # 3 · 0.01, then 2 · 0.03 for both
      [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_values, kind="stable")  # NaN last
    made = int((~np.isnan(p_values)).sum())
    factors = np.maximum(made - np.arange(len(p_values)), 1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return corrected


def compare(
    values: Mapping[str, Mapping[str, np.ndarray]],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> list[Comparison]:
    """Compares the first scorer with every other, under every metric, on lists that both have.

    Args:
      values: By scorer, then by metric, the value of every list, [lists].
      level: Coverage of the intervals.
      resamples: Number of bootstrap resamples.
      permutations: Number of random sign patterns.
      seed: Seed of both.

    Returns:
      A comparison for every other scorer and every metric, in that order.

    Example:
      >>> import numpy as np
      >>> ours, bm25 = np.array([1.0, 0.5, 0.5]), np.array([0.5, 0.5, 0.5])
      >>> [comparison] = compare({"ours": {"ndcg": ours}, "bm25": {"ndcg": bm25}})
      >>> round(comparison.difference.mean, 4), round(comparison.relative, 4)
      (0.1667, 0.3333)
      >>> comparison.wins, comparison.ties, comparison.losses
      (1, 2, 0)
    """
    first, *others = values
    pairs = [(other, metric) for other in others for metric in values[first]]
    if not pairs:
        return []
    differences = np.stack([values[first][m] - values[other][m] for other, m in pairs], axis=1)
    intervals = bootstrap_intervals(differences, level=level, resamples=resamples, seed=seed)
    p_values = sign_flip_p_values(differences, permutations=permutations, seed=seed)
    p_values[np.isnan(differences).all(axis=0)] = np.nan
    by_metric = np.array([metric for _, metric in pairs])
    corrected = np.empty(len(pairs))
    for metric in values[first]:
        corrected[by_metric == metric] = holm(p_values[by_metric == metric])
    comparisons = []
    for column, (other, metric) in enumerate(pairs):
        shared = ~np.isnan(differences[:, column])
        base = float(values[other][metric][shared].mean()) if shared.any() else np.nan
        comparisons.append(
            Comparison(
                a=first,
                b=other,
                metric=metric,
                difference=intervals[column],
                relative=intervals[column].mean / base if base else np.nan,
                p_value=float(p_values[column]),
                p_holm=float(corrected[column]),
                wins=int((differences[shared, column] > _EQUAL).sum()),
                ties=int((np.abs(differences[shared, column]) <= _EQUAL).sum()),
                losses=int((differences[shared, column] < -_EQUAL).sum()),
            )
        )
    return comparisons
