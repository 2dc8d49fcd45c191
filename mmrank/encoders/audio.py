"""Sounds: convolutions over a recording's log-mel spectrogram, or a TF-Hub model of its samples."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from mmrank.config import ConfigError
from mmrank.data.audio import MAX_RATE, MAX_SECONDS, MIN_RATE, SoundError, wav_of
from mmrank.data.media import MediaStore
from mmrank.encoders.base import texts
from mmrank.encoders.frozen import Freezable
from mmrank.encoders.handles import hub_folder, hub_hash
from mmrank.encoders.logmel import Spectrum, decode_wavs, log_mels, samples_16
from mmrank.encoders.sound import HubSound, SoundConvolutions
from mmrank.ranges import Count, Dropped, Positive, Range, Share

CHUNK = 64
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class AudioOptions:
    """Options of a recording.

    Attributes:
      encoder: `conv` for convolutions over a log-mel spectrogram, learned here; `hub` for a TF-Hub
        SavedModel over the samples, such as YAMNet or an imported speech embedding.
      rate: Samples per second; recordings at another rate are resampled. YAMNet and the speech
        embedding take 16,000.
      seconds: How much of a recording is used, from its beginning. Each item takes
        2000 · mels · seconds / hop_ms bytes of memory (conv) or 2 · rate · seconds (hub), even
        without a recording.
      frame_ms, hop_ms: Length of a frame, and step from one frame to the next, in milliseconds
        (conv).
      mels: Bands on the mel scale (conv).
      filters: Filters of each convolution; each convolution halves frames and bands (conv).
      dropout: Dropout on the result (conv).
      time_mask, frequency_mask: Longest run of frames, and of bands, that training masks, as a
        share of all; 0 for none (conv).
      momentum: Momentum of BatchNormalization (conv).
      handle: URL or local folder of a hub model that takes one waveform [samples] (hub).
      output: Which of a hub model's outputs is the embedding: an index for a tuple, else a name.
        For YAMNet it is 1 (hub).
      trainable: Whether the hub model continues to learn; if not, it runs before training, once
        per recording (hub).
      group: Recordings of one group with equal options share one encoder.
    """

    encoder: str = "conv"
    rate: Annotated[int, Range(MIN_RATE, MAX_RATE)] = 16_000
    seconds: Annotated[float, Range(0, MAX_SECONDS, above=True)] = 4.0
    frame_ms: Positive = 25.0
    hop_ms: Positive = 10.0
    mels: Count = 40
    filters: tuple[Count, ...] = (16, 32, 64)
    dropout: Dropped = 0.1
    time_mask: Share = 0.1
    frequency_mask: Share = 0.1
    momentum: Dropped = 0.9
    handle: str = ""
    output: str = "1"
    trainable: bool = False
    group: str = "sound"

    @property
    def spectrum(self) -> Spectrum:
        """The parameters that turn samples into frames."""
        return Spectrum(self.rate, self.seconds, self.frame_ms, self.hop_ms, self.mels)


class Audio(Freezable):
    """A recording, given by the name of its media file. A missing or broken file means absent.

    A graph reads only WAV, so a raw value is a mono 16-bit PCM WAV at the feature's rate, cut to
    its seconds; `read` converts the file to it from its own format.
    """

    raw_dtype = tf.string
    Options = AudioOptions
    unseen = Freezable.unseen | frozenset(
        "frame_ms hop_ms mels filters dropout time_mask frequency_mask momentum group".split()
    )

    def __init__(self, feature: Any, options: Mapping[str, Any]):
        super().__init__(feature, options)
        where, chosen = f"feature {self.name!r}", self.options
        if chosen.encoder not in ENCODERS:
            raise ConfigError(
                f"{where}: unknown audio encoder {chosen.encoder!r}; known: {', '.join(ENCODERS)}"
            )
        if chosen.encoder == "hub":
            if not chosen.handle:
                raise ConfigError(
                    f"{where}: encoder hub needs `handle`, a TF-Hub URL or a local folder"
                )
            return
        spectrum = chosen.spectrum
        if not 2 <= spectrum.hop <= spectrum.frame <= spectrum.samples:
            raise ConfigError(
                f"{where}: hop_ms {chosen.hop_ms} must not exceed frame_ms {chosen.frame_ms}, and "
                f"frame_ms must not exceed the {chosen.seconds} seconds"
            )
        if not chosen.filters:
            raise ConfigError(f"{where}: filters: name at least one")

    @property
    def frozen(self) -> bool:
        return self.options.encoder == "hub" and not self.options.trainable

    def weights_hash(self) -> str:
        return hub_hash(self.name, self.options.handle)

    def fetch(self, values: pd.Series, media: MediaStore | None) -> np.ndarray:
        return self.read(values, media)[0]

    def usable(self, raw: Any) -> bool:
        return True

    def read(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        raw = np.full(len(values), b"", dtype=object)
        for i, name in enumerate(texts(values)):
            data = media.read(name) if name and media is not None else None
            if data is not None:
                with contextlib.suppress(SoundError):
                    raw[i] = wav_of(data, self.options.rate, self.options.seconds)
        return raw, raw != b""

    def card(self) -> dict[str, Any]:
        return {"wave": [self.options.rate, self.options.seconds]}

    def sharing(self) -> str:
        return self.group_key()

    def preprocess(self, raw: tf.Tensor) -> tf.Tensor:
        spectrum = self.options.spectrum
        waves, counts = decode_wavs(raw, spectrum.rate, spectrum.samples)
        if self.options.encoder == "hub":
            return samples_16(waves, counts)
        return log_mels(waves, counts, spectrum)

    def arrays(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        """Returns spectrograms or samples [N, ...] and presence [N].

        Files are read in chunks, and each file once no matter how many rows name it: a query's
        recording appears in all its lists.
        """
        rows, names = pd.factorize(texts(values))
        if len(names) < len(values):
            sounds, present = self.arrays(pd.Series(names, dtype=object), media)
            return sounds[rows], present[rows]
        spec = self.input_spec()
        sounds = np.zeros([len(values), *spec.shape[1:]], spec.dtype.as_numpy_dtype)
        present = np.zeros(len(values), dtype=bool)
        step = self.traced_preprocess()
        for at in tqdm(
            range(0, len(values), CHUNK),
            desc=f"decoding {self.name}",
            unit_scale=CHUNK,
            unit=" files",
            disable=None,
            leave=False,
        ):
            part = slice(at, at + CHUNK)
            raw, present[part] = self.read(values.iloc[part], media)
            sounds[part] = step(tf.constant(raw, tf.string)).numpy()
        named = int((texts(values) != "").sum())
        if named > present.sum():
            logger.warning(
                "%s: %d of %d files are missing or broken and count as absent",
                self.name,
                named - int(present.sum()),
                named,
            )
        return sounds, present

    def input_spec(self) -> tf.TensorSpec:
        spectrum = self.options.spectrum
        if self.options.encoder == "hub":
            return tf.TensorSpec([None, spectrum.samples], tf.int16)
        return tf.TensorSpec([None, spectrum.frames, spectrum.mels], tf.float16)

    def encoder(self, width: int) -> tf.keras.layers.Layer:
        return ENCODERS[self.options.encoder](self)


def _conv(kind: Audio) -> tf.keras.layers.Layer:
    chosen = kind.options
    return SoundConvolutions(
        chosen.filters,
        dropout=chosen.dropout,
        time_mask=chosen.time_mask,
        frequency_mask=chosen.frequency_mask,
        momentum=chosen.momentum,
        name=kind.sharing(),
    )


def _hub(kind: Audio) -> tf.keras.layers.Layer:
    chosen = kind.options
    handle = str(hub_folder(kind.name, chosen.handle))
    return HubSound(handle, chosen.trainable, chosen.output, name=kind.sharing())


ENCODERS: dict[str, Callable[[Audio], tf.keras.layers.Layer]] = {"conv": _conv, "hub": _hub}
