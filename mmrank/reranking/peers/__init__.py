"""Agents of other libraries, which learn on the same pages as the project's own policy.

`PEERS` lists them by name. Each entry makes a function that trains one: it is called with the
environment, the options of the project's own agent, and a seed, and returns what orders pages.
"""

from mmrank.registry import Entry, Registry
from mmrank.reranking.peers.baselines3 import train_baselines3
from mmrank.reranking.peers.torch_first import load_torch_first

__all__ = ["PEERS", "load_torch_first", "train_baselines3"]
PEERS = Registry(
    "agent",
    {
        "stable_baselines3": Entry.function(
            train_baselines3, needs=("stable_baselines3", "reranking-peers")
        ),
    },
)
