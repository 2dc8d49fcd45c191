"""Scores from one BERT that reads a query and a candidate's texts together."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mmrank.encoders.hf_bert import bert_backbone, copy_weights
from mmrank.encoders.hf_folder import BertShape
from mmrank.matching.rescore import best, rescored

HIDDEN = 128


class CrossEncoder(tf.keras.layers.Layer):
    """Scores [B, L, S] float32: first scores plus the output of a BERT that reads both texts.

    A pair is [CLS] query [SEP] item [SEP] without padding in between. From the BERT's output the
    layer takes the vector of [CLS], and the product and the distance of two means: over the query's
    tokens and over the item's tokens. A BERT that was trained on single sentences shows by product
    and distance how similar the two texts are. The layer that gives the scores begins at zero, so
    that a new ranker orders as it would without the cross-encoder.

    Pairs go through the BERT in sub-batches of about equal length, so that memory is bounded and
    little padding is read.

    Masking: padding is not read and changes nothing; its score is the first score. An absent text
    counts as a text without pieces.

    Args:
      shape: The BERT's architecture.
      start, end, padding: Ids of [CLS], [SEP] and [PAD].
      outputs: S.
      rescore: How many of the best candidates the BERT reads when lists are ranked, ordered by the
        first of the S first scores; None for all. In training it reads all of them.
      alone: Whether first scores are ignored.
      trainable_bert: Whether the BERT learns.
      sub_batch: Pairs that go through the BERT at a time.
      recompute: Whether a sub-batch is computed once more for its gradient.

    Source: Nogueira and Cho 2019, "Passage re-ranking with BERT", section 3; Reimers and Gurevych
    2019, "Sentence-BERT", section 3 (distance of means); Chen et al. 2016, "Training deep nets with
    sublinear memory cost" (recomputing).

    Example:
      >>> import tensorflow as tf
      >>> from mmrank.encoders.hf_folder import BertShape
      >>> shape = BertShape(
      ...     vocabulary_size=9, hidden=4, layers=1, heads=2, intermediate=8, positions=16
      ... )
      >>> layer = CrossEncoder(shape, start=1, end=2)
      >>> asked = tf.constant([[4.0, 5.0]])  # a query of two pieces
      >>> offered = tf.constant([[[6.0], [0.0]]])  # a candidate of one piece, and padding
      >>> mask, first = tf.constant([[True, False]]), tf.constant([[[0.5], [9.0]]])
      >>> layer((asked, offered, mask, first)).numpy().tolist()  # not trained yet, so it adds 0
      [[[0.5], [9.0]]]
    """

    def __init__(
        self,
        shape: BertShape,
        *,
        start: int,
        end: int,
        padding: int = 0,
        outputs: int = 1,
        rescore: int | None = None,
        alone: bool = False,
        trainable_bert: bool = True,
        sub_batch: int = 64,
        recompute: bool = True,
        **kwargs: Any,
    ):
        # Ids are integers in float32, which half precision would round.
        super().__init__(autocast=False, **kwargs)
        self.shape, self.start, self.end, self.padding = shape, start, end, padding
        self.outputs, self.rescore, self.alone = outputs, rescore, alone
        self.trainable_bert = trainable_bert
        self.sub_batch, self.recompute = sub_batch, recompute
        backbone = bert_backbone(shape)
        # Without the pooled output, which is not used, and therefore without its weights.
        self.bert = tf.keras.Model(
            backbone.input, backbone.output["sequence_output"], name="cross_bert"
        )
        self.bert.trainable = trainable_bert
        self._copy = functools.partial(copy_weights, backbone)  # an attribute would be tracked
        self.hidden = tf.keras.layers.Dense(HIDDEN, "tanh", dtype=tf.float32, name="cross_hidden")
        self.score = tf.keras.layers.Dense(
            outputs, kernel_initializer="zeros", dtype=tf.float32, name="cross_score"
        )

    def build(self, input_shape: Any) -> None:
        self.hidden.build([None, 3 * self.shape.hidden])
        self.score.build([None, HIDDEN])
        super().build(input_shape)

    def call(
        self,
        inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor],
        training: bool | None = None,
    ) -> tf.Tensor:
        """Args: pieces [B, T] and [B, L, T'] float32; mask [B, L]; first scores [B, L, S]."""
        asked, offered, mask, first = inputs
        first = tf.cast(first, tf.float32)
        chosen = mask
        if self.rescore is not None and not training:
            chosen = best(first[..., 0], mask, self.rescore)
        at = tf.where(chosen)
        # If there is nothing to read, the first pair is read and its score is dropped.
        at = tf.cond(tf.size(at) > 0, lambda: at, lambda: tf.zeros([1, 2], tf.int64))
        pieces, second = self.pairs(tf.gather(asked, at[:, 0]), tf.gather_nd(offered, at))
        order = tf.argsort(tf.reduce_sum(tf.cast(pieces > 0, tf.int32), -1))
        at = tf.gather(at, order)
        vectors = self._vectors(tf.gather(pieces, order), tf.gather(second, order))
        scores = self.score(self.hidden(vectors))
        shape = tf.concat([tf.shape(mask, tf.int64), [self.outputs]], 0)
        more = tf.where(mask[..., None], tf.scatter_nd(at, scores, shape), 0.0)
        more = tf.ensure_shape(more, [None, None, self.outputs])
        if self.alone:
            return more
        if self.rescore is None or training:
            return first + more
        # There is only one score here; this is checked where the ranker is made.
        return rescored(first[..., 0], first[..., 0] + more[..., 0], chosen)[..., None]

    def pairs(self, asked: tf.Tensor, offered: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns pieces [P, T] int32 of pairs, 0 for padding at the end, and segments [P, T].

        Args:
          asked, offered: Pieces [P, ...] of queries and of items: ids plus 1, 0 for no piece.
        """
        one = tf.ones_like(asked[:, :1], tf.int32)
        asked, offered = tf.cast(asked, tf.int32), tf.cast(offered, tf.int32)
        start, end = one * (self.start + 1), one * (self.end + 1)
        spread = tf.concat([start, asked, end, offered, end], -1)
        second = tf.concat([tf.zeros_like(asked), 0 * one, 0 * one, 0 * offered + 1, one], -1)
        there = spread > 0
        pieces, segments = (tf.ragged.boolean_mask(x, there).to_tensor(0) for x in (spread, second))
        return pieces, segments

    def _vectors(self, pieces: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
        """Vectors [P, 3H] float32 of pairs, which are sorted by length."""
        if not self.recompute or not self.bert.trainable_variables:
            return self._looped(pieces, second)

        @tf.custom_gradient
        def computed_twice(pieces: tf.Tensor, second: tf.Tensor) -> tuple[tf.Tensor, Any]:
            def gradient(
                upstream: tf.Tensor, variables: Sequence[tf.Variable] = ()
            ) -> tuple[tuple[None, None], list[tf.Tensor]]:
                return (None, None), self._gradients(pieces, second, upstream, variables)

            return self._looped(pieces, second), gradient

        return computed_twice(pieces, second)

    def _looped(self, pieces: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
        """Vectors [P, 3H], computed sub-batch by sub-batch."""
        count = -(-tf.shape(pieces)[0] // self.sub_batch)
        width = 3 * self.shape.hidden
        found = tf.TensorArray(tf.float32, count, element_shape=[None, width], infer_shape=False)

        def step(i: tf.Tensor, found: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            return i + 1, found.write(i, self.read(*self._part(i, pieces, second)))

        _, found = tf.while_loop(
            lambda i, _: i < count, step, (tf.constant(0), found), parallel_iterations=1
        )
        return tf.ensure_shape(found.concat(), [None, width])

    def _gradients(
        self,
        pieces: tf.Tensor,
        second: tf.Tensor,
        upstream: tf.Tensor,
        variables: Sequence[tf.Variable],
    ) -> list[tf.Tensor]:
        """Gradients of some variables, given the gradients of all vectors [P, 3H]."""
        count = -(-tf.shape(pieces)[0] // self.sub_batch)

        def step(i: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            with tf.GradientTape() as tape:
                vectors = self.read(*self._part(i, pieces, second))
            (above,) = self._rows(i, upstream)
            each = tape.gradient(vectors, list(variables), above)
            added = [
                s if g is None else s + tf.convert_to_tensor(g)
                for s, g in zip(sums, each, strict=True)
            ]
            return i + 1, *added

        zeros = [tf.zeros(v.shape, v.dtype) for v in variables]
        _, *sums = tf.while_loop(
            lambda i, *_: i < count, step, (tf.constant(0), *zeros), parallel_iterations=1
        )
        return sums

    def _part(
        self, i: tf.Tensor, pieces: tf.Tensor, second: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The pieces and segments of the i-th sub-batch, as wide as its longest pair."""
        pieces, second = self._rows(i, pieces, second)
        longest = tf.reduce_max(tf.reduce_sum(tf.cast(pieces > 0, tf.int32), -1))
        return pieces[:, :longest], second[:, :longest]

    def _rows(self, i: tf.Tensor, *tensors: tf.Tensor) -> tuple[tf.Tensor, ...]:
        first = i * self.sub_batch
        return tuple(t[first : first + self.sub_batch] for t in tensors)

    def read(self, pieces: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
        """Vectors [P, 3H] float32 that the BERT makes of pairs.

        Args:
          pieces, second: As `pairs` gives them.
        """
        there = tf.cast(pieces > 0, tf.int32)
        ids = tf.where(pieces > 0, pieces - 1, self.padding)
        tokens = self.bert({"token_ids": ids, "segment_ids": second, "padding_mask": there})
        tokens = tf.cast(tokens, tf.float32)
        query = _mean(tokens, there * (1 - second))
        item = _mean(tokens, there * second)
        return tf.concat([tokens[:, 0], query * item, tf.abs(query - item)], -1)

    def take(self, weights: dict[str, Any]) -> tuple[str, ...]:
        """Copies the weights that the BERT has; returns the names of the tensors left over.

        Args:
          weights: As `mmrank.encoders.hf_folder.read_weights` gives them.

        Raises:
          InputError: A tensor is missing or has another shape.
        """
        return self._copy(weights)

    def get_config(self) -> dict[str, Any]:
        names = (
            *("start", "end", "padding", "outputs", "rescore", "alone", "trainable_bert"),
            *("sub_batch", "recompute"),
        )
        return super().get_config() | {
            "shape": dataclasses.asdict(self.shape),
            **{name: getattr(self, name) for name in names},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CrossEncoder:
        """The layer that `get_config` describes."""
        return cls(BertShape(**config.pop("shape")), **config)


def _mean(tokens: tf.Tensor, where: tf.Tensor) -> tf.Tensor:
    """Means [P, H] of tokens [P, T, H] where `where` [P, T] is 1."""
    weight = tf.cast(where, tokens.dtype)[..., None]
    return tf.reduce_sum(tokens * weight, 1) / tf.maximum(tf.reduce_sum(weight, 1), 1.0)
