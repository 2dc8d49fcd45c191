"""Google's speech embedding from its TensorFlow Lite file: a waveform [n] → embeddings [T, D]."""

from __future__ import annotations

import math
import pathlib
from typing import Any

import tensorflow as tf

from mmrank.encoders.lite_chain import Chain, Convolve, Floor, Leak, Pad, Pool, read_chain
from mmrank.encoders.text_import import Choices, Imported
from mmrank.outputs import InputError

SUFFIX = ".tflite"
ENTRY = "audio: {{encoder: hub, handle: {handle}}}"
RATE = 16_000  # samples a second
FRAME, HOP, BINS = 400, 160, 512  # frame length, step to the next, and FFT size, in samples
LOWEST, HIGHEST = 60.0, 3800.0  # Hz
OFFSET = 1e-3  # added to the mel magnitudes


class SpeechMels(tf.keras.layers.Layer):
    """Log-mel frames [n // 160 + window, bands] of a waveform [n] in [−1, 1) at 16 kHz.

    ln(0.001 + Σ w |STFT|) over Hann windows. Half a window of silence is added before and after the
    recording. Windows are thus centred on the recording from its first sample to its last, and
    even the shortest recording has one window.

    Args:
      window: Number of frames in a window.
      bands: Bands on the mel scale.

    Source: Lin et al. 2020, "Training Keyword Spotters with Limited and Synthesized Speech Data",
      and its TF-Hub module speech_embedding/1, which pads only at the beginning.
    """

    def __init__(self, window: int, bands: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.window, self.bands = window, bands

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        silence = ((self.window - 1) * HOP + FRAME) // 2
        wave = tf.pad(tf.cast(inputs, tf.float32), [[silence, silence]])
        magnitudes = tf.abs(tf.signal.stft(wave, FRAME, HOP, fft_length=BINS))
        weights = tf.signal.linear_to_mel_weight_matrix(
            self.bands, BINS // 2 + 1, RATE, LOWEST, HIGHEST
        )
        return tf.math.log(magnitudes @ weights + OFFSET)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"window": self.window, "bands": self.bands}


class WindowConvolutions(tf.keras.layers.Layer):
    """Embeddings [T, D] of all windows of a spectrogram [F, bands], in one pass over it.

    Equal to applying the chain to each window separately, because nothing is padded in time.

    Args:
      chain: The steps, which take one window.

    Raises:
      InputError: The chain pads in time, or returns more than one vector per window.
    """

    def __init__(self, chain: Chain, **kwargs: Any):
        super().__init__(**kwargs)
        self.steps, self.every = chain.steps, hop_of(chain)
        self.kernels: list[tf.Variable] = []
        self.biases: list[tf.Variable] = []
        for step in chain.steps:
            if isinstance(step, Convolve):
                number = len(self.kernels)
                for name, into in (("kernel", self.kernels), ("bias", self.biases)):
                    value = getattr(step, name)
                    initial = tf.keras.initializers.Constant(value)
                    name = f"convolution_{number}/{name}"
                    into.append(self.add_weight(name, value.shape, initializer=initial))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        x = inputs[None, :, :, None]
        weights = zip(self.kernels, self.biases, strict=True)
        for step in self.steps:
            if isinstance(step, Convolve):
                kernel, bias = next(weights)
                x = tf.nn.conv2d(x, kernel, step.strides, step.padding) + bias
            elif isinstance(step, Pad):
                x = tf.pad(x, [[0, 0], step.time, step.bands, [0, 0]])
            elif isinstance(step, Leak):
                x = tf.nn.leaky_relu(x, step.alpha)
            elif isinstance(step, Floor):
                x = tf.maximum(x, step.least)
            else:
                x = tf.nn.max_pool2d(x, step.size, step.strides, step.padding)
        return x[0, :, 0]


def hop_of(chain: Chain) -> int:
    """Returns the frames from one window of a chain to the next: the product of its time strides.

    Raises:
      InputError: The chain pads in time, does not make one vector per window, or its steps do not
        fit together.
    """
    sees, hop, bands, channels = 1, 1, chain.bands, 1
    for number, step in enumerate(chain.steps):
        padded, fits = False, True
        if isinstance(step, Pad):
            bands += sum(step.bands)
            padded = any(step.time)
        elif isinstance(step, (Convolve, Pool)):
            size = step.kernel.shape[:2] if isinstance(step, Convolve) else step.size
            fits = min(*size, *step.strides) > 0
            if isinstance(step, Convolve):
                fits = fits and channels == step.kernel.shape[2]
                channels = step.kernel.shape[3]
            if fits:
                sees += (size[0] - 1) * hop
                hop *= step.strides[0]
                padded = step.padding == "SAME" and size[0] > 1
                bands = _left(bands, size[1], step.strides[1], step.padding)
        if padded:
            raise InputError(
                "pads in time, so that the result for a window differs from that within a recording"
            )
        if not fits or bands < 1:
            raise InputError(f"its step {number} does not fit the output of the step before it")
    if (sees, bands) != (chain.frames, 1):
        raise InputError(
            f"does not return one vector per window: it takes {chain.frames} frames of "
            f"{chain.bands} bands, but a vector covers {sees} of them and leaves {bands} bands"
        )
    return hop


def _left(count: int, size: int, stride: int, padding: str) -> int:
    """Returns how many bands a convolution or a max pooling leaves."""
    return math.ceil(count / stride) if padding == "SAME" else (count - size) // stride + 1


def import_speech(path: pathlib.Path, choices: Choices) -> Imported:
    """Returns the sound encoder of a TensorFlow Lite file. An `Importer`; see there."""
    choices.check("speech_embedding", frozenset())
    if not path.is_file():
        raise InputError(f"{path}: is a folder; name the {SUFFIX} file")
    chain = read_chain(path)
    try:
        network = WindowConvolutions(chain, name="windows")
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    samples = tf.keras.Input((), dtype=tf.float32, name="samples")
    mels = SpeechMels(chain.frames, chain.bands, name="mels")(samples)
    model = tf.keras.Model(samples, network(mels), name="speech_embedding")
    seconds = ((chain.frames - 1) * HOP + FRAME) / RATE
    facts = {
        "encoder": f"{len(network.kernels)} convolutions, width {model.output_shape[-1]}, "
        f"{model.count_params():,} weights",
        "sounds": f"{RATE:,} samples a second; a vector every {network.every * HOP / RATE:g} s, "
        f"of the {seconds:g} s around it",
    }
    return Imported(model, facts, ENTRY)
