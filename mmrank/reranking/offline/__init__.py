"""Policies that are learned from logged pages alone, and what they would gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.reranking.offline.agents import AGENTS
    from mmrank.reranking.offline.division import divided, sessions_at
    from mmrank.reranking.offline.observer import LogObserver
    from mmrank.reranking.offline.options import OfflineOptions
    from mmrank.reranking.offline.predicted import predicted_gain
    from mmrank.reranking.offline.rearranging import orders_by
    from mmrank.reranking.offline.trainer import train_offline

__all__ = [
    "AGENTS",
    "LogObserver",
    "OfflineOptions",
    "divided",
    "predicted_gain",
    "orders_by",
    "sessions_at",
    "train_offline",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.reranking.offline.agents": ["AGENTS"],
        "mmrank.reranking.offline.division": ["divided", "sessions_at"],
        "mmrank.reranking.offline.predicted": ["predicted_gain"],
        "mmrank.reranking.offline.observer": ["LogObserver"],
        "mmrank.reranking.offline.options": ["OfflineOptions"],
        "mmrank.reranking.offline.rearranging": ["orders_by"],
        "mmrank.reranking.offline.trainer": ["train_offline"],
    },
)
