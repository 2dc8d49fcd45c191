"""Orders that need no learning, which a policy is compared with."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np

from mmrank.ranges import Range
from mmrank.registry import Entry, Registry
from mmrank.reranking.page import Page, all_orders, best_order
from mmrank.reranking.users import Rewards, UserModel

__all__ = ["ORDERS", "exhaustive", "greedy", "mmr", "random_order", "ranker_order"]


def ranker_order(
    page: Page, user: UserModel, rewards: Rewards, rng: np.random.Generator
) -> np.ndarray:
    """The ranker's own order: the page as it is, [k] int."""
    return np.arange(page.size)


def random_order(
    page: Page, user: UserModel, rewards: Rewards, rng: np.random.Generator
) -> np.ndarray:
    """A random order, [k] int."""
    return rng.permutation(page.size)


def greedy(page: Page, user: UserModel, rewards: Rewards, rng: np.random.Generator) -> np.ndarray:
    """The order by each candidate's own probability of a click, highest first, [k] int."""
    return np.argsort(-page.attraction, kind="stable")


@dataclasses.dataclass(frozen=True)
class MMROptions:
    """Options of `mmr`.

    Attributes:
      relevance: Weight of the score against the likeness to what is above, lambda in the paper.
    """

    relevance: Annotated[float, Range(0, 1)] = 0.5


def mmr(
    page: Page,
    user: UserModel,
    rewards: Rewards,
    rng: np.random.Generator,
    relevance: float = MMROptions.relevance,
) -> np.ndarray:
    """The order of maximal marginal relevance, [k] int.

    Each position gets the candidate with the highest lambda · s − (1 − lambda) · (cosine with the
    most similar one above), where s is the score mapped to 0 to 1 on its page.

    Source: Carbonell and Goldstein, "The use of MMR, diversity-based reranking for reordering
      documents and producing summaries" (SIGIR 1998), section 2.
    """
    spread = np.ptp(page.score)
    score = (page.score - page.score.min()) / spread if spread > 0 else np.zeros(page.size)
    cosine = page.vector @ page.vector.T
    left, order = list(range(page.size)), list[int]()
    while left:
        likeness = cosine[left][:, order].max(-1) if order else np.zeros(len(left))
        order.append(left.pop(int(np.argmax(relevance * score[left] - (1 - relevance) * likeness))))
    return np.array(order)


def exhaustive(
    page: Page, user: UserModel, rewards: Rewards, rng: np.random.Generator
) -> np.ndarray:
    """The best of all orders by the user model's expected reward, [k] int.

    Raises:
      ValueError: There are too many candidates to try all orders.
    """
    return best_order(user.expected(page.real.take(all_orders(page.size)), rewards))


ORDERS = Registry(
    "order",
    {
        "ranker": Entry.function(ranker_order),
        "random": Entry.function(random_order),
        "greedy": Entry.function(greedy),
        "mmr": Entry.function(mmr, MMROptions),
        "exhaustive": Entry.function(exhaustive),
    },
)
