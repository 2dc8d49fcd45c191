"""A deep Q-network that rearranges pages of any length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.reranking.dqn.network import QNetwork
    from mmrank.reranking.dqn.options import DQNOptions
    from mmrank.reranking.dqn.policy import Policy
    from mmrank.reranking.dqn.trainer import train_policy

__all__ = ["DQNOptions", "Policy", "QNetwork", "train_policy"]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.reranking.dqn.network": ["QNetwork"],
        "mmrank.reranking.dqn.options": ["DQNOptions"],
        "mmrank.reranking.dqn.policy": ["Policy"],
        "mmrank.reranking.dqn.trainer": ["train_policy"],
    },
)
