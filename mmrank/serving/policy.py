"""A trained policy fitted to a catalogue, for an export."""

from __future__ import annotations

import dataclasses
from typing import Any

from mmrank.config import ConfigError
from mmrank.data.tables import Dataset
from mmrank.reranking.guards import GuardOptions
from mmrank.reranking.ranked_pages import item_groups, item_prices
from mmrank.reranking.trained import TrainedPolicy
from mmrank.serving.reranked import PolicyTables

__all__ = ["policy_card", "policy_tables"]


def policy_tables(policy: TrainedPolicy, dataset: Dataset, fingerprint: str) -> PolicyTables:
    """Returns a policy with what it has to know of the items of a catalogue.

    Args:
      policy: The policy.
      dataset: The catalogue.
      fingerprint: The ranker's `item_fingerprint`.

    Raises:
      ConfigError: The policy learned from drawn pages, or from pages of another ranker.
    """
    about = policy.about
    if about.columns is None:
        raise ConfigError(
            f"{policy.folder}: the policy learned from drawn pages, which are of no ranker; train "
            "one with `python -m mmrank.rerank --run RUN` or `--log LOG`"
        )
    if about.fingerprint != fingerprint:
        raise ConfigError(
            f"{policy.folder}: the policy learned from pages of another ranker, whose item vectors "
            "mean something else; train one with `python -m mmrank.rerank --run RUN` of this run"
        )
    columns = about.columns
    return PolicyTables(
        policy, columns, item_prices(dataset, columns), item_groups(dataset, columns)
    )


def policy_card(tables: PolicyTables) -> dict[str, Any]:
    """Returns what `Card.policy` is read from, as JSON."""
    config = tables.policy.config
    return {
        "policy": {
            "size": config.pages.size,
            "guarded": config.guards != GuardOptions(),
            "columns": dataclasses.asdict(tables.columns),
        }
    }
