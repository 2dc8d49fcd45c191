"""What all models of users have in common: they read a page from the top."""

from __future__ import annotations

import abc
import dataclasses

import numpy as np

from mmrank.reranking.page import Page

__all__ = ["Rewards", "Session", "UserModel"]

_SIGMA = 0.6  # of the logarithm of a dwell time, as in the simulated shop's logs


@dataclasses.dataclass(frozen=True)
class Session:
    """What one user did on one page, or each user on a page of their own.

    Attributes:
      examined: Which positions the user looked at, [..., k] bool.
      clicks: Which candidates were clicked, [..., k] bool.
      dwell: Seconds on each, 0 without a click, [..., k].
      purchases: Which were bought, [..., k] bool.
    """

    examined: np.ndarray
    clicks: np.ndarray
    dwell: np.ndarray
    purchases: np.ndarray


@dataclasses.dataclass(frozen=True)
class Rewards:
    """What a session is worth: a weighted sum of its clicks, dwell time and purchases.

    Attributes:
      click: Worth of a click.
      dwell: Worth of a second on a clicked candidate.
      purchase: Worth of a purchase.

    Example:
      >>> import numpy as np
      >>> did = np.array([True, False])
      >>> Rewards(click=1.0, purchase=5.0).of(Session(did, did, np.zeros(2), did))
      6.0
    """

    click: float = 1.0
    dwell: float = 0.0
    purchase: float = 5.0

    def of(self, session: Session) -> float:
        """Returns the reward of one session."""
        return float(
            self.click * session.clicks.sum()
            + self.dwell * session.dwell.sum()
            + self.purchase * session.purchases.sum()
        )


class UserModel(abc.ABC):
    """A user who examines the candidates of a page from the top, and may leave after each.

    With attraction a, purchase probability b, dwell time t and the probabilities c and d of going
    on after an examined candidate with and without a click, position k is examined with
    e(1) = 1 and e(k + 1) = e(k) · (a(k) · c(k) + (1 − a(k)) · d(k)), and the expected reward is
    Σ e(k) · a(k) · (click + dwell · t(k) + purchase · b(k)).

    A model says what a, b, c and d are on a page; they may depend on the candidates above.
    """

    def attraction(self, page: Page) -> np.ndarray:
        """Probability of a click on each examined candidate of the page as shown, [..., k]."""
        return page.attraction

    def purchase(self, page: Page) -> np.ndarray:
        """Probability that each clicked candidate is bought on the page as shown, [..., k]."""
        return page.purchase

    @abc.abstractmethod
    def continuing(self, page: Page) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of going on after each candidate, with and without a click, [..., k]."""

    def examination(self, page: Page) -> np.ndarray:
        """Probability that the user looks at each position of the page, [..., k]."""
        clicked, passed = self.continuing(page)
        attraction = self.attraction(page)
        goes_on = attraction * clicked + (1 - attraction) * passed
        first = np.ones_like(goes_on[..., :1])
        return np.cumprod(np.concatenate([first, goes_on[..., :-1]], -1), -1)

    def expected(self, page: Page, rewards: Rewards) -> np.ndarray:
        """Expected reward of a session on each page, [...].

        Args:
          page: One or more pages.
          rewards: What clicks, seconds and purchases are worth.
        """
        each = (
            rewards.click + rewards.dwell * page.dwell + rewards.purchase * self.purchase(page)
        ) * self.attraction(page)
        return np.asarray((self.examination(page) * each).sum(-1))

    def session(self, page: Page, rng: np.random.Generator) -> Session:
        """Returns what a user does on each page.

        Args:
          page: One or more pages, [..., k].
          rng: Random generator.
        """
        shape = page.score.shape
        attracted = rng.random(shape) < self.attraction(page)
        clicked, passed = self.continuing(page)
        stays = rng.random(shape) < np.where(attracted, clicked, passed)
        first = np.ones_like(stays[..., :1])
        examined = np.logical_and.accumulate(np.concatenate([first, stays[..., :-1]], -1), -1)
        clicks = examined & attracted
        # A lognormal time has the mean exp(mu + sigma²/2).
        time = page.dwell * np.exp(rng.normal(-(_SIGMA**2) / 2, _SIGMA, shape))
        bought = clicks & (rng.random(shape) < self.purchase(page))
        return Session(examined, clicks, np.where(clicks, time, 0.0), bought)
