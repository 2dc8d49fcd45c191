"""Importers of CLIP and SigLIP folders: two towers whose vectors can be compared."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib

import tensorflow as tf

from mmrank.data.embedding_cache import files_hash
from mmrank.encoders.aligned.byte_pairs import BytePairTokens
from mmrank.encoders.aligned.photo_network import TRANSFORMER, ImportedTransformer
from mmrank.encoders.aligned.pixels import read_pixels
from mmrank.encoders.aligned.shapes import CLIP, CONFIG_FILE, SIGLIP, TextShape, read_shapes
from mmrank.encoders.aligned.space import write_space
from mmrank.encoders.aligned.sticky_pieces import StickyPieceTokens
from mmrank.encoders.aligned.tensors import check, copy_weights
from mmrank.encoders.aligned.towers import text_tower
from mmrank.encoders.aligned.words import read_byte_pairs, read_sticky_pieces
from mmrank.encoders.imported.folder import NETWORK_FILE, WEIGHTS_FILE
from mmrank.encoders.imported.state_file import read_state
from mmrank.encoders.piece_tokens import Prefixed
from mmrank.encoders.text_import import Choices, Imported
from mmrank.outputs import InputError

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
TEXT, IMAGE = "text", "image"
ENTRY = (
    "text: {{encoder: hub, handle: {handle}/text}}, "
    "image: {{weights: {handle}/image, trainable: false}}"
)


@dataclasses.dataclass(frozen=True)
class ImportedPair(Imported):
    """A text tower to be written as a SavedModel, together with an image tower.

    Attributes:
      photos: The image tower, with its weights.
      network: The description in the image tower's folder.
      space: The id of the vector space that both towers share.
    """

    photos: tf.keras.Model
    network: ImportedTransformer
    space: str

    def write(self, folder: pathlib.Path) -> None:
        text, image = folder / TEXT, folder / IMAGE
        super().write(text)
        image.mkdir()
        plain = json.dumps(dataclasses.asdict(self.network), indent=1)
        (image / NETWORK_FILE).write_text(plain, encoding="utf-8")
        self.photos.save_weights(image / WEIGHTS_FILE)
        for tower in (text, image):
            write_space(tower, self.space)


def import_clip(path: pathlib.Path, choices: Choices) -> Imported:
    """Returns both towers of a folder with a CLIP. An `Importer`; see there.

    Example:
      >>> import pathlib
      >>> import_clip(pathlib.Path("."), Choices())
      Traceback (most recent call last):
      mmrank.outputs.InputError: config.json: no such file, so not the folder of a CLIP or SigLIP
      >>> import_clip(pathlib.Path("."), Choices(pooling="mean"))
      Traceback (most recent call last):
      mmrank.outputs.InputError: --pooling: not for a model of type 'clip'; leave it out
    """
    choices.check(CLIP, frozenset({"max_tokens", "prefix"}))
    return _imported(path, CLIP, choices)


def import_siglip(path: pathlib.Path, choices: Choices) -> Imported:
    """Returns both towers of a folder with a SigLIP. An `Importer`; see there.

    Example:
      >>> import pathlib
      >>> import_siglip(pathlib.Path("."), Choices(max_tokens=16))  # SigLIP's texts have one length
      Traceback (most recent call last):
      mmrank.outputs.InputError: --max-tokens: not for a model of type 'siglip'; leave it out
    """
    choices.check(SIGLIP, frozenset({"prefix"}))
    return _imported(path, SIGLIP, choices)


def weights_file(path: pathlib.Path) -> pathlib.Path:
    """Returns the file with the weights of a folder.

    Raises:
      InputError: The folder has no such file, or its weights are in several files.
    """
    for name in WEIGHTS:
        if (path / name).is_file():
            return path / name
        if (path / f"{name}.index.json").is_file():
            raise InputError(f"{path}: its weights are in several files; save them as one")
    raise InputError(f"{path}: no {' or '.join(WEIGHTS)}, the file with the weights")


def _imported(path: pathlib.Path, kind: str, choices: Choices) -> ImportedPair:
    # ---- Check all inputs before anything is built.
    photo, text = read_shapes(path, kind)
    pixels = read_pixels(path, photo.size)
    longest = text.positions if choices.max_tokens is None else choices.max_tokens
    if not 2 < longest <= text.positions:
        raise InputError(
            f"max_tokens is {longest}; the model in {path} reads 3 to {text.positions}"
        )
    tokens: tf.keras.layers.Layer
    if kind == CLIP:
        tokens = BytePairTokens(read_byte_pairs(path, text.vocabulary_size), longest, name="tokens")
    else:
        words = read_sticky_pieces(path, text.vocabulary_size)
        tokens = StickyPieceTokens(words, longest, name="tokens")
    file = weights_file(path)
    state = read_state(file)
    try:
        of_photo, of_text = check(state, photo, text)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error

    # ---- Build the towers.
    network = ImportedTransformer(TRANSFORMER, photo, **dataclasses.asdict(pixels))
    photos = network.model(photo.size, photo.size)
    copy_weights(photos, state, of_photo)
    tower = text_tower(text)
    copy_weights(tower, state, of_text)
    model = _text_model(tokens, tower, choices.prefix or "")
    facts = {
        "texts": f"{_stack_text(text)}, {text.vocabulary_size:,} tokens, up to {longest} per text, "
        f"{model.count_params():,} weights"
        + (f", each with the prefix {choices.prefix!r}" if choices.prefix else ""),
        "photos": f"{photo.stack.layers} layers, width {photo.stack.hidden}, "
        f"{photo.size} x {photo.size} pixels in patches of {photo.patch}, "
        f"{photos.count_params():,} weights; other proportions: {pixels.fit}",
        "vectors": f"{photo.width} wide, of photos and of texts",
    }
    space = hashlib.sha256(files_hash([file, path / CONFIG_FILE], path).encode()).hexdigest()[:32]
    return ImportedPair(model, facts, ENTRY, photos, network, f"{kind} {space}")


def _text_model(
    tokens: tf.keras.layers.Layer, tower: tf.keras.Model, prefix: str
) -> tf.keras.Model:
    """Returns a model from texts [N] to vectors [N, D]."""
    texts = tf.keras.Input((), dtype=tf.string, name="texts")
    begun = Prefixed(prefix, name="prefix")(texts) if prefix else texts
    ids, mask = tokens(begun)
    return tf.keras.Model(texts, tower([ids, mask]), name="text_model")


def _stack_text(text: TextShape) -> str:
    return f"{text.stack.layers} layers, width {text.stack.hidden}"
