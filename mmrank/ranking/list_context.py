"""Adjusts scores by a GRU over the list, which reads the candidates in order of initial score."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

# Slices of the tensor that compares a candidate's state with the list's state.
SLICES = 4


class ListContext(tf.keras.layers.Layer):
    """Terms [B, L] float32 that the other candidates add to a candidate's initial score.

    The best candidates by initial score go through a GRU from the lowest to the highest, so that
    the best come last and influence its final state s most. A candidate whose output is o gets the
    term V · (o · tanh(W s + b)), where W has several slices and V weights them.

    The order itself has no gradient; adding the terms to the initial scores gives these a gradient.
    Permuting the candidates of the list permutes the terms, since equal initial scores are ordered
    by the candidates' own vectors. Only duplicates keep the order that they have in the list.

    Masking: padding is not read and gets the term 0, as do candidates that are not among the best.

    Args:
      units: Width of the GRU.
      top: How many of the best candidates the GRU reads; None for all.
      bidirectional: Whether a second GRU reads from the highest to the lowest.
      dropout: Share of a candidate's values dropped in training.

    Raises:
      ValueError: `units` or `top` is below 1.

    Source: Ai et al. 2018, "Learning a deep listwise context model for ranking refinement",
    section 3 and figure 1. There the initial scores come from a ranker that was trained before, and
    the final score is the term alone.

    Example:
      >>> import tensorflow as tf
      >>> layer = ListContext(units=4, top=2)
      >>> vectors = tf.random.stateless_normal([1, 3, 5], seed=[0, 1])
      >>> scores, mask = tf.constant([[3.0, 1.0, 2.0]]), tf.constant([[True, True, True]])
      >>> terms = layer((vectors, scores, mask))
      >>> terms.shape, float(terms[0, 1])  # only the best two candidates are read
      (TensorShape([1, 3]), 0.0)
    """

    def __init__(
        self,
        units: int,
        top: int | None = None,
        bidirectional: bool = False,
        dropout: float = 0.0,
        **kwargs: Any,
    ):
        # Initial scores stay float32 under mixed precision, since rounded scores would tie.
        super().__init__(autocast=False, **kwargs)
        self.arguments = {
            "units": units,
            "top": top,
            "bidirectional": bidirectional,
            "dropout": dropout,
        }
        for name, value in (("gru_units", units), ("gru_top", top)):
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected 1 or more, got {value}")
        self.top = top
        self.dropout = tf.keras.layers.Dropout(dropout)
        recurrent = tf.keras.layers.GRU(units, return_sequences=True, return_state=True)
        self.recurrent = tf.keras.layers.Bidirectional(recurrent) if bidirectional else recurrent
        width = 2 * units if bidirectional else units
        self.facing = tf.keras.layers.Dense(SLICES * width, "tanh", name="facing")
        self.term = tf.keras.layers.Dense(1, use_bias=False, name="term")

    def call(
        self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor], training: bool | None = None
    ) -> tf.Tensor:
        """Args: vectors [B, L, F]; initial scores [B, L] float32; mask [B, L] bool."""
        vectors, initial, mask = inputs
        ties = tf.reduce_sum(tf.cast(vectors, tf.float32), -1)
        order, read = reading_order(initial, ties, mask, self.top)
        rows = self.dropout(tf.gather(vectors, order, batch_dims=1), training=training)
        outputs, *states = self.recurrent(rows, mask=read, training=training)
        width = outputs.shape[-1]
        facing = tf.reshape(self.facing(tf.concat(states, -1)), [-1, SLICES, width])
        terms = self.term(tf.einsum("bnd,bkd->bnk", outputs, facing))[..., 0]
        terms = tf.where(read, tf.cast(terms, tf.float32), 0.0)
        return put_back(terms, order, tf.shape(mask)[1])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.arguments


def reading_order(
    scores: tf.Tensor, ties: tf.Tensor, mask: tf.Tensor, top: int | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """The candidates of each list from the lowest to the highest score, and which are read.

    Args:
      scores: [B, L] float32.
      ties: [B, L] float32, by which candidates of equal score are ordered, lowest first.
      mask: [B, L] bool.
      top: How many of the highest are read; None for all.

    Returns:
      Indices [B, N] int32 into the list, N the smaller of L and `top`; [B, N] bool, True for those
      read. Padding comes last, so that a GRU on an accelerator keeps its fast kernel.

    Example:
      The two best of three candidates, the lower first:

      >>> import tensorflow as tf
      >>> scores, mask = tf.constant([[3.0, 1.0, 2.0]]), tf.constant([[True, True, True]])
      >>> order, read = reading_order(scores, tf.zeros([1, 3]), mask, top=2)
      >>> order.numpy().tolist(), read.numpy().tolist()
      ([[2, 0]], [[True, True]])
    """
    length = tf.shape(mask)[1]
    wanted = length if top is None else tf.minimum(top, length)
    # Sorting by the second key first, then stably by the first one.
    by_ties = tf.argsort(ties, direction="DESCENDING", stable=True)
    keys = tf.gather(tf.where(mask, scores, scores.dtype.min), by_ties, batch_dims=1)
    best_first = tf.gather(
        by_ties, tf.argsort(keys, direction="DESCENDING", stable=True), batch_dims=1
    )
    count = tf.minimum(tf.reduce_sum(tf.cast(mask, tf.int32), 1), wanted)
    order = tf.reverse_sequence(best_first[:, :wanted], count, seq_axis=1)
    return order, tf.sequence_mask(count, wanted)


def put_back(values: tf.Tensor, order: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Values [B, L] in the order of the list, from values [B, N] in another order; 0 elsewhere.

    Args:
      values: [B, N].
      order: [B, N] int32, the index of each value in the list; no index occurs twice.
      length: L.

    Example:
      >>> import tensorflow as tf
      >>> put_back(tf.constant([[0.5, 0.9]]), tf.constant([[2, 0]]), tf.constant(3)).numpy()
      array([[0.9, 0. , 0.5]], dtype=float32)
    """
    shape = tf.shape(order)
    lists = tf.broadcast_to(tf.range(shape[0])[:, None], shape)
    return tf.scatter_nd(tf.stack([lists, order], -1), values, [shape[0], length])
