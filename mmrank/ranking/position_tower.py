"""The effect of a position on clicks, learned alongside the scores and left out when serving."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

POSITIONS = 100  # positions with their own logit; deeper ones have the logit of the last
ADD, EXAMINATION, MIXTURE = "add", "examination", "mixture"


class PositionTower(tf.keras.layers.Layer):
    """Logits that training compares with clicks, from scores and the positions of the candidates.

    A position k has a learned logit b_k, which begins at −log k. The forms are:

      add: score + b_k, [B, L]: the odds of a click are the item's odds times the position's odds.
      examination: (b_k, score), [B, L, 2], for `click_em_loss`.
      mixture: score + b_km, [B, L, M], for `mixture_em_loss`: M ways to read a page, of which every
        list follows one; all of them share the scores.

    Only the training graph has the tower: scores of the scorer, of an evaluation and of an export
    do not depend on positions. With a probability of `dropout`, training treats a position as
    unknown, so that scores must learn what they can explain without positions.

    Masking: a position below 1 or NaN is unknown, which has its own logit.

    Args:
      form: add, examination or mixture.
      dropout: Share of the positions that training treats as unknown.
      behaviours: M, for the form mixture.

    Raises:
      ValueError: The dropout is not in [0, 1), or a mixture has fewer than two behaviours.

    Source: the additive tower: Yan et al., "Revisiting two tower models for unbiased learning to
      rank" (SIGIR 2022), equation 4; dropout: Zhao et al., "Recommending what video to watch next"
      (RecSys 2019), section 4.3. Guo et al., "PAL" (RecSys 2019), multiply probabilities instead.

    Example:
      Before training, position k has the logit −ln k; an unknown position has 0:

      >>> import tensorflow as tf
      >>> tower = PositionTower()
      >>> tower((tf.zeros([1, 3]), tf.constant([[1.0, 2.0, float("nan")]]))).numpy().round(4)
      array([[ 0.    , -0.6931,  0.    ]], dtype=float32)
    """

    def __init__(self, form: str = ADD, dropout: float = 0.1, behaviours: int = 2, **kwargs: Any):
        # Logits stay float32 under mixed precision, like scores.
        super().__init__(autocast=False, dtype=tf.float32, **kwargs)
        if not 0 <= dropout < 1:
            raise ValueError(f"position_bias.dropout {dropout}: must be at least 0 and below 1")
        if form == MIXTURE and behaviours < 2:
            raise ValueError(f"position_bias.behaviours {behaviours}: a mixture needs 2 or more")
        self.form, self.dropout, self.behaviours = form, dropout, behaviours
        self.dropped = tf.keras.layers.Dropout(dropout)

    def build(self, input_shape: Any) -> None:
        columns = self.behaviours if self.form == MIXTURE else 1
        log_position = np.log(np.maximum(np.arange(POSITIONS + 1), 1))[:, None]
        # The columns of a mixture differ from the start: the last one falls fastest with depth.
        start = -log_position * (np.arange(columns) + 1) / columns
        self.table = self.add_weight(
            "table", start.shape, initializer=tf.keras.initializers.Constant(start)
        )
        # The random generator must exist before training, to be seeded at every epoch.
        self.dropped.build(input_shape)
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Args: scores [B, L] float32; positions [B, L] float32, from 1."""
        scores, positions = inputs
        known = positions >= 1  # False for NaN
        # Dropout scales up what it keeps and sets the rest to 0.
        known &= self.dropped(tf.ones_like(scores), training=training) > 0
        index = tf.cast(tf.where(known, tf.minimum(positions, POSITIONS), 0.0), tf.int32)
        logits = tf.gather(self.table, index)
        if self.form == EXAMINATION:
            return tf.stack([logits[..., 0], scores], -1)
        if self.form == MIXTURE:
            return scores[..., None] + logits
        return scores + logits[..., 0]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "form": self.form,
            "dropout": self.dropout,
            "behaviours": self.behaviours,
        }
