"""Sound in the graph: WAV bytes to samples, samples to a log-mel spectrogram."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

LOWEST = 60.0  # Hz; below stands mostly hum
OFFSET = 1e-3  # of the magnitudes, which keeps the logarithm of silence finite
# Frames, and 16-bit samples, after the end of a recording. Real ones are never as low: log(OFFSET)
# is −6.9, and the lowest sample is raised by one.
NO_FRAME, NO_SAMPLE = -100.0, -32768


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """How samples become frames.

    Attributes:
      rate: Samples a second.
      seconds: What is kept of a recording.
      frame_ms, hop_ms: Length of a frame, and from one to the next, in milliseconds.
      mels: Bands on the mel scale from `LOWEST` Hz to half the rate.
    """

    rate: int
    seconds: float
    frame_ms: float
    hop_ms: float
    mels: int

    @property
    def samples(self) -> int:
        """Samples kept of a recording."""
        return round(self.seconds * self.rate)

    @property
    def frame(self) -> int:
        """Samples of a frame."""
        return round(self.frame_ms * self.rate / 1000)

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return round(self.hop_ms * self.rate / 1000)

    @property
    def frames(self) -> int:
        """Frames of a recording of full length, the last ones padded with zeros."""
        return -(-self.samples // self.hop)

    def weights(self) -> tf.Tensor:
        """The mel filters [bins, mels]; bins are those of an FFT of the next power of two."""
        size = 2 ** (self.frame - 1).bit_length()
        return tf.signal.linear_to_mel_weight_matrix(
            self.mels, size // 2 + 1, self.rate, LOWEST, self.rate / 2
        )


def decode_wavs(raw: tf.Tensor, rate: int, samples: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Samples [N, samples] float32 in [−1, 1), zeros after the end, and how many there are [N].

    Args:
      raw: 16-bit PCM WAV files [N]; the empty string has no sample. Of several channels the first
        is heard.
      rate: Samples a second that each of them must have.
      samples: Most that are kept.

    Raises:
      tf.errors.InvalidArgumentError: A file is no such WAV, or one at another rate.
    """
    message = f"a recording has to be a 16-bit PCM WAV of {rate} samples a second"

    def heard(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        wave, given = tf.audio.decode_wav(data, desired_channels=1)
        with tf.control_dependencies([tf.debugging.assert_equal(given, rate, message)]):
            wave = tf.identity(wave[:samples, 0])
        padded = tf.pad(wave, [[0, samples - tf.size(wave)]])
        return tf.ensure_shape(padded, [samples]), tf.size(wave)

    def decode(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        silent = (tf.zeros([samples]), tf.constant(0))
        return tf.cond(tf.strings.length(data) == 0, lambda: silent, lambda: heard(data))

    spec = (tf.TensorSpec([samples], tf.float32), tf.TensorSpec([], tf.int32))
    return tf.map_fn(decode, raw, fn_output_signature=spec)


def log_mels(waves: tf.Tensor, counts: tf.Tensor, spectrum: Spectrum) -> tf.Tensor:
    """Log-mel spectrograms [N, frames, mels] float16.

    ln(0.001 + Σ w |STFT|) over Hann windows, w the mel filters. Frame t begins with sample t · hop.

    Masking: frames that begin after the end of the recording are `NO_FRAME`; the first frame is
    always there. How long the others' padding is changes nothing.

    Args:
      waves: Samples [N, S] float32, zeros after the end.
      counts: How many of them there are, [N] int32.
      spectrum: How samples become frames.

    Source: Hershey et al. 2017, "CNN architectures for large-scale audio classification",
      section 3.1, with the offset of its successor YAMNet.
    """
    size = 2 ** (spectrum.frame - 1).bit_length()
    bins = tf.signal.stft(waves, spectrum.frame, spectrum.hop, fft_length=size, pad_end=True)
    mels = tf.math.log(tf.tensordot(tf.abs(bins), spectrum.weights(), 1) + OFFSET)
    there = tf.sequence_mask(tf.maximum(-(-counts // spectrum.hop), 1), spectrum.frames)
    return tf.cast(tf.where(there[..., None], mels, NO_FRAME), tf.float16)


def frames_there(mels: tf.Tensor) -> tf.Tensor:
    """Which frames of `log_mels` [N, frames, mels] are there, [N, frames] bool."""
    return mels[..., 0] > NO_FRAME / 2


def samples_16(waves: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """16-bit samples [N, S] int16 of `decode_wavs`, `NO_SAMPLE` after the end."""
    whole = tf.maximum(tf.round(waves * 32768.0), NO_SAMPLE + 1)
    there = tf.sequence_mask(counts, waves.shape[1])
    return tf.cast(tf.where(there, whole, NO_SAMPLE), tf.int16)
