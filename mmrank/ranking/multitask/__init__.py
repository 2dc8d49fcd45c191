"""Ways for several tasks to share a scoring tower, by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from mmrank.ranking.multitask.base import TaskTowers
from mmrank.ranking.multitask.mmoe import MixtureOfExperts
from mmrank.ranking.multitask.shared_bottom import SharedBottom
from mmrank.schema import did_you_mean

MULTITASK: dict[str, type[TaskTowers]] = {
    "shared_bottom": SharedBottom,
    "mmoe": MixtureOfExperts,
}
_FIXED = {"tasks", "hidden", "dropout"}


def make_towers(
    name: str,
    options: Mapping[str, Any],
    tasks: Sequence[str],
    hidden: Sequence[int],
    dropout: float,
) -> TaskTowers:
    """The layer vectors [B, L, F] → scores [B, L] by task of that name.

    Raises:
      ValueError: An unknown name or option, or an option out of range.
    """
    if name not in MULTITASK:
        raise ValueError(f"unknown multitask {name!r}{did_you_mean(name, MULTITASK)}")
    taken = {
        parameter
        for base in (MULTITASK[name], TaskTowers)
        for parameter in inspect.signature(base).parameters
    }
    known = taken - _FIXED - {"kwargs"}
    for key in options:
        if key not in known:
            raise ValueError(f"multitask {name}: no option {key!r}{did_you_mean(key, known)}")
    return MULTITASK[name](tasks, hidden, dropout, **options, name="task_towers")
