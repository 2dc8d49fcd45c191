"""Reads the candidates of a request, each an item id, a product, or both."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mmrank.schema import did_you_mean
from mmrank.serving.card import Card
from mmrank.serving.request import Arrays, Inputs, RankError, item_id, listed

ITEM = "item"


@dataclasses.dataclass(frozen=True)
class Candidates:
    """L candidates of one list.

    Attributes:
      ids: Item ids [L], texts; empty for a product without an id.
      products: Raw item features of each candidate, None for a candidate given by its id alone.
      pairs: Query-item features of each candidate.
    """

    ids: tuple[str, ...]
    products: Sequence[Mapping[str, Any] | None]
    pairs: Sequence[Mapping[str, Any]]


def read_candidates(card: Card, candidates: Iterable[Any]) -> Candidates:
    """Reads the candidates of a request.

    Args:
      card: The export's card.
      candidates: For each candidate its item id, or a mapping of its item and query-item features,
        a product. A product may have its id under `item` (unless an item feature has that name):
        its vectors are then looked up, and its features are used only if no vectors are found.

    Raises:
      RankError: There are no candidates, or one has another form or an unknown feature.
    """
    given = listed(candidates, card.names("item"))
    of_item, of_pair = set(card.names("item")), set(card.names("pair"))
    ids: list[str] = []
    products: list[Mapping[str, Any] | None] = []
    pairs: list[Mapping[str, Any]] = []
    for i, candidate in enumerate(given):
        if not isinstance(candidate, Mapping):
            ids.append(item_id(candidate, f"candidate {i}"))
            products.append(None)
            pairs.append({})
            continue
        known = ITEM not in of_item and candidate.get(ITEM) is not None
        ids.append(item_id(candidate[ITEM], f"candidate {i}") if known else "")
        for name in candidate:
            if name not in of_item and name not in of_pair and name != ITEM:
                near = did_you_mean(str(name), sorted(of_item | of_pair))
                raise RankError(f"candidate {i}: unknown feature {name!r}{near}")
        product = {n: v for n, v in candidate.items() if n in of_item}
        products.append(product if product or not known else None)
        pairs.append({n: v for n, v in candidate.items() if n in of_pair})
    return Candidates(tuple(ids), products, pairs)


def rows(
    inputs: Inputs, side: str, values: Sequence[Mapping[str, Any]], at: Iterable[int]
) -> Arrays:
    """Returns the features [N] of one side, with their flags, of some candidates.

    Args:
      inputs: The export's inputs.
      side: The side of the features.
      values: Features of each candidate.
      at: The candidates' indices in the request, for messages.

    Raises:
      RankError: A value does not fit.
    """
    if any(values):
        return inputs.rows((side,), values, [f"candidate {i}" for i in at])
    arrays: Arrays = {}
    for column in inputs.columns.values():
        if column.side == side:
            one = column.arrays([None])
            arrays |= {n: np.repeat(a, len(values), 0) for n, a in one.items()}
    return arrays
