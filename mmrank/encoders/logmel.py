"""Sound in the graph: from WAV bytes to samples, from samples to a log-mel spectrogram."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

LOWEST = 60.0  # Hz; lower frequencies are mostly hum
OFFSET = 1e-3  # added to magnitudes, which keeps the logarithm of silence finite
# Values of frames, and of 16-bit samples, after the end of a recording. Real ones are never as low:
# log(OFFSET) is −6.9, and the lowest sample is raised by one.
NO_FRAME, NO_SAMPLE = -100.0, -32768


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """The parameters that turn samples into frames.

    Attributes:
      rate: Samples per second.
      seconds: How much of a recording is kept.
      frame_ms, hop_ms: Length of a frame, and step from one frame to the next, in milliseconds.
      mels: Bands on the mel scale from `LOWEST` Hz to half the rate.

    Example:
      >>> spectrum = Spectrum(rate=16_000, seconds=1.0, frame_ms=25.0, hop_ms=10.0, mels=40)
      >>> spectrum.samples, spectrum.frame, spectrum.hop, spectrum.frames
      (16000, 400, 160, 100)
    """

    rate: int
    seconds: float
    frame_ms: float
    hop_ms: float
    mels: int

    @property
    def samples(self) -> int:
        """How many samples of a recording are kept."""
        return round(self.seconds * self.rate)

    @property
    def frame(self) -> int:
        """How many samples a frame has."""
        return round(self.frame_ms * self.rate / 1000)

    @property
    def hop(self) -> int:
        """How many samples lie between the starts of two successive frames."""
        return round(self.hop_ms * self.rate / 1000)

    @property
    def frames(self) -> int:
        """How many frames a recording of full length has, the last ones padded with zeros."""
        return -(-self.samples // self.hop)

    def weights(self) -> tf.Tensor:
        """Returns mel filters [bins, mels] for the bins of an FFT of the next power of two."""
        size = 2 ** (self.frame - 1).bit_length()
        return tf.signal.linear_to_mel_weight_matrix(
            self.mels, size // 2 + 1, self.rate, LOWEST, self.rate / 2
        )


def decode_wavs(raw: tf.Tensor, rate: int, samples: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns samples [N, samples] float32 in [−1, 1), zeros after the end, and their count [N].

    Args:
      raw: 16-bit PCM WAV files [N]; the empty string has no samples. Only the first channel of
        several is used.
      rate: Samples per second that each file must have.
      samples: Maximum number of samples that are kept.

    Raises:
      tf.errors.InvalidArgumentError: A file is not such a WAV, or has another rate.
    """
    message = f"a recording has to be a 16-bit PCM WAV of {rate} samples a second"

    def decoded(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        wave, given = tf.audio.decode_wav(data, desired_channels=1)
        with tf.control_dependencies([tf.debugging.assert_equal(given, rate, message)]):
            wave = tf.identity(wave[:samples, 0])
        padded = tf.pad(wave, [[0, samples - tf.size(wave)]])
        return tf.ensure_shape(padded, [samples]), tf.size(wave)

    def decode(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        silent = (tf.zeros([samples]), tf.constant(0))
        return tf.cond(tf.strings.length(data) == 0, lambda: silent, lambda: decoded(data))

    spec = (tf.TensorSpec([samples], tf.float32), tf.TensorSpec([], tf.int32))
    return tf.map_fn(decode, raw, fn_output_signature=spec)


def log_mels(waves: tf.Tensor, counts: tf.Tensor, spectrum: Spectrum) -> tf.Tensor:
    """Returns log-mel spectrograms [N, frames, mels] float16.

    ln(0.001 + Σ w |STFT|) over Hann windows, w the mel filters. Frame t begins with sample t · hop.

    Masking: frames that begin after the end of the recording are `NO_FRAME`; the first frame is
    always present. The length of the padding has no effect on the other frames.

    Args:
      waves: Samples [N, S] float32, zeros after the end.
      counts: How many samples each recording has, [N] int32.
      spectrum: The parameters that turn samples into frames.

    Source: Hershey et al. 2017, "CNN architectures for large-scale audio classification",
      section 3.1, with the offset of its successor YAMNet.

    Example:
      Half a second of silence, ln 0.001 in every band:

      >>> import tensorflow as tf
      >>> spectrum = Spectrum(rate=16_000, seconds=1.0, frame_ms=25.0, hop_ms=10.0, mels=40)
      >>> mels = log_mels(tf.zeros([1, 16_000]), tf.constant([8_000]), spectrum)
      >>> mels.shape, round(float(mels[0, 0, 0]), 1)
      (TensorShape([1, 100, 40]), -6.9)
      >>> int(tf.reduce_sum(tf.cast(frames_there(mels), tf.int32)))
      50
    """
    size = 2 ** (spectrum.frame - 1).bit_length()
    bins = tf.signal.stft(waves, spectrum.frame, spectrum.hop, fft_length=size, pad_end=True)
    mels = tf.math.log(tf.tensordot(tf.abs(bins), spectrum.weights(), 1) + OFFSET)
    there = tf.sequence_mask(tf.maximum(-(-counts // spectrum.hop), 1), spectrum.frames)
    return tf.cast(tf.where(there[..., None], mels, NO_FRAME), tf.float16)


def frames_there(mels: tf.Tensor) -> tf.Tensor:
    """Returns which frames of `log_mels` [N, frames, mels] are present, [N, frames] bool."""
    return mels[..., 0] > NO_FRAME / 2


def samples_16(waves: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Returns 16-bit samples [N, S] int16 of `decode_wavs`, `NO_SAMPLE` after the end."""
    whole = tf.maximum(tf.round(waves * 32768.0), NO_SAMPLE + 1)
    there = tf.sequence_mask(counts, waves.shape[1])
    return tf.cast(tf.where(there, whole, NO_SAMPLE), tf.int16)
