"""Kinds without a column, which are computed from the events before a list."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmrank.data.kinds.base import Kind, Seen
from mmrank.data.kinds.vector import VectorKind


class HistoryKind(Kind):
    """The user's latest events. Its layers are in `mmrank.encoders.behavior`."""

    sides = ("user",)
    measures = ("value",)
    left_out = True

    def default_size(self, seen: Seen) -> tuple[dict[str, Any], str] | None:
        events, names = seen.dataset.events, seen.schema.events
        if events is None or names is None:
            return None
        counts = events[names.user].value_counts()
        usual = int(counts.quantile(0.75)) if len(counts) else 1
        length = int(np.clip(usual, 8, 64))
        return {"length": length}, f"three in four users have at most {usual} events"


class CollaborativeKind(VectorKind):
    """The scores of collaborative filtering for the user and the candidate, as one vector."""

    sides = ("pair",)
    encoder = "mmrank.encoders.collaborative:Collaborative"
    numeric = False
