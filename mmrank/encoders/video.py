"""Clips: a few frames each, encoded by an image network and attention over time, or by TF-Hub."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from mmrank.config import ConfigError
from mmrank.data.media import MediaStore
from mmrank.data.video import ClipError, clip_strip
from mmrank.encoders.base import texts
from mmrank.encoders.frames import FrameAttention, HubClips
from mmrank.encoders.frozen import Freezable
from mmrank.encoders.handles import hub_folder, hub_hash
from mmrank.encoders.image import SMALLEST, ImageOptions, image_tower
from mmrank.encoders.image_bounds import bounded
from mmrank.encoders.image_networks import SCALED, check_network
from mmrank.ranges import Count, Dropped, Positive

CHUNK = 64
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class VideoOptions:
    """Options of a clip.

    Attributes:
      encoder: `frames` for a network on every frame with attention over the frames, `hub` for a
        TF-Hub SavedModel over the whole clip.
      frames: How many frames are taken of a clip, evenly spaced over its duration. Each item takes
        3 · frames · height · width bytes of memory, even without a clip.
      height, width: Pixels of a frame.
      network, width_coefficient, depth_coefficient, weights, momentum: The network on every frame,
        as for a photo (frames).
      dropout: Dropout on the network's pooled output (frames).
      attention_width, heads: Shape of the attention over the frames (frames).
      handle: URL or local folder of a hub model that maps clips [N, frames, height, width, 3]
        float32 from 0 to 1 to [N, D] (hub).
      input: Name of the model's input, if it takes a dict, as MoViNets take `image` (hub).
      trainable: Whether the network on the frames, or the hub model, learns; `null` means true for
        frames and false for hub. A hub model that does not learn runs before training, once per
        clip.
    """

    encoder: str = "frames"
    frames: Count = 8
    height: Count = 48
    width: Count = 48
    network: str = SCALED
    width_coefficient: Positive = 0.5
    depth_coefficient: Positive = 0.5
    weights: str = "none"
    dropout: Dropped = 0.0
    momentum: Dropped = 0.9
    attention_width: Count = 64
    heads: Count = 4
    handle: str = ""
    input: str = ""
    trainable: bool | None = None


class Video(Freezable):
    """A clip, given by the name of its video file. A missing or broken file means absent.

    A graph does not read video, so a raw value is a strip: one PNG or JPEG of up to `frames`
    frames, one below the other, each of height x width pixels.
    """

    raw_dtype = tf.string
    Options = VideoOptions

    def __init__(self, feature: Any, options: Mapping[str, Any]):
        super().__init__(feature, options)
        where, chosen = f"feature {self.name!r}", self.options
        if chosen.encoder not in ENCODERS:
            raise ConfigError(
                f"{where}: unknown video encoder {chosen.encoder!r}; known: {', '.join(ENCODERS)}"
            )
        if chosen.encoder == "hub":
            if not chosen.handle:
                raise ConfigError(
                    f"{where}: encoder hub needs `handle`, a TF-Hub URL or a local folder"
                )
            return
        check_network(where, chosen.network, chosen.weights)
        if min(chosen.height, chosen.width) < SMALLEST:
            raise ConfigError(
                f"{where}: frames of {chosen.height} x {chosen.width} pixels are too small for an "
                f"EfficientNet; use {SMALLEST} or more each way"
            )

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
        chosen = self.options
        raw = np.full(len(values), b"", dtype=object)
        for i, name in enumerate(texts(values)):
            data = media.read(name) if name and media is not None else None
            if data is not None:
                with contextlib.suppress(ClipError):
                    raw[i] = clip_strip(data, chosen.frames, chosen.height, chosen.width)
        return raw, raw != b""

    def card(self) -> dict[str, Any]:
        return {"strip": [self.options.frames, self.options.height, self.options.width]}

    def preprocess(self, raw: tf.Tensor) -> tf.Tensor:
        shape = self.input_spec().shape[1:]

        def decode(data: tf.Tensor) -> tf.Tensor:
            return tf.cond(
                tf.strings.length(data) == 0,
                lambda: tf.zeros(shape, tf.uint8),
                lambda: decode_strip(data, self.name, *shape[:3]),
            )

        return tf.map_fn(decode, raw, fn_output_signature=tf.TensorSpec(shape, tf.uint8))

    def arrays(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        """Returns frames [N, frames, height, width, 3] uint8, as `decode_strip`, and presence [N].

        Only rows with a clip are decoded and written to.
        """
        clips = np.zeros([len(values), *self.input_spec().shape[1:]], np.uint8)
        present = np.zeros(len(values), dtype=bool)
        named = np.flatnonzero(texts(values) != "")
        step = self.traced_preprocess()
        for at in tqdm(
            range(0, len(named), CHUNK),
            desc=f"decoding {self.name}",
            unit_scale=CHUNK,
            unit=" clips",
            disable=None,
            leave=False,
        ):
            rows = named[at : at + CHUNK]
            raw, there = self.read(values.iloc[rows], media)
            if there.any():
                clips[rows[there]] = step(tf.constant(raw[there])).numpy()
            present[rows] = there
        if len(named) > present.sum():
            logger.warning(
                "%s: %d of %d files are missing or broken and count as absent",
                self.name,
                len(named) - int(present.sum()),
                len(named),
            )
        return clips, present

    def input_spec(self) -> tf.TensorSpec:
        chosen = self.options
        return tf.TensorSpec([None, chosen.frames, chosen.height, chosen.width, 3], tf.uint8)

    def encoder(self, width: int) -> tf.keras.layers.Layer:
        return ENCODERS[self.options.encoder](self)


def decode_strip(data: tf.Tensor, name: str, frames: int, height: int, width: int) -> tf.Tensor:
    """Returns frames [frames, height, width, 3] uint8 of a strip: 1 to 255, or 0 without a frame.

    Raises:
      InvalidArgumentError: At run time, for an image of another shape; the message gives `name`.
    """
    pixels = tf.io.decode_image(bounded(data), channels=3, expand_animations=False)
    pixels.set_shape([None, None, 3])
    tall, wide = tf.shape(pixels)[0], tf.shape(pixels)[1]
    fits = (wide == width) & (tall % height == 0) & (tall > 0) & (tall <= frames * height)
    wanted = (
        f"{name}: a clip is sent as one image of n * {height} x {width} pixels (height x width), "
        f"its n frames one below the other, n from 1 to {frames}; got height and width"
    )
    with tf.control_dependencies([tf.debugging.Assert(fits, [wanted, tall, wide])]):
        # 0 marks a missing frame, so raise black pixels to 1.
        there = tf.reshape(tf.maximum(pixels, tf.constant(1, tf.uint8)), [-1, height, width, 3])
    padded = tf.pad(there, [[0, frames - tf.shape(there)[0]], [0, 0], [0, 0], [0, 0]])
    return tf.ensure_shape(padded, [frames, height, width, 3])


def _frames(kind: Video) -> tf.keras.layers.Layer:
    chosen = kind.options
    tower = image_tower(
        ImageOptions(
            height=chosen.height,
            width=chosen.width,
            network=chosen.network,
            width_coefficient=chosen.width_coefficient,
            depth_coefficient=chosen.depth_coefficient,
            weights=chosen.weights,
            dropout=chosen.dropout,
            flip=False,  # a single mirrored frame would make the clip jump
            momentum=chosen.momentum,
            trainable=chosen.trainable is not False,
        ),
        name=f"{kind.name}_tower",
        where=f"feature {kind.name!r}",
    )
    return FrameAttention(tower, chosen.attention_width, chosen.heads, name=f"{kind.name}_encoder")


def _hub(kind: Video) -> tf.keras.layers.Layer:
    chosen = kind.options
    handle = str(hub_folder(kind.name, chosen.handle))
    return HubClips(handle, bool(chosen.trainable), chosen.input, name=f"{kind.name}_encoder")


ENCODERS = {"frames": _frames, "hub": _hub}
