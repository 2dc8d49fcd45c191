"""Layers over sound: a convolutional network on log-mel spectrograms, or a TF-Hub model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_hub

from mmrank.config import ConfigError
from mmrank.encoders.logmel import NO_SAMPLE, frames_there
from mmrank.tracing import traced


class SpectrogramMasking(tf.keras.__internal__.layers.BaseRandomLayer):
    """Spectrograms [N, T, M] with a run of frames and a run of bands at zero, in training only.

    The length of a run is uniform from 0 to its share of the frames that are present, or of the
    bands; its start is uniform among those where it fits.

    Args:
      time: Longest run, as a share of the recording's frames.
      frequency: Widest run, as a share of the bands.

    Source: Park et al. 2019, "SpecAugment", section 2, with one mask each and the bound p on the
      share of the frames.
    """

    def __init__(self, time: float, frequency: float, **kwargs: Any):
        super().__init__(force_generator=True, **kwargs)
        self.time, self.frequency = time, frequency

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Args: spectrograms [N, T, M]; present frames [N, T] bool, the first ones of each."""
        mels, there = inputs
        if not training:
            return mels
        frames = tf.reduce_sum(tf.cast(there, tf.float32), 1)
        bands = tf.fill(tf.shape(frames), float(mels.shape[2]))
        over_time = self._run(frames, self.time, mels.shape[1])[..., None]
        over_bands = self._run(bands, self.frequency, mels.shape[2])[:, None]
        return tf.where(over_time | over_bands, tf.zeros([], mels.dtype), mels)

    def _run(self, length: tf.Tensor, share: float, most: int) -> tf.Tensor:
        """Returns one random run [N, most] bool in each of N sequences of the given lengths [N]."""
        draw = self._random_generator.random_uniform
        width = tf.floor(draw(tf.shape(length)) * (share * length + 1.0))
        first = tf.floor(draw(tf.shape(length)) * (length - width + 1.0))[:, None]
        at = tf.range(most, dtype=tf.float32)[None]
        return (at >= first) & (at < first + width[:, None])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"time": self.time, "frequency": self.frequency}


class SoundConvolutions(tf.keras.layers.Layer):
    """Embeddings [N, D'] of log-mel spectrograms [N, T, M] as `log_mels` returns them.

    BatchNormalization normalises the bands. Each block convolves 3 x 3, normalises, rectifies, and
    halves time and frequency by max pooling. The result concatenates mean and maximum over time:
    D' = 2 · filters[-1] · (bands left).

    Masking: missing frames are zero before every convolution and take no part in statistics or
    pooling, so padding has no effect.

    Args:
      filters: Filters of each block's convolution.
      dropout: Dropout on the result.
      time_mask, frequency_mask: As in `SpectrogramMasking`.
      momentum: Momentum of BatchNormalization.

    Source: the blocks of Simonyan and Zisserman 2015, as in Hershey et al. 2017, "CNN
      architectures for large-scale audio classification"; mean and maximum over time as in Kong et
      al. 2020, "PANNs", section II.
    """

    def __init__(
        self,
        filters: Sequence[int],
        *,
        dropout: float,
        time_mask: float,
        frequency_mask: float,
        momentum: float,
        **kwargs: Any,
    ):
        super().__init__(autocast=False, **kwargs)
        self.arguments = {
            "filters": tuple(filters),
            "dropout": dropout,
            "time_mask": time_mask,
            "frequency_mask": frequency_mask,
            "momentum": momentum,
        }

        def norm() -> tf.keras.layers.BatchNormalization:
            # float32: masked statistics are sums over frames, for which 16 bits are too few.
            return tf.keras.layers.BatchNormalization(
                momentum=momentum, fused=False, dtype=tf.float32
            )

        self.bands = norm()
        self.masking = SpectrogramMasking(time_mask, frequency_mask)
        self.convolutions = [
            tf.keras.layers.Conv2D(f, 3, padding="same", use_bias=False) for f in filters
        ]
        self.norms = [norm() for _ in filters]
        self.pool = tf.keras.layers.MaxPool2D(2, padding="same")
        self.dropout = tf.keras.layers.Dropout(dropout)

    def build(self, input_shape: Any) -> None:
        # The random generators must exist before training, to be seeded at every epoch.
        self.masking.build(input_shape)
        self.dropout.build(input_shape)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        there = frames_there(inputs)
        given = tf.where(there[..., None], tf.cast(inputs, tf.float32), 0.0)
        mels = self.bands(given, training=training, mask=there)
        x = self.masking((mels, there), training=training)[..., None]
        x = tf.cast(x, self.compute_dtype)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            kept = there[:, :, None]
            x = convolution(_where(kept, x))
            x = tf.nn.relu(norm(x, training=training, mask=kept))
            x = self.pool(_where(kept, tf.cast(x, self.compute_dtype)))
            there = there[:, ::2]  # present frames come first
        features = tf.reshape(x, [tf.shape(x)[0], x.shape[1], x.shape[2] * x.shape[3]])
        # Features are at least zero, so zero is neutral for the maximum too. 16 bits round sums.
        features = _where(there, tf.cast(features, tf.float32))
        count = tf.reduce_sum(tf.cast(there, tf.float32), 1)[:, None]
        mean = tf.reduce_sum(features, 1) / tf.maximum(count, 1)
        pooled = tf.concat([mean, tf.reduce_max(features, 1)], -1)
        return self.dropout(pooled, training=training)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.arguments


class HubSound(tensorflow_hub.KerasLayer):
    """Embeddings [N, D] of 16-bit samples [N, S] as `samples_16` returns them.

    A model such as YAMNet maps one waveform [n] float32 in [−1, 1) to an embedding [D], or to
    embeddings [frames, D] whose mean is taken.

    Masking: the model receives a recording up to its end, or silence if there is no recording.

    Args:
      handle: URL or local folder of the model.
      trainable: Whether the model continues to learn.
      output: Which of several outputs is the embedding: an index for a tuple, else a name.

    Raises:
      ConfigError: The model has no such output, or its width is unknown.
    """

    def __init__(self, handle: str, trainable: bool, output: str, **kwargs: Any):
        super().__init__(handle, trainable=trainable, dtype=tf.float32, autocast=False, **kwargs)
        self.source, self.output_key = handle, output

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        def embed(samples: tf.Tensor) -> tf.Tensor:
            there = samples != NO_SAMPLE
            wave = tf.where(there, tf.cast(samples, tf.float32) / 32768.0, 0.0)
            count = tf.reduce_sum(tf.cast(there, tf.int32))
            wave = tf.cond(count > 0, lambda: wave[:count], lambda: wave)
            frames = self._embedding(super(HubSound, self).call(wave, training=training))
            return tf.reduce_mean(tf.reshape(frames, [-1, frames.shape[-1]]), 0)

        made = traced(embed).get_concrete_function(tf.TensorSpec(inputs.shape[1:], tf.int16))
        embedding = tf.TensorSpec(made.structured_outputs.shape, tf.float32)
        return tf.map_fn(made, inputs, fn_output_signature=embedding)

    def _embedding(self, given: Any) -> tf.Tensor:
        """Returns the embedding among the model's outputs."""
        if isinstance(given, (tuple, list)):
            given = dict(enumerate(given))
        if isinstance(given, dict):
            known = {str(key): value for key, value in given.items()}
            if self.output_key not in known:
                raise ConfigError(
                    f"{self.source}: no output {self.output_key!r}; set `output` to one of "
                    f"{', '.join(known)}"
                )
            given = known[self.output_key]
        if given.shape.rank is None or given.shape[-1] is None:
            raise ConfigError(f"{self.source}: gives embeddings of unknown width")
        return given


def _where(there: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Returns values where present, zero elsewhere; `there` lacks the last axis."""
    return tf.where(there[..., None], values, tf.zeros([], values.dtype))
