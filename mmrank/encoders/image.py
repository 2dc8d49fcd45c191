"""Photos: decoded and scaled once, then an EfficientNet tower."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import logging
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from mmrank.config import ConfigError
from mmrank.data.embedding_cache import files_hash
from mmrank.data.media import MediaStore, probe_image
from mmrank.encoders.augment import changes
from mmrank.encoders.base import texts
from mmrank.encoders.donor import (
    best_weights,
    checkpoint_files,
    donor_of,
    is_run,
    take_weights,
    taken_options,
)
from mmrank.encoders.frozen import Freezable
from mmrank.encoders.image_bounds import bounded

SCALED = "EfficientNet"
SMALLEST = 32  # pixels; Keras refuses less
RANGES = (("smallest_part", 0.01, 1), ("brightness", 0, 1), ("contrast", 0, 1))
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ImageOptions:
    """Options of a photo.

    Attributes:
      height, width: Pixels that the tower sees. Photos keep their proportions, so the shape of
        most of them wastes the least.
      network: Name of a `tf.keras.applications` EfficientNet, such as EfficientNetB0 or
        EfficientNetV2B0, or `EfficientNet` for a member of the family scaled by the next two.
      width_coefficient, depth_coefficient: Scale of `EfficientNet` against B0.
      weights: `imagenet`, the path of a weights file, `none`, or the folder of a run, whose photo
        tower is taken with its best weights and its options, as far as these say nothing else.
      dropout: On the pooled output.
      flip: Mirror every second photo in training.
      smallest_part: Training shows a random part of a photo, of at least this share of its area;
        1 shows the whole.
      brightness, contrast: Most by which training changes them, as shares; 0 leaves them.
      momentum: Of BatchNormalization. Keras takes 0.99, whose statistics lag so far behind after
        a few hundred steps from nothing that a photo seems to add nothing.
      trainable: Whether the tower learns. One that does not runs ahead of training, once a photo;
        no photo is then changed at random, and nothing dropped.
      group: Photos of one group with equal options share one tower, so that a shopper's photo and
        a product's are seen with the same eyes.
    """

    height: int = 64
    width: int = 64
    network: str = "EfficientNetB0"
    width_coefficient: float = 0.5
    depth_coefficient: float = 0.5
    weights: str = "none"
    dropout: float = 0.0
    flip: bool = True
    smallest_part: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    momentum: float = 0.9
    trainable: bool = True
    group: str = "photo"


class Image(Freezable):
    """A photo by the name of its media file. A missing or broken file means absent."""

    sides = frozenset({"item", "query"})
    raw_dtype = tf.string
    Options = ImageOptions
    is_media = True
    unseen = Freezable.unseen | frozenset(
        "dropout flip smallest_part brightness contrast momentum group".split()
    )

    donor: Image | None = None

    def __init__(self, feature: Any, options: Mapping[str, Any]):
        weights = str({**feature.options, **options}.get("weights", "none"))
        if is_run(weights):
            self.donor = Image(*donor_of(feature, pathlib.Path(weights)))
            options = taken_options(self.donor.options, {**feature.options, **options})
        super().__init__(feature, options)
        if self.frozen and self.options.weights == "none":
            raise ConfigError(
                f"feature {self.name!r}: a photo tower that is not trainable needs weights; set "
                "`weights` to imagenet, a weights file or the folder of a run, or trainable to true"
            )
        if self.options.network not in (SCALED, *NETWORKS):
            raise ConfigError(
                f"feature {self.name!r}: unknown network {self.options.network!r}; "
                f"known: {SCALED}, {', '.join(NETWORKS)}"
            )
        if min(self.options.height, self.options.width) < SMALLEST:
            raise ConfigError(
                f"feature {self.name!r}: a photo of {self.options.height} x {self.options.width} "
                f"pixels is too small for an EfficientNet; use {SMALLEST} or more each way"
            )
        for name, lowest, highest in RANGES:
            if not lowest <= getattr(self.options, name) <= highest:
                raise ConfigError(
                    f"feature {self.name!r}: {name} {getattr(self.options, name)} is not between "
                    f"{lowest} and {highest}"
                )

    @property
    def frozen(self) -> bool:
        return not self.options.trainable

    @property
    def imagenet(self) -> bool:
        """Whether the network is that of Keras' imagenet weights, which scales pixels anew."""
        return self.donor.imagenet if self.donor is not None else self.options.weights == "imagenet"

    def weights_hash(self) -> str:
        if self.options.weights == "imagenet":  # Keras knows the hash of its file
            return f"imagenet {self.options.network}"
        file = pathlib.Path(self.options.weights)
        prefix = best_weights(file) if self.donor is not None else file
        files = [prefix] if prefix.is_file() else checkpoint_files(prefix)
        if not files:
            raise ConfigError(
                f"feature {self.name!r}: weights {str(prefix)!r} do not load: no such file"
            )
        return files_hash(files, prefix.parent)

    def fetch(self, values: pd.Series, media: MediaStore | None) -> np.ndarray:
        raw = np.empty(len(values), dtype=object)
        for i, name in enumerate(texts(values)):
            data = media.read(name) if name and media is not None else None
            raw[i] = b"" if data is None else data
        return raw

    def usable(self, raw: Any) -> bool:
        return probe_image(raw) is None

    def read(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        raw = self.fetch(values, media)
        present = np.array([bool(data) and self.usable(data) for data in raw], dtype=bool)
        raw[~present] = b""
        return raw, present

    def preprocess(self, raw: tf.Tensor) -> tf.Tensor:
        height, width = self.options.height, self.options.width

        def decode(data: tf.Tensor) -> tf.Tensor:
            return tf.cond(
                tf.strings.length(data) == 0,
                lambda: tf.zeros([height, width, 3], tf.uint8),
                lambda: decode_image(data, height, width),
            )

        pixels = tf.TensorSpec([height, width, 3], tf.uint8)
        return tf.map_fn(decode, raw, fn_output_signature=pixels)

    def arrays(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [N, height, width, 3] uint8 and presence [N].

        Files are read a chunk at a time, and each once however many rows name it: the photo of a
        query stands in all its lists.
        """
        rows, names = pd.factorize(texts(values))
        if len(names) < len(values):
            pixels, present = self.arrays(pd.Series(names), media)
            return pixels[rows], present[rows]
        pixels = np.zeros([len(values), self.options.height, self.options.width, 3], np.uint8)
        present = np.zeros(len(values), dtype=bool)
        step = self.traced_preprocess()
        chunk = 256
        for at in tqdm(
            range(0, len(values), chunk),
            desc=f"decoding {self.name}",
            unit_scale=chunk,
            unit=" files",
            disable=None,
            leave=False,
        ):
            part = slice(at, at + chunk)
            raw, present[part] = self.read(values.iloc[part], media)
            pixels[part] = step(tf.constant(raw)).numpy()
        named = int((texts(values) != "").sum())
        if named > present.sum():
            logger.warning(
                "%s: %d of %d files are missing or broken and count as absent",
                self.name,
                named - int(present.sum()),
                named,
            )
        return pixels, present

    def input_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec([None, self.options.height, self.options.width, 3], tf.uint8)

    def encoder(self, width: int) -> tf.keras.layers.Layer:
        return image_tower(self.options, self.sharing(), self.imagenet)

    def sharing(self) -> str:
        options = json.dumps(dataclasses.asdict(self.options), sort_keys=True)
        return f"{self.options.group}_{hashlib.sha256(options.encode()).hexdigest()[:8]}"


def decode_image(data: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Pixels [height, width, 3] uint8 of an encoded JPEG, PNG, GIF (first frame) or BMP.

    The photo is scaled to fit and the rest padded with white, as shops photograph, so that its
    proportions stay.

    Raises:
      InvalidArgumentError: When run on a file that cannot be decoded, or only at too high a cost.
    """
    pixels = tf.io.decode_image(bounded(data), channels=3, expand_animations=False)
    pixels.set_shape([None, None, 3])
    shape = tf.cast(tf.shape(pixels)[:2], tf.float32)
    scale = tf.reduce_min(tf.constant([height, width], tf.float32) / shape)
    scaled = tf.clip_by_value(tf.cast(tf.round(shape * scale), tf.int32), [1, 1], [height, width])
    resized = tf.image.resize(pixels, scaled, antialias=True)
    # Padding adds zeros; white is taken for zero meanwhile.
    padded = tf.image.pad_to_bounding_box(
        resized - 255.0, (height - scaled[0]) // 2, (width - scaled[1]) // 2, height, width
    )
    return tf.cast(tf.clip_by_value(tf.round(padded + 255.0), 0, 255), tf.uint8)


NETWORKS: dict[str, Callable[..., tf.keras.Model]] = {
    "EfficientNetB0": tf.keras.applications.EfficientNetB0,
    "EfficientNetB1": tf.keras.applications.EfficientNetB1,
    "EfficientNetB2": tf.keras.applications.EfficientNetB2,
    "EfficientNetB3": tf.keras.applications.EfficientNetB3,
    "EfficientNetB4": tf.keras.applications.EfficientNetB4,
    "EfficientNetB5": tf.keras.applications.EfficientNetB5,
    "EfficientNetB6": tf.keras.applications.EfficientNetB6,
    "EfficientNetB7": tf.keras.applications.EfficientNetB7,
    "EfficientNetV2B0": tf.keras.applications.EfficientNetV2B0,
    "EfficientNetV2B1": tf.keras.applications.EfficientNetV2B1,
    "EfficientNetV2B2": tf.keras.applications.EfficientNetV2B2,
    "EfficientNetV2B3": tf.keras.applications.EfficientNetV2B3,
    "EfficientNetV2S": tf.keras.applications.EfficientNetV2S,
    "EfficientNetV2M": tf.keras.applications.EfficientNetV2M,
    "EfficientNetV2L": tf.keras.applications.EfficientNetV2L,
}


def image_tower(options: ImageOptions, name: str, imagenet: bool) -> tf.keras.Model:
    """A model from pixels [N, height, width, 3], 0 to 255, to pooled features [N, D'].

    Keras EfficientNets rescale their input themselves.

    Args:
      options: Its network and what training does to photos.
      name: Of the model.
      imagenet: Whether its weights are or once were those of Keras, whose network has one more
        rescaling.

    Source: Tan and Le 2019, "EfficientNet", and 2021, "EfficientNetV2".

    Raises:
      ConfigError: The weights file cannot be read or does not fit the network.
    """
    arguments: dict[str, Any] = {
        "include_top": False,
        "weights": "imagenet" if imagenet else None,
        "input_shape": (options.height, options.width, 3),
        "pooling": "avg",
    }
    if options.network == SCALED:
        # The family's constructor is not exported by name, only its members are.
        family = importlib.import_module(tf.keras.applications.EfficientNetB0.__module__)
        network = family.EfficientNet(
            width_coefficient=options.width_coefficient,
            depth_coefficient=options.depth_coefficient,
            default_size=options.height,
            **arguments,
        )
    else:
        network = NETWORKS[options.network](**arguments)
    if is_run(options.weights):
        take_weights(network, pathlib.Path(options.weights), f"weights {options.weights!r}")
    elif options.weights not in ("none", "imagenet"):
        try:
            status = network.load_weights(options.weights)
            if status is not None:  # a checkpoint, of which Keras takes what fits and says nothing
                status.assert_existing_objects_matched()
        except (OSError, ValueError, AssertionError, tf.errors.OpError) as error:
            raise ConfigError(f"weights {options.weights!r} do not load: {error}") from error
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = options.momentum
    network.trainable = options.trainable
    pixels = tf.keras.Input((options.height, options.width, 3), dtype=tf.uint8)
    seen = tf.cast(pixels, tf.float32)
    for change in changes(
        flip=options.flip,
        smallest_part=options.smallest_part,
        brightness=options.brightness,
        contrast=options.contrast,
    ):
        seen = change(seen)
    features = network(seen)
    if options.dropout:
        features = tf.keras.layers.Dropout(options.dropout)(features)
    return tf.keras.Model(pixels, features, name=name)
