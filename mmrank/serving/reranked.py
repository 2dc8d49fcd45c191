"""The signature `rerank` of an export: a page in the order of a policy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from mmrank.reranking.columns import PageColumns
from mmrank.reranking.trained import TrainedPolicy
from mmrank.serving.rearranging import TASKS

__all__ = ["PolicyTables", "ServedPolicy"]

Rows = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class PolicyTables:
    """A policy, and what it has to know of the items of a catalogue.

    Attributes:
      policy: The policy.
      columns: The features and tasks that it reads.
      price: Prices, NaN where unknown, [N]; None if it reads no price.
      group: Groups, the empty text where there is none, [N]; None if it reads no group.
    """

    policy: TrainedPolicy
    columns: PageColumns
    price: np.ndarray | None
    group: np.ndarray | None


class ServedPolicy(tf.Module):
    """A policy over the items of an export.

    Attributes:
      size: Most candidates of a page.

    Args:
      tables: The policy, and the items' prices and groups.
      count: Number of items, N.
      rows: Rows of some ids in the tables, N for an unknown id, and whether each id is known.
    """

    def __init__(self, tables: PolicyTables, count: int, rows: Rows):
        super().__init__(name="policy")
        self.size = tables.policy.size
        self._columns, self._rows = tables.columns, rows
        graph = tables.policy.graph
        # A function, and the weights alone: as an attribute the network would be traced once more.
        self._rearranged: Callable[..., dict[str, tf.Tensor]] = lambda page: graph(page)
        self.weights = list(graph.network.weights)
        price = np.full(count, np.nan) if tables.price is None else tables.price
        self.price = tf.Variable(np.append(price, np.nan).astype(np.float32), trainable=False)
        group = np.full(count, "") if tables.group is None else tables.group
        names, codes = np.unique(np.append(group, ""), return_inverse=True)
        self.group = tf.Variable(codes.astype(np.int32), trainable=False)
        self._names = tf.constant(names.astype(object), tf.string)

    def inputs(self, modalities: int, width: int) -> list[tf.TensorSpec]:
        """Returns the inputs of `rerank` for items of M tokens of a width."""
        tasks = [task for task in TASKS if getattr(self._columns, task)]
        dtypes: dict[str, tf.DType] = {"items": tf.string, "groups": tf.string}
        dtypes |= dict.fromkeys(("scores", *tasks, "prices"), tf.float32)
        dtypes |= dict.fromkeys(("start", "pinned", "boosted"), tf.int32)
        return [
            *(tf.TensorSpec([None, None], dtype, name) for name, dtype in dtypes.items()),
            tf.TensorSpec([None, None, modalities, width], tf.float32, "tokens"),
            tf.TensorSpec([None, None, modalities], tf.bool, "present"),
            tf.TensorSpec([None], tf.int32, "list_length"),
        ]

    def rerank(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns pages in the policy's order, and what it saw.

        Args:
          inputs: The candidates of each page in the ranker's order: items [B, k] string; scores
            and the outputs of the tasks that it reads [B, k] float32; prices [B, k] float32 and
            groups [B, k] string, NaN and the empty text for those of the catalogue; tokens
            [B, k, M, D] float32 and present [B, k, M] as `lookup_items` returns them; start [B, k]
            int32, the order after the rules; pinned and boosted [B, k] int32, positions from 1
            that rules gave, 0 for none; list_length [B] int32.

        Returns:
          order [B, k] int32: which candidate is at each position; moves and bites [B] int32; open
          [B, k] bool, as `PolicyGraph` returns them; and attraction, purchase, dwell, price (0
          where unknown) [B, k] float32, group [B, k] string and vector [B, k, D], what it saw of
          each candidate.

        Masking: padding keeps its positions and has no influence.
        """
        rows, _ = self._rows(inputs["items"])
        stored = tf.gather(self.price, rows)
        price = tf.where(tf.math.is_nan(inputs["prices"]), stored, inputs["prices"])
        named = tf.gather(self._names, tf.gather(self.group, rows))
        score = inputs["scores"]
        seen = {name: tf.zeros_like(score) for name in TASKS.values()}
        seen["attraction"] = tf.sigmoid(score)  # for the probability of a click
        for task, name in TASKS.items():
            seen[name] = inputs.get(task, seen[name])
        weight = tf.cast(inputs["present"], tf.float32)[..., tf.newaxis]
        total = tf.reduce_sum(inputs["tokens"] * weight, 2)
        length = tf.norm(total, axis=-1, keepdims=True)
        seen |= {
            "price": tf.where(price > 0, price, 0.0),
            "group": tf.where(inputs["groups"] == "", named, inputs["groups"]),
            "vector": tf.math.divide_no_nan(total, length),
        }
        given = {name: inputs[name] for name in ("start", "pinned", "boosted")}
        page = {"score": score, "length": inputs["list_length"], **given, **seen}
        return {**self._rearranged(page), **seen}
