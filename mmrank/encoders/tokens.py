"""Modality tokens: encoder outputs at one width, absent ones replaced by a learned vector.

Training may hide present modalities, so that the ranker learns to work without each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mmrank.encoders.norm import layer_norm


class ModalityDropout(tf.keras.layers.Layer):
    """Presence [N, M] bool in which training hides some present modalities; unchanged otherwise.

    A row that would lose all its modalities keeps all of them. Hidden modalities are not encoded,
    so dropping an expensive modality also saves its time.

    Args:
      rates: Probability of hiding each modality, in [0, 1).

    Source: Neverova et al. 2016, "ModDrop", section 3.3.

    Example:
      >>> import tensorflow as tf
      >>> present = tf.constant([[True, True], [False, True]])
      >>> layer = ModalityDropout([0.5, 0.5])
      >>> bool(tf.reduce_all(layer(present) == present))  # nothing is hidden outside of training
      True
      >>> bool(tf.reduce_all(tf.reduce_any(layer(present, training=True), -1)))
      True
    """

    def __init__(self, rates: Sequence[float], **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.rates = tuple(rates)
        self.drops = [tf.keras.layers.Dropout(rate) for rate in self.rates]

    def build(self, input_shape: Any) -> None:
        # The random generators must exist before training, to be seeded at every epoch.
        for drop in self.drops:
            drop.build(input_shape)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if not training:
            return inputs
        ones = tf.ones_like(inputs[..., 0], tf.float32)
        kept = tf.stack([drop(ones, training=True) > 0 for drop in self.drops], -1)
        left = inputs & kept
        return tf.where(tf.reduce_any(left, -1, keepdims=True), left, inputs)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"rates": self.rates}


def static_shapes() -> bool:
    """Returns whether tensor sizes must be known before a step, as XLA requires on TPUs."""
    return isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)


class PresentOnly(tf.keras.layers.Layer):
    """Embeddings [N, D'] where the modality is present, zeros elsewhere.

    The wrapped encoder receives only the present rows. Absent rows cost nothing, and the values
    stored for them affect neither results nor the statistics of BatchNormalization. If no row is
    present, the first row is encoded and its result dropped, so that batch statistics are never
    taken over zero rows. On TPUs all rows are encoded, absent ones as zeros, because the number of
    rows has to be known in advance; there, absent rows count in the statistics of
    BatchNormalization.

    Args:
      encoder: A layer [N, ...] → [N, D'].

    Example:
      >>> import tensorflow as tf
      >>> encoder = PresentOnly(tf.keras.layers.Rescaling(2.0))
      >>> encoder((tf.constant([[1.0], [5.0]]), tf.constant([True, False]))).numpy().tolist()
      [[2.0], [0.0]]
    """

    def __init__(self, encoder: tf.keras.layers.Layer, **kwargs: Any):
        # Raw values keep their precision under mixed precision: 2003 is 2000 in bfloat16.
        super().__init__(autocast=False, **kwargs)
        self.encoder = encoder

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        values, present = inputs
        if static_shapes():
            ones = tf.ones([values.shape.rank - 1], tf.int32)
            there = tf.reshape(present, tf.concat([tf.shape(present), ones], 0))
            values = tf.where(there, values, tf.zeros([], values.dtype))
            encoded = self.encoder(values, training=training)
            return tf.where(present[:, None], encoded, tf.zeros([], encoded.dtype))
        rows = tf.where(present)[:, 0]
        rows = tf.cond(tf.size(rows) > 0, lambda: rows, lambda: tf.zeros([1], tf.int64))
        encoded = self.encoder(tf.gather(values, rows), training=training)
        shape = tf.stack([tf.shape(present, tf.int64)[0], tf.cast(encoded.shape[-1], tf.int64)])
        spread = tf.scatter_nd(rows[:, None], encoded, shape)
        return tf.where(present[:, None], spread, tf.zeros([], encoded.dtype))


class InOneBatch(tf.keras.layers.Layer):
    """Embeddings [N_i, D'] of several features that share an encoder, encoded as one batch.

    Args:
      encoder: The encoder over present rows.
    """

    def __init__(self, encoder: PresentOnly, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.encoder = encoder

    def call(
        self, inputs: tuple[list[tf.Tensor], list[tf.Tensor]], training: bool | None = None
    ) -> list[tf.Tensor]:
        """Args: values, tensors [N_i, ...] that differ in N_i only; present, tensors [N_i] bool."""
        values, present = inputs
        both = (tf.concat(values, 0), tf.concat(present, 0))
        sizes = tf.stack([tf.shape(p)[0] for p in present])
        return tf.split(self.encoder(both, training=training), sizes)


class ModalityTokens(tf.keras.layers.Layer):
    """Tokens [..., M, D] of M modalities: each projected, and most of them layer-normalised.

    Masking: the token of an absent modality is a learned embedding; its input value has no effect.

    Args:
      names: The modalities' names, in the order of the inputs.
      width: D.
      unnormed: Names of modalities that keep their magnitude, which a layer norm would remove.

    Example:
      >>> import tensorflow as tf
      >>> layer = ModalityTokens(("title", "photo"), width=4)
      >>> embeddings = [tf.ones([3, 8]), tf.ones([3, 16])]
      >>> present = [tf.constant([True, True, True]), tf.constant([True, False, False])]
      >>> tokens = layer((embeddings, present))
      >>> tokens.shape
      TensorShape([3, 2, 4])
      >>> bool(tf.reduce_all(tokens[1, 1] == tokens[2, 1]))  # two items without a photo
      True
    """

    def __init__(
        self, names: tuple[str, ...], width: int, unnormed: tuple[str, ...] = (), **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.names, self.width, self.unnormed = tuple(names), width, tuple(unnormed)
        self.projections = [tf.keras.layers.Dense(width, name=f"{n}_projection") for n in names]
        self.norms = [None if n in self.unnormed else layer_norm(f"{n}_norm") for n in names]

    def build(self, input_shape: Any) -> None:
        self.absent = self.add_weight(
            "absent",
            [len(self.names), self.width],
            initializer=tf.keras.initializers.RandomNormal(stddev=0.5),
        )
        super().build(input_shape)

    def call(self, inputs: tuple[list[tf.Tensor], list[tf.Tensor]]) -> tf.Tensor:
        """Args: embeddings, M tensors [..., D']; present, M tensors [...] bool."""
        tokens = []
        for i, (embedding, present) in enumerate(zip(*inputs, strict=True)):
            token = self.projections[i](tf.cast(embedding, self.compute_dtype))
            norm = self.norms[i]
            token = token if norm is None else norm(token)
            absent = tf.cast(self.absent[i], token.dtype)
            tokens.append(tf.where(present[..., None], token, absent))
        return tf.stack(tokens, axis=-2)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "names": self.names,
            "width": self.width,
            "unnormed": self.unnormed,
        }
