"""What a user does on a result page: examine, click, stay, buy."""

from __future__ import annotations

import dataclasses

import numpy as np

from mmrank.data.simulator.grades import MAX_GRADE


@dataclasses.dataclass(frozen=True)
class ClickModel:
    """The position-based click model of the logged pages.

    A click needs an examined position and an attractive item, independently of each other:
    P(click | k, g) = P(examined | k) · P(attractive | g), with P(examined | k) = k^−eta for the
    1-based position k and P(attractive | g) = noise + (1 − noise) (2^g − 1) / (2^3 − 1).

    Attributes:
      eta: Severity of the position bias; 0 means that every position is examined.
      noise: Probability that an examined item of grade 0 is clicked.
      dwell_median: Median seconds on a clicked item per grade; the dwell time is lognormal. A
        visit of 30 seconds or more counts as satisfied.
      dwell_sigma: Standard deviation of the logarithm of the dwell time.
      purchase: Probability of a purchase after a click, per grade.

    Source: Richardson et al., "Predicting clicks: estimating the click-through rate for new ads"
      (WWW 2007), and Craswell et al., "An experimental comparison of click position-bias models"
      (WSDM 2008), for the examination hypothesis; Joachims et al., "Unbiased learning-to-rank with
      biased feedback" (WSDM 2017), for k^−eta; Ai et al., "Unbiased learning to rank with unbiased
      propensity estimation" (SIGIR 2018), for the attractiveness; Fox et al., "Evaluating implicit
      measures to improve web search" (TOIS 2005), for the 30 seconds.
    """

    eta: float = 0.8
    noise: float = 0.08
    dwell_median: tuple[float, ...] = (7.0, 18.0, 40.0, 80.0)
    dwell_sigma: float = 0.6
    purchase: tuple[float, ...] = (0.01, 0.04, 0.14, 0.35)

    def examination(self, position: np.ndarray) -> np.ndarray:
        """P(examined) at each 1-based position, in the shape of `position`."""
        return np.asarray(position, dtype=np.float64) ** -self.eta

    def attraction(self, grade: np.ndarray) -> np.ndarray:
        """P(attractive) of each grade, in the shape of `grade`."""
        gain = (2.0 ** np.asarray(grade) - 1) / (2**MAX_GRADE - 1)
        return self.noise + (1 - self.noise) * gain

    def visit(
        self, position: np.ndarray, grade: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The clicks (bool), dwell times (seconds, 0 without a click) and purchases (bool).

        Args:
          position: 1-based positions, [items] int.
          grade: True grades of the items at these positions, [items] int.
          rng: Random generator.
        """
        items = len(position)
        examined = rng.random(items) < self.examination(position)
        click = examined & (rng.random(items) < self.attraction(grade))
        median = np.array(self.dwell_median)[grade]
        stay = median * np.exp(rng.normal(0, self.dwell_sigma, items))
        bought = click & (rng.random(items) < np.array(self.purchase)[grade])
        return click, np.where(click, np.maximum(stay, 1.0).round(1), 0.0), bought
