"""A policy as one TensorFlow graph: from the candidates of pages to the orders shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from mmrank.reranking.dqn.network import CLOSED
from mmrank.reranking.guards import GuardOptions
from mmrank.reranking.moves import FINISH
from mmrank.reranking.observing import SHIFT

__all__ = ["PolicyGraph", "page_specs"]

Tensors = Mapping[str, tf.Tensor]
SLACK = 1e-6  # a loss of relevance that is rounding


def page_specs(width: int) -> dict[str, tf.TensorSpec]:
    """The inputs of a `PolicyGraph` over vectors of a width, by name.

    Example:
      >>> page_specs(8)["vector"].shape.as_list()
      [None, None, 8]
    """
    dtypes = dict.fromkeys(("score", "attraction", "purchase", "dwell", "price"), tf.float32)
    dtypes |= {"group": tf.string} | dict.fromkeys(("start", "pinned", "boosted"), tf.int32)
    return {
        **{name: tf.TensorSpec([None, None], dtype, name) for name, dtype in dtypes.items()},
        "vector": tf.TensorSpec([None, None, width], tf.float32, "vector"),
        "length": tf.TensorSpec([None], tf.int32, "length"),
    }


class PolicyGraph(tf.Module):
    """Rearranges pages by the moves with the highest values, as `Policy.orders` does.

    Args:
      network: The trained network: observations to values of the actions.
      most_moves: Most moves on a page; None as in `RerankEnv`, 0 to keep the order.
      guards: The limits that hold.

    Example:
      >>> import tensorflow as tf
      >>> from mmrank.reranking.dqn import QNetwork
      >>> graph = PolicyGraph(QNetwork(width=8, heads=2, layers=1))
      >>> shown, ones = tf.constant([[0, 1]]), tf.ones([1, 2])
      >>> page = {name: ones for name in ("score", "attraction", "purchase", "dwell", "price")}
      >>> page |= {"vector": tf.ones([1, 2, 4]), "group": tf.constant([["a", "b"]])}
      >>> page |= {"start": shown, "pinned": 0 * shown, "boosted": 0 * shown}
      >>> given = graph(page | {"length": tf.constant([2])})
      >>> sorted(given["order"][0].numpy().tolist()), given["bites"].numpy().tolist()
      ([0, 1], [0])
    """

    def __init__(
        self,
        network: Any,
        most_moves: int | None = None,
        guards: GuardOptions | None = None,
    ):
        super().__init__(name="policy")
        self.network = network
        self._most, self._guards = most_moves, guards or GuardOptions()

    def __call__(self, page: Tensors) -> dict[str, tf.Tensor]:
        """Returns the order of each page, and how it came about.

        Args:
          page: The candidates in the ranker's order: score, attraction, purchase, dwell (seconds)
            and price (0 or less where unknown) [B, k] float32, unit vectors [B, k, d], group
            [B, k] string; start [B, k] int32, the order after the rules; pinned and boosted [B, k]
            int32, the positions from 1 that rules gave a candidate, 0 for none; length [B] int32.

        Returns:
          order [B, k] int32: which candidate is at each position; moves [B] int32 that were made;
          bites [B] int32: how often a guard or rule closed the move with the highest value; open
          [B, k] bool: the actions that are open at the end.

        Masking: padding stays at its own positions and has no influence.
        """
        length, order = page["length"], page["start"]
        batch, k = tf.unstack(tf.shape(order))
        mask = tf.sequence_mask(length, k)
        cosine = tf.nn.relu(tf.matmul(page["vector"], page["vector"], transpose_b=True))
        reach = self._reach(page)
        same = page["group"][:, :, tf.newaxis] == page["group"][:, tf.newaxis, :]
        free = tf.range(k)[tf.newaxis] < tf.maximum(length, 1)[:, tf.newaxis]
        own = _own(page, mask)
        swaps = _swaps(k)
        pairs = tf.maximum(length * (length - 1) // 2, 1)
        most = pairs if self._most is None else tf.fill([batch], self._most)

        def opened(order: tf.Tensor) -> tf.Tensor:
            return free & self._open(page, reach, same, mask, order)

        def more(step: tf.Tensor, active: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
            return tf.reduce_any(active)

        def move(
            step: tf.Tensor, active: tf.Tensor, order: tf.Tensor, moves: tf.Tensor, bites: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            left = tf.cast(most - step, tf.float32) / tf.cast(most, tf.float32)
            # What is open shifts all values of a page alike; so they are masked afterwards, and
            # one pass says too which move a guard closed.
            values = self.network(
                {
                    "candidates": _seen(own, cosine, order, length),
                    "mask": mask,
                    "actions": free,
                    "moves": left[:, tf.newaxis],
                }
            )
            wanted = tf.argmax(values, -1, tf.int32)
            chosen = tf.argmax(tf.where(opened(order), values, CLOSED), -1, tf.int32)
            bites += tf.cast(active & (chosen != wanted), tf.int32)
            active &= chosen != FINISH
            after = tf.gather(order, tf.gather(swaps, chosen), batch_dims=1)
            order = tf.where(active[:, tf.newaxis], after, order)
            moves += tf.cast(active, tf.int32)
            return step + 1, active & (step + 1 < most), order, moves, bites

        none = tf.zeros([batch], tf.int32)
        _, _, order, moves, bites = tf.while_loop(
            more, move, [tf.constant(0), (length > 1) & (most > 0), order, none, none]
        )
        return {"order": order, "moves": moves, "bites": bites, "open": opened(order)}

    def _open(
        self, page: Tensors, reach: tf.Tensor, same: tf.Tensor, mask: tf.Tensor, order: tf.Tensor
    ) -> tf.Tensor:
        """Which actions break no guard and no rule more than before, as `Guards.open`, [B, k].

        A swap moves two candidates by one position, so that it is enough to look at these.
        """
        limits = self._guards
        k = tf.shape(order)[1]
        at = tf.range(1, k + 1)[tf.newaxis]
        highest, lowest = tf.unstack(tf.gather(reach, order, batch_dims=1), axis=-1)
        # The upper one of a swap moves down, the lower one up.
        closed = (at + 1 > lowest)[:, :-1] | (at - 1 < highest)[:, 1:]
        if limits.least_relevance > 0:
            attraction = tf.where(mask, page["attraction"], 0.0)
            discount = tf.math.log(2.0) / tf.math.log(tf.cast(at + 1, tf.float32))
            now = tf.gather(attraction, order, batch_dims=1)
            least = limits.least_relevance * tf.reduce_sum(attraction * discount, -1, True)
            kept = tf.reduce_sum(now * discount, -1, True)
            gained = (now[:, 1:] - now[:, :-1]) * (discount[:, :-1] - discount[:, 1:])
            lost = tf.maximum(least - kept, 0.0)
            closed |= tf.maximum(least - kept - gained, 0.0) > lost + SLACK
        if limits.most_of_group is not None:
            closed |= self._crowded(tf.gather(same, order, batch_dims=1), order, mask)
        finish = tf.zeros_like(closed[:, :1])
        return tf.logical_not(tf.concat([finish, closed], -1))

    def _reach(self, page: Tensors) -> tf.Tensor:
        """The highest and the lowest position that limits and rules give each candidate, [B, k, 2].

        A move breaks them more than before if and only if it leads, or leads further, out of these.
        """
        pinned, boosted = page["pinned"], page["boosted"]
        everywhere = tf.shape(pinned)[1] + 1
        highest = tf.where(pinned > 0, pinned, 0)
        lowest = tf.where(pinned > 0, pinned, everywhere)
        lowest = tf.minimum(lowest, tf.where(boosted > 0, boosted, everywhere))
        if self._guards.most_shift is not None:
            began = tf.argsort(page["start"], -1) + 1
            highest = tf.maximum(highest, began - self._guards.most_shift)
            lowest = tf.minimum(lowest, began + self._guards.most_shift)
        return tf.stack([highest, lowest], -1)

    def _crowded(self, same: tf.Tensor, order: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Which swaps put more of a group into the top than a guard allows, [B, k − 1].

        Only the swap across the end of the top changes what is in it.
        """
        top, most = self._guards.top, self._guards.most_of_group
        assert most is not None
        k = tf.shape(order)[1]
        shown = tf.gather(same, order, axis=2, batch_dims=1) & mask[:, tf.newaxis, :]

        def excess(last: int) -> tf.Tensor:
            """By how much the largest group of a top that ends at a position, 0-based, is over."""
            there = (tf.range(k) < top - 1) | (tf.range(k) == last)
            counted = tf.reduce_sum(tf.cast(shown & there, tf.int32), -1)
            largest = tf.reduce_max(tf.where(there & mask, counted, 0), -1)
            return tf.maximum(largest - most, 0)

        worse = excess(top) > excess(top - 1)
        return worse[:, tf.newaxis] & (tf.range(k - 1) == top - 1)


def _own(page: Tensors, mask: tf.Tensor) -> tf.Tensor:
    """The features that no order changes, in the ranker's order, 0 for padding, [B, k, 5 + d]."""
    known = mask & (page["price"] > 0)
    level = tf.math.log(tf.where(known, page["price"], 1.0))
    count = tf.maximum(tf.reduce_sum(tf.cast(known, tf.float32), -1, True), 1.0)
    mean = tf.reduce_sum(tf.where(known, level, 0.0), -1, True) / count
    # A price that is not known counts as the page's usual price.
    price = tf.where(known, level - mean, 0.0)
    columns = [page["score"], page["attraction"], page["purchase"], price, page["dwell"] / 60]
    features = tf.concat([tf.stack(columns, -1), page["vector"]], -1)
    return tf.where(mask[..., tf.newaxis], features, 0.0)


def _swaps(k: tf.Tensor) -> tf.Tensor:
    """Where the candidate at each position comes from after each action, [k, k] int32."""
    action, position = tf.range(k)[:, tf.newaxis], tf.range(k)[tf.newaxis]
    moves = action != FINISH
    from_below = tf.cast(moves & (position == action - 1), tf.int32)
    from_above = tf.cast(moves & (position == action), tf.int32)
    return position + from_below - from_above


def _seen(own: tf.Tensor, cosine: tf.Tensor, order: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """The candidates in an order as `observed` shows them to the network, [B, k, features]."""
    position = tf.range(tf.shape(order)[1])
    shown = tf.gather(tf.gather(cosine, order, batch_dims=1), order, axis=2, batch_dims=1)
    above = tf.linalg.band_part(shown, -1, 0)
    alike = tf.reduce_sum(above, -1) - tf.linalg.diag_part(above)
    count = tf.cast(tf.maximum(length, 1), tf.float32)[:, tf.newaxis]
    rank = tf.cast(position, tf.float32) / count
    displaced = tf.cast(order - position, tf.float32) / SHIFT
    ordered = tf.gather(own, order, batch_dims=1)
    # Between them come the features that depend on the order, as in `FEATURES`.
    changed = tf.stack([alike, rank, displaced], -1)
    return tf.concat([ordered[..., :5], changed, ordered[..., 5:]], -1)
