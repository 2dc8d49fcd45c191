"""Photos: decoded and scaled once, then encoded by a convolutional network or a transformer."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from mmrank.config import ConfigError
from mmrank.data.embedding_cache import files_hash
from mmrank.data.media import MediaStore, as_shown, probe_image
from mmrank.encoders.aligned.photo_network import ImportedTransformer
from mmrank.encoders.aligned.space import SPACE_FILE, space_of
from mmrank.encoders.augment import changes
from mmrank.encoders.base import texts
from mmrank.encoders.donor import (
    best_weights,
    checkpoint_files,
    donor_of,
    is_run,
    taken_options,
)
from mmrank.encoders.fitting import FITS, INTERPOLATIONS, PAD, fitted
from mmrank.encoders.frozen import Freezable
from mmrank.encoders.image_bounds import bounded
from mmrank.encoders.image_networks import check_network, make_network
from mmrank.encoders.imported.folder import (
    NETWORK_FILE,
    WEIGHTS_FILE,
    is_imported,
    read_network,
)
from mmrank.encoders.orientation import orientation, upright
from mmrank.ranges import Dropped, Positive, Range, Share
from mmrank.schema import Feature

SMALLEST = 32  # pixels; Keras refuses less
# Photos of one batch that are decoded at once. Decoding one may take hundreds of megabytes.
DECODED_AT_ONCE = 4
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ImageOptions:
    """Options of a photo.

    Attributes:
      height, width: Pixels that the tower receives. Photos keep their proportions, so use the
        shape of most photos to waste the least.
      network: Name of a `tf.keras.applications` EfficientNet, such as EfficientNetB0 or
        EfficientNetV2B0; `EfficientNet` for a member of the family scaled by the next two options;
        EfficientNetLite0 to 4 or ResNet50. VisionTransformer comes only from a folder in `weights`.
      width_coefficient, depth_coefficient: Scale of `EfficientNet` relative to B0.
      weights: `imagenet`; `none`; the path of a weights file; a folder that
        `mmrank.import_encoder` made, which also sets the network; or the folder of a run, whose
        photo tower is reused with its best weights and its options, except those set here.
      dropout: Dropout on the pooled output, also for a tower that does not learn. With few lists,
        the model would otherwise memorize the many numbers of the output.
      flip: Mirror every second photo in training.
      smallest_part: Training shows a random part of a photo, of at least this share of its area;
        1 shows the whole.
      brightness, contrast: Largest random change in training, as a share; 0 for no change.
      momentum: Momentum of BatchNormalization. With Keras's 0.99, the statistics lag so far behind
        after a few hundred steps from random weights that photos seem to add nothing.
      trainable: Whether the tower learns. A tower that does not learn runs before training, once
        per photo; photos are then not changed at random.
      group: Photos of one group with equal options share one tower, so the photos of users and
        of products are encoded in the same way.
      fit: How a photo of other proportions is fitted: `pad` keeps it whole and adds white, `crop`
        takes the middle, `stretch` changes the proportions.
      interpolation: How photos are scaled: bilinear, bicubic or lanczos3.
    """

    height: Annotated[int, Range(SMALLEST)] = 64
    width: Annotated[int, Range(SMALLEST)] = 64
    network: str = "EfficientNetB0"
    width_coefficient: Positive = 0.5
    depth_coefficient: Positive = 0.5
    weights: str = "none"
    dropout: Dropped = 0.0
    flip: bool = True
    smallest_part: Annotated[float, Range(0.01, 1)] = 1.0
    brightness: Share = 0.0
    contrast: Share = 0.0
    momentum: Dropped = 0.9
    trainable: bool = True
    group: str = "photo"
    fit: str = PAD
    interpolation: str = "bilinear"


class Image(Freezable):
    """A photo, given by the name of its media file. A missing or broken file means absent.

    Example:
      >>> import io
      >>> import tensorflow as tf
      >>> from PIL import Image as Photo
      >>> from mmrank.schema import Feature
      >>> file = io.BytesIO()
      >>> Photo.new("RGB", (40, 20), "red").save(file, "PNG")
      >>> photo = Image(Feature("photo", "image", "item", "photo"), {"height": 32, "width": 32})
      >>> photo.preprocess(tf.constant([file.getvalue()])).shape
      TensorShape([1, 32, 32, 3])
    """

    raw_dtype = tf.string
    Options = ImageOptions
    revision = 2  # revision 1 did not turn photos upright and showed transparent pixels as black
    unseen = Freezable.unseen | frozenset(
        "dropout flip smallest_part brightness contrast momentum group".split()
    )

    donor: Image | None = None

    def __init__(self, feature: Any, options: Mapping[str, Any]):
        weights = str({**feature.options, **options}.get("weights", "none"))
        if is_run(weights):
            self.donor = Image(*donor_of(feature, pathlib.Path(weights)))
            options = taken_options(self.donor.options, {**feature.options, **options})
        elif is_imported(weights):
            options = _of_folder(feature, options, pathlib.Path(weights))
        super().__init__(feature, options)
        if self.frozen and self.options.weights == "none":
            raise ConfigError(
                f"feature {self.name!r}: a photo tower that is not trainable needs weights; set "
                "`weights` to imagenet, a weights file or the folder of a run, or trainable to true"
            )
        check_network(f"feature {self.name!r}", self.options.network, self.options.weights)
        for name, known in (("fit", FITS), ("interpolation", INTERPOLATIONS)):
            value = getattr(self.options, name)
            if value not in known:
                raise ConfigError(
                    f"feature {self.name!r}: {name} {value!r} is unknown; known: {', '.join(known)}"
                )

    @property
    def frozen(self) -> bool:
        return not self.options.trainable

    @property
    def embedding_dropout(self) -> float:
        return self.options.dropout

    @property
    def origin(self) -> str:
        """The weights at the start of a chain of runs: this option's, or those of the named run."""
        return self.options.weights if self.donor is None else self.donor.origin

    @property
    def space(self) -> str:
        imported = self.donor is None and is_imported(self.options.weights)
        return space_of(pathlib.Path(self.options.weights)) if imported else ""

    def weights_hash(self) -> str:
        if self.options.weights == "imagenet":  # Keras knows the hash of its file
            return f"imagenet {self.options.network}"
        file = pathlib.Path(self.options.weights)
        if is_imported(self.options.weights):
            files = [file / name for name in (NETWORK_FILE, WEIGHTS_FILE, SPACE_FILE)]
            return files_hash([f for f in files if f.is_file()], file)
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
            raw[i] = b"" if data is None else as_shown(data)
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
        fit, interpolation = self.options.fit, self.options.interpolation

        def decode(data: tf.Tensor) -> tf.Tensor:
            return tf.cond(
                tf.strings.length(data) == 0,
                lambda: tf.zeros([height, width, 3], tf.uint8),
                lambda: decode_image(data, height, width, fit, interpolation),
            )

        pixels = tf.TensorSpec([height, width, 3], tf.uint8)
        most = None if tf.executing_eagerly() else DECODED_AT_ONCE  # eager mode runs one by one
        return tf.map_fn(decode, raw, fn_output_signature=pixels, parallel_iterations=most)

    def arrays(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        """Returns pixels [N, height, width, 3] uint8 and presence [N].

        Files are read in chunks, and each file once no matter how many rows name it: a query's
        photo appears in all its lists.
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
        return image_tower(self.options, self.sharing(), f"feature {self.name!r}", self.origin)

    def sharing(self) -> str:
        return self.group_key()


def _of_folder(
    feature: Feature, options: Mapping[str, Any], folder: pathlib.Path
) -> Mapping[str, Any]:
    """Returns the options, completed by the network of an imported folder and its photo settings.

    Raises:
      ConfigError: The options name another network, or another photo size than the network takes.
    """
    network = read_network(folder)
    held = network.network
    named = {**feature.options, **options}.get("network", held)
    if named != held:
        raise ConfigError(
            f"feature {feature.name!r}: network {named!r}, but {folder} holds {held!r}; leave "
            "`network` out, or name that one"
        )
    if not isinstance(network, ImportedTransformer):
        return {**options, "network": held}
    wanted = network.options()
    for name in ("height", "width"):
        size = {**feature.options, **options}.get(name, wanted[name])
        if size != wanted[name]:
            raise ConfigError(
                f"feature {feature.name!r}: {name} {size!r}, but the tower in {folder} reads "
                f"photos of {wanted[name]} pixels each way; leave height and width out"
            )
    return {**wanted, **feature.options, **options, "network": held}


def decode_image(
    data: tf.Tensor, height: int, width: int, fit: str = PAD, interpolation: str = "bilinear"
) -> tf.Tensor:
    """Returns pixels [height, width, 3] uint8 of a JPEG, PNG, GIF (first frame) or BMP file.

    The pixels are those that a browser shows on a white page: turned as the EXIF data say, and
    white where a PNG is transparent.

    Args:
      data: The file's bytes, a scalar.
      height, width, fit, interpolation: As `fitted` takes them.

    Raises:
      InvalidArgumentError: At run time, if a file cannot be decoded or decoding costs too much.

    Example:
      >>> import io
      >>> import tensorflow as tf
      >>> from PIL import Image as Photo
      >>> file = io.BytesIO()
      >>> Photo.new("RGB", (4, 2), "red").save(file, "PNG")
      >>> decode_image(tf.constant(file.getvalue()), 4, 4)[:2, 0].numpy().tolist()  # white above
      [[255, 255, 255], [255, 0, 0]]
    """
    whole = bounded(data)
    pixels = tf.cond(
        tf.strings.substr(data, 0, 4) == b"\x89PNG",
        lambda: _over_white(tf.io.decode_png(whole, channels=4)),
        lambda: tf.io.decode_image(whole, channels=3, expand_animations=False),
    )
    pixels.set_shape([None, None, 3])
    return fitted(upright(pixels, orientation(data)), height, width, fit, interpolation)


def _over_white(pixels: tf.Tensor) -> tf.Tensor:
    """Returns pixels [height, width, 3] uint8: those [height, width, 4] with alpha, over white.

    Computed in integers, and only if a pixel is transparent: floats of a large photo take
    gigabytes.
    """

    def mixed() -> tf.Tensor:
        alpha = tf.cast(pixels[..., 3:], tf.uint16)
        # 255 is odd, so no quotient lies halfway between two integers.
        over = tf.cast(pixels[..., :3], tf.uint16) * alpha + 255 * (255 - alpha) + 127
        return tf.cast(over // 255, tf.uint8)

    return tf.cond(
        tf.reduce_all(pixels[..., 3] == 255), lambda: tf.identity(pixels[..., :3]), mixed
    )


def image_tower(
    options: ImageOptions, name: str, where: str, origin: str | None = None
) -> tf.keras.Model:
    """Returns a model from pixels [N, height, width, 3], 0 to 255, to pooled features [N, D'].

    Networks scale their input themselves.

    Args:
      options: The tower's network and the random changes of photos in training.
      name: The model's name.
      where: The feature, with which error messages begin.
      origin: The weights that a run's weights began with, as `make_network` takes them.

    Source: Tan and Le 2019, "EfficientNet", and 2021, "EfficientNetV2".

    Raises:
      ConfigError: The weights are not available or do not fit the network.
    """
    network = make_network(
        where,
        options.network,
        options.weights,
        height=options.height,
        width=options.width,
        width_coefficient=options.width_coefficient,
        depth_coefficient=options.depth_coefficient,
        origin=options.weights if origin is None else origin,
    )
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
