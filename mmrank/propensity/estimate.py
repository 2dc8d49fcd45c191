"""Estimates propensities from a log with one method, with bootstrap intervals."""

from __future__ import annotations

import dataclasses

import numpy as np
from tqdm import tqdm

from mmrank.data.tables import DataError
from mmrank.propensity import METHODS
from mmrank.propensity.log import ClickLog

RESAMPLES = 100
NORMAL = 1.959964  # standard errors on either side of a 95% interval


@dataclasses.dataclass(frozen=True)
class Propensities:
    """The probability that a user looks at each position, relative to position 1.

    Attributes:
      method: Name of the method that estimated them.
      propensity: [K], 1 at position 1.
      low, high: Ends of the 95% bootstrap interval over lists, [K].
      clicks, impressions: Counts for each position in the whole log, [K].
    """

    method: str
    propensity: np.ndarray
    low: np.ndarray
    high: np.ndarray
    clicks: np.ndarray
    impressions: np.ndarray

    def to_text(self) -> str:
        """A text table with a row for every position."""
        lines = [
            f"{'position':>8}  {self.method + ' [95%]':>22}  {'clicks':>9}  {'impressions':>11}"
        ]
        for k, p in enumerate(self.propensity):
            cell = f"{p:.3f} [{self.low[k]:.3f} {self.high[k]:.3f}]"
            lines.append(
                f"{k + 1:>8}  {cell:>22}  {self.clicks[k]:>9,.0f}  {self.impressions[k]:>11,.0f}"
            )
        return "\n".join(lines)


def estimate(
    log: ClickLog, method: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> Propensities:
    """The propensities of every position of a log, with bootstrap intervals over lists.

    An interval is p · exp(± 1.96 s), with s the standard deviation of log p over resampled lists.
    Quantiles of the resamples are not used: in a resample fewer different pages show a pair, which
    biases some estimates (`em`) to one side.

    Args:
      log: The log.
      method: A name in `METHODS`.
      resamples: Bootstrap resamples of the lists; 0 gives intervals that are NaN.
      seed: Seed of the resamples.

    Raises:
      ConfigError: The method is unknown.
      DataError: The log lacks what the method needs, or clicks do not connect some position to
        position 1.

    Example:
      >>> import numpy as np
      >>> from mmrank.propensity import ClickLog
      >>> log = ClickLog(
      ...     lists=np.array([0, 0, 1, 1]),
      ...     pairs=np.array([0, 1, 1, 0]),
      ...     positions=np.array([1, 2, 1, 2]),
      ...     clicks=np.array([1.0, 1.0, 1.0, 0.0]),
      ...     features=np.zeros([4, 0]),
      ...     categorical=np.zeros(0, bool),
      ...     randomised=np.ones(4, bool),
      ... )
      >>> found = estimate(log, "random", resamples=0)
      >>> found.propensity.tolist(), found.clicks.tolist()
      ([1.0, 0.5], [2.0, 1.0])
    """
    estimator = METHODS.make(method, {}, log)
    ones = np.ones(len(log.clicks))
    propensity = estimator(ones)
    _refuse_unknown(method, propensity)
    rng, lists = np.random.default_rng(seed), int(log.lists.max()) + 1
    drawn = []
    for _ in tqdm(range(resamples), desc=method, unit="resample", disable=None, delay=0.5):
        counts = np.bincount(rng.integers(lists, size=lists), minlength=lists)
        drawn.append(estimator(counts[log.lists].astype(np.float64)))
    low = high = np.full(log.depth, np.nan)
    if drawn:
        spread = np.nanstd(np.log(np.stack(drawn)), axis=0)
        low, high = propensity * np.exp(-NORMAL * spread), propensity * np.exp(NORMAL * spread)
    return Propensities(
        method, propensity, low, high, log.by_position(log.clicks), log.by_position(ones)
    )


def _refuse_unknown(method: str, propensity: np.ndarray) -> None:
    unknown = np.flatnonzero(~(propensity > 0)) + 1
    if len(unknown) == 0:
        return
    if unknown[0] <= 2:
        raise DataError(
            f"method {method}: the log does not connect position {unknown[0]} with the first, "
            "because clicks are missing there; use a longer log or another --method"
        )
    raise DataError(
        f"method {method}: the log does not connect position {unknown[0]} with the first, because "
        f"clicks are missing there; leave it out with --positions {unknown[0] - 1}, or use a "
        "longer log"
    )
