"""The base classes of losses over lists: what training calls, and what a custom loss implements."""

from __future__ import annotations

import abc

import tensorflow as tf


class BatchLoss(tf.keras.losses.Loss, abc.ABC):
    """A loss of a batch of lists, the mean of its values per list.

    For scores [B, L, K] of K members it is the mean of the losses of all members, unless the loss
    reads several logits of a candidate.
    """

    reads_logits = False

    def __call__(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The loss, a scalar.

        Args:
          y_true, y_pred: As for `call`.
          sample_weight: Weights [B, L] of the candidates; None if all count alike.
        """
        if sample_weight is None:
            return super().__call__(y_true, y_pred)
        return tf.reduce_mean(self.per_list(y_true, y_pred, sample_weight))

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Values [B] whose mean is the loss.

        Args:
          y_true: Labels [B, L], −1 for padding.
          y_pred: Scores [B, L], or [B, L, K] of K members or of K logits.
        """
        return self.per_list(y_true, y_pred)

    def per_list(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, weights: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Values [B] whose mean is the loss; `weights` is the loss's `sample_weight`."""
        if len(y_pred.shape) == 3 and not self.reads_logits:
            count = y_pred.shape[-1]
            each = tf.reshape(tf.transpose(y_pred, [2, 0, 1]), [-1, tf.shape(y_pred)[1]])
            labels = tf.tile(y_true, [count, 1])
            rows = None if weights is None else tf.tile(weights, [count, 1])
            return tf.reduce_mean(tf.reshape(self.per_list(labels, each, rows), [count, -1]), 0)
        return self._values(y_true, y_pred, weights)

    @abc.abstractmethod
    def _values(self, y_true: tf.Tensor, y_pred: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
        """Values [B] whose mean is the loss, for one score of each candidate."""


class ListLoss(BatchLoss, abc.ABC):
    """The base class of custom losses, which implement `values`.

    Masking: padding is False in the mask. Its scores may be anything and must not change the
    values.

    Example:
      >>> import tensorflow as tf
      >>> class SquaredError(ListLoss):  # the sum over the candidates of a list
      ...     def values(self, labels, scores, mask, weights):
      ...         squares = weights * (labels - scores) ** 2
      ...         return tf.reduce_sum(tf.where(mask, squares, 0.0), -1)
      >>> labels, scores = tf.constant([[1.0, 0.0, -1.0]]), tf.constant([[3.0, 1.0, 9.0]])
      >>> float(SquaredError()(labels, scores))  # the third slot is padding
      5.0
    """

    @abc.abstractmethod
    def values(
        self, labels: tf.Tensor, scores: tf.Tensor, mask: tf.Tensor, weights: tf.Tensor
    ) -> tf.Tensor:
        """Values [B] of the lists, whose mean is the loss.

        Args:
          labels: [B, L] float32, 0 for padding.
          scores: [B, L] float32.
          mask: [B, L] bool, True for candidates that take part.
          weights: [B, L] float32, 1 if all candidates count alike.
        """

    def _values(self, y_true: tf.Tensor, y_pred: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
        labels = tf.cast(y_true, y_pred.dtype)
        mask = labels >= 0
        counted = tf.ones_like(labels) if weights is None else tf.cast(weights, labels.dtype)
        return self.values(tf.where(mask, labels, 0.0), y_pred, mask, counted)
