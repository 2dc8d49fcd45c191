"""The top of a ranked list in the order of the export's policy, with the rules of a shop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmrank.reranking.guards import Rules, start_order
from mmrank.serving.card import Card, PolicyCard
from mmrank.serving.request import Arrays, RankError
from mmrank.serving.steps import Run, Steps

__all__ = ["RERANK", "TASKS", "RankedPage", "Rearranged", "rearrange"]

RERANK = "rerank"  # the signature
# The outputs of tasks that a policy reads, and what it sees in them.
TASKS = {"click": "attraction", "purchase": "purchase", "dwell": "dwell"}
CHOSEN = (*TASKS.values(), "price", "group", "vector")


@dataclasses.dataclass(frozen=True)
class Rearranged:
    """How a page is rearranged.

    Attributes:
      rules: The rules that hold.
      policy: Whether the policy rearranges it; otherwise, only the rules do.
    """

    rules: Rules = Rules()
    policy: bool = True


@dataclasses.dataclass(frozen=True)
class RankedPage:
    """A rearranged page, and how it came about.

    Attributes:
      size: Number of candidates at the top that the policy may move, k.
      order: The ranker's order without what the rules exclude: indices of the candidates, [n] int.
        The first k are the page, which is those of the highest scores, and those that rules put
        there.
      base: Index into `order` of the candidate at each position, [n] int. From k on it is the
        index of the position itself.
      bites: How often a guard or a rule closed the move that the policy would have made.
      open: Which actions are open at the end, [k] bool.
      seen: What the policy saw of the first k of `order`, arrays by the names of `CHOSEN`, and the
        ranker's `fingerprint`; None if it was not asked.
    """

    size: int
    order: np.ndarray
    base: np.ndarray
    bites: int
    open: np.ndarray
    seen: Mapping[str, Any] | None


def rearrange(
    card: Card,
    how: Rearranged,
    *,
    order: np.ndarray,
    ids: Sequence[str],
    products: Sequence[Mapping[str, Any] | None],
    outputs: Mapping[str, np.ndarray],
    scores: np.ndarray,
    vectors: Callable[[np.ndarray], Steps[Arrays]],
) -> Steps[RankedPage]:
    """Returns the rearranged page of a ranked list, in steps.

    Args:
      card: The card of an export with a policy.
      how: The rules, and whether the policy is asked.
      order: Indices of the candidates in the ranker's order, [n] int.
      ids: Ids of the candidates, empty for one without an id.
      products: Raw features of each candidate, or None. Prices and groups in them replace those of
        the catalogue.
      outputs: Outputs by task, [n].
      scores: Scores, [n].
      vectors: Returns tokens [k, M, D] and present [k, M] of some candidates, in steps.

    Raises:
      RankError: The export has no policy.
    """
    policy = card.policy
    if policy is None:
        raise RankError("this export has no policy; export the run with --policy")
    order, start = _ruled(order, ids, how.rules, policy.size)
    size = min(policy.size, len(order))
    base = np.concatenate([start, np.arange(size, len(order))])
    page = order[:size]
    if not size or not how.policy:
        opened = np.arange(size) == 0
        return RankedPage(size, order, base, 0, opened, None)
    given = yield from vectors(page)
    arrays: Arrays = {
        "items": np.array([ids[i] for i in page], object),
        "scores": scores[page].astype(np.float32),
        **_given(card, policy, [products[i] or {} for i in page], page),
        **{
            t: outputs[getattr(policy.columns, t)][page]
            for t in TASKS
            if getattr(policy.columns, t)
        },
        "start": start.astype(np.int32),
        "pinned": _positions(how.rules.pin, ids, page),
        "boosted": _positions(how.rules.boost, ids, page),
        "tokens": given["tokens"],
        "present": given["present"],
    }
    inputs = {name: array[np.newaxis] for name, array in arrays.items()}
    inputs["list_length"] = np.array([size], np.int32)
    made = yield Run(RERANK, inputs)
    base[:size] = made["order"][0]
    seen: dict[str, Any] = {name: made[name][0] for name in CHOSEN}
    seen["fingerprint"] = card.fingerprint
    return RankedPage(size, order, base, int(made["bites"][0]), made["open"][0], seen)


def _ruled(
    order: np.ndarray, ids: Sequence[str], rules: Rules, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The ranker's order with the page first, and where the page starts after the rules.

    What rules put on the page from below it takes the place of the lowest others.
    """
    if rules == Rules():
        return order, np.arange(min(size, len(order)))
    excluded = set(rules.exclude)
    order = np.array([i for i in order if ids[i] not in excluded], int)
    started = start_order([ids[i] for i in order], rules)
    page = np.sort(started[:size])
    return order[np.concatenate([page, started[size:]])], np.searchsorted(page, started[:size])


def _given(
    card: Card, policy: PolicyCard, products: Sequence[Mapping[str, Any]], page: np.ndarray
) -> Arrays:
    """The prices and groups in the request, NaN and the empty text for the others."""

    def values(name: str) -> list[Any]:
        if name not in card.inputs.columns:
            return [None] * len(products)
        column = card.inputs.columns[name]
        where = [f"candidate {i}" for i in page]
        return [column.raw(p.get(name), w) for p, w in zip(products, where, strict=True)]

    prices = [np.nan if v is None else v for v in values(policy.columns.price)]
    groups = ["" if v is None else v for v in values(policy.columns.group)]
    return {"prices": np.array(prices, np.float32), "groups": np.array(groups, object)}


def _positions(rule: Mapping[str, int], ids: Sequence[str], page: np.ndarray) -> np.ndarray:
    """The position that a rule gives each candidate of a page, 0 for none, [k] int32."""
    return np.array([min(rule.get(ids[i], 0), len(page)) for i in page], np.int32)
