"""The optimizer: AdamW with linear warm-up and cosine decay."""

from __future__ import annotations

import tensorflow as tf


def make_optimizer(
    *, learning_rate: float, steps: int, warmup: float, weight_decay: float, clip_norm: float
) -> tf.keras.optimizers.Optimizer:
    """AdamW whose rate climbs to `learning_rate`, then falls to zero along a cosine.

    Args:
      learning_rate: The peak.
      steps: Of the whole training.
      warmup: Share of the steps spent climbing.
      weight_decay: Decoupled; biases, norms and embeddings of absence are spared.
      clip_norm: Bound on the gradient's global norm.

    Source: Loshchilov and Hutter 2019, "Decoupled weight decay regularization".
    """
    rising = max(int(steps * warmup), 1)
    schedule = tf.keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(steps - rising, 1),
        warmup_target=learning_rate,
        warmup_steps=rising,
    )
    optimizer = tf.keras.optimizers.AdamW(
        schedule, weight_decay=weight_decay, global_clipnorm=clip_norm
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "absent"])
    return optimizer
