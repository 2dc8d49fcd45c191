"""The probability that an exploration gives to orders, for all pages of a log."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmrank.data.tables import DataError
from mmrank.reranking.exploration import EXPLORATIONS, Exploration

__all__ = ["Record", "exploration_of", "page_keys", "probabilities"]

Record = Mapping[str, Any]


def exploration_of(record: Record) -> tuple[Exploration, np.ndarray]:
    """Returns the exploration that a log's page names, and which moves were open, [k] bool.

    Args:
      record: Kind and options of the exploration, and `open`.

    Raises:
      ConfigError: Kind or options are unknown.

    Example:
      >>> import numpy as np
      >>> made, opened = exploration_of({"kind": "pair_swap", "epsilon": 0.2, "open": [True] * 2})
      >>> made.cumulative(np.arange(2), opened, np.array([1, 0])).round(3).tolist()
      [0.2, 0.2]
    """
    options = {name: value for name, value in record.items() if name not in ("kind", "open")}
    made: Exploration = EXPLORATIONS.make(record["kind"], options, where="exploration")
    return made, np.asarray(record["open"], bool)


def page_keys(explorations: Sequence[Record | None], length: np.ndarray) -> list[str]:
    """Returns a text for each page, equal for pages of one length and with one exploration.

    All that an exploration does is relative to the base order, so that such pages have the same
    probabilities.
    """
    return [
        json.dumps([k, record], sort_keys=True)
        for k, record in zip(length.tolist(), explorations, strict=True)
    ]


def probabilities(
    explorations: Sequence[Record | None], base: np.ndarray, orders: np.ndarray, length: np.ndarray
) -> np.ndarray:
    """Returns the probability that each page is shown in an order, [n].

    Args:
      explorations: As for `exploration_of`, None without exploration, for each page.
      base: The orders without exploration, [n, k] int.
      orders: The orders, [n, k] int.
      length: Number of candidates of each page, [n] int.

    Raises:
      ConfigError: An exploration or one of its options is unknown.
      DataError: An exploration was used where guards close a move that it may make.

    Example:
      >>> import numpy as np
      >>> swap = {"kind": "pair_swap", "epsilon": 0.2, "open": [True, True]}
      >>> base, swapped = np.array([[0, 1]] * 2), np.array([[1, 0]] * 2)
      >>> probabilities([swap, None], base, swapped, np.array([2, 2])).tolist()
      [0.2, 0.0]
    """
    index = np.take_along_axis(np.argsort(base, axis=-1), orders, -1)
    keys = page_keys(explorations, length)
    cut = (row[:k] for row, k in zip(index.tolist(), length.tolist(), strict=True))
    return np.array([_probability(key, tuple(row)) for key, row in zip(keys, cut, strict=True)])


@functools.lru_cache(maxsize=1 << 16)
def _probability(key: str, order: tuple[int, ...]) -> float:
    size, record = json.loads(key)
    if record is None:
        return float(order == tuple(range(size)))
    made, opened = exploration_of(record)
    try:
        return float(made.cumulative(np.arange(size), opened, np.array(order))[-1])
    except ValueError as error:
        raise DataError(f"exploration {record['kind']}: {error}") from error
