"""What a position adds to a click, learned beside the scores and left out when serving."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

POSITIONS = 100  # positions with a logit of their own; deeper ones have that of the last
ADD, EXAMINATION, MIXTURE = "add", "examination", "mixture"
# How the tower meets the scores under the losses that want more than a sum.
FORMS = {"click_em_loss": EXAMINATION, "mixture_em_loss": MIXTURE}


class PositionTower(tf.keras.layers.Layer):
    """Logits that training compares with clicks, of scores and the positions they were shown at.

    A position k has a learned logit b_k, which begins at −log k. Its forms:

      add: score + b_k, [B, L]: the odds of a click are those of the item times those of its place.
      examination: (b_k, score), [B, L, 2], for `click_em_loss`.
      mixture: score + b_km, [B, L, M], for `mixture_em_loss`: M ways to read a page, of which
        every list follows one; the scores are common to them.

    Only the training graph has the tower: scores of the scorer, of an evaluation and of an export
    know no position. With a chance of `dropout` training takes a position for unknown, so that
    scores do not leave to it what they can tell themselves.

    Masking: a position below 1 or NaN is unknown, which has a logit of its own.

    Args:
      form: add, examination or mixture.
      dropout: Share of the positions that training takes for unknown.
      behaviours: M, of the form mixture.

    Raises:
      ValueError: A dropout that is not in [0, 1), or fewer than two behaviours of a mixture.

    Source: the additive tower: Yan et al., "Revisiting two tower models for unbiased learning to
      rank" (SIGIR 2022), equation 4; dropout: Zhao et al., "Recommending what video to watch next"
      (RecSys 2019), section 4.3. Guo et al., "PAL" (RecSys 2019), multiply chances instead.
    """

    def __init__(self, form: str = ADD, dropout: float = 0.1, behaviours: int = 2, **kwargs: Any):
        # Logits stay float32 under mixed precision, as scores do.
        super().__init__(autocast=False, dtype=tf.float32, **kwargs)
        if not 0 <= dropout < 1:
            raise ValueError(f"position_bias.dropout {dropout}: must be at least 0 and below 1")
        if form == MIXTURE and behaviours < 2:
            raise ValueError(f"position_bias.behaviours {behaviours}: a mixture has 2 or more")
        self.form, self.dropout, self.behaviours = form, dropout, behaviours
        self.dropped = tf.keras.layers.Dropout(dropout)

    def build(self, input_shape: Any) -> None:
        columns = self.behaviours if self.form == MIXTURE else 1
        log_place = np.log(np.maximum(np.arange(POSITIONS + 1), 1))[:, None]
        # The ways of a mixture differ from the start: the last reads the least far down.
        start = -log_place * (np.arange(columns) + 1) / columns
        self.table = self.add_weight(
            "table", start.shape, initializer=tf.keras.initializers.Constant(start)
        )
        # Its random generator must be there before training, to be seeded at every epoch.
        self.dropped.build(input_shape)
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Args: scores [B, L] float32; positions [B, L] float32, from 1."""
        scores, positions = inputs
        known = positions >= 1  # False for NaN
        # What dropout leaves is scaled up, what it takes is 0.
        known &= self.dropped(tf.ones_like(scores), training=training) > 0
        place = tf.cast(tf.where(known, tf.minimum(positions, POSITIONS), 0.0), tf.int32)
        logits = tf.gather(self.table, place)
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
