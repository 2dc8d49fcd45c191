"""Logged pages, as estimators of another policy's reward need them."""

from __future__ import annotations

import dataclasses

import numpy as np

__all__ = ["LoggedPages"]


@dataclasses.dataclass(frozen=True)
class LoggedPages:
    """What was shown and earned, and how probable both policies make it.

    A policy fills a page from the top: the probability of the candidate at a position is that given
    the query and the candidates above it, and the probability of a page is the product over its
    positions. A page that was chosen as a whole has one position.

    Attributes:
      rewards: What each position earned, [pages, k].
      logged: Probability that the logging policy gave to the candidate shown at each position,
        above 0, [pages, k].
      judged: Probability that the judged policy gives to it, [pages, k].
      predicted: A model's prediction of the reward from this position on, for the candidate shown,
        [pages, k]; None for estimators without a model.
      expected: The mean of that prediction over the judged policy's choices at this position, below
        the candidates that were shown above it, [pages, k]; None as well.
      slate: Weights of the pages for the pseudo-inverse, NaN where there is none, [pages]; None if
        the logging policy chose positions independently of each other.
      covered: Whether the logging policy could have shown the page of the judged one, [pages] bool;
        None if unknown.

    Raises:
      ValueError: Shapes differ, a probability is not one, or a logged one is 0.

    Example:
      >>> import numpy as np
      >>> one = np.ones([2, 1])
      >>> pages = LoggedPages(rewards=one, logged=one / 2, judged=one)
      >>> pages.weights().tolist()
      [2.0, 2.0]
    """

    rewards: np.ndarray
    logged: np.ndarray
    judged: np.ndarray
    predicted: np.ndarray | None = None
    expected: np.ndarray | None = None
    slate: np.ndarray | None = None
    covered: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("logged", "judged", "predicted", "expected"):
            value = getattr(self, name)
            if value is not None and value.shape != self.rewards.shape:
                raise ValueError(f"{name}: shape {value.shape}, rewards have {self.rewards.shape}")
        for name in ("slate", "covered"):
            value = getattr(self, name)
            if value is not None and value.shape != self.rewards.shape[:1]:
                raise ValueError(f"{name}: shape {value.shape}, but there is one for each page")
        for name in ("logged", "judged"):
            value = getattr(self, name)
            if not ((value >= 0) & (value <= 1)).all():
                raise ValueError(f"{name}: expected probabilities, 0 to 1")
        if not (self.logged > 0).all():
            page = int(np.argwhere(self.logged <= 0)[0, 0])
            raise ValueError(f"logged: page {page} was shown, but its probability is 0")

    def ratios(self) -> np.ndarray:
        """How much more probable the judged policy makes each position's candidate, [pages, k]."""
        return np.asarray(self.judged / self.logged)

    def weights(self) -> np.ndarray:
        """How much more probable the judged policy makes each page, [pages]."""
        return np.asarray(self.ratios().prod(-1))

    def slate_weights(self) -> np.ndarray:
        """The weights of the pages for the pseudo-inverse, [pages]."""
        if self.slate is not None:
            return self.slate
        return np.asarray(1 + (self.ratios() - 1).sum(-1))

    def model(self) -> tuple[np.ndarray, np.ndarray]:
        """The predictions.

        Returns:
          `predicted` and `expected`.

        Raises:
          ValueError: There are none.
        """
        if self.predicted is None or self.expected is None:
            raise ValueError("this estimator needs predictions of a model; give both")
        return self.predicted, self.expected
