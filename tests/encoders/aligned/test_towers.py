"""Both towers of CLIP and SigLIP against plain NumPy, by the papers' formulas."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest
import safetensors.numpy
import scipy.special
import sentencepiece
import tensorflow as tf
import tensorflow_hub
from tensorflow.core.protobuf import saved_model_pb2

from mmrank import import_encoder
from mmrank.config import ConfigError
from mmrank.encoders.aligned.importing import import_clip
from mmrank.encoders.aligned.space import SPACE_FILE, space_of
from mmrank.encoders.imported.folder import WEIGHTS_FILE, read_network
from mmrank.encoders.text_import import Choices

TEXTS = ["red dress", "", "Hello, dresses! over lazy dogs, no end of it", "red", "a fox"]
Weights = dict[str, np.ndarray]


class Reference:
    """The formulas, computed on the tensors of a file."""

    def __init__(self, folder: pathlib.Path):
        tensors = safetensors.numpy.load_file(folder / "model.safetensors")
        self.w = {n: v.astype(np.float64) for n, v in tensors.items()}
        self.config = json.loads((folder / "config.json").read_text())
        self.clip = self.config["model_type"] == "clip"

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + self.epsilon)
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def dense(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def active(self, x: np.ndarray) -> np.ndarray:
        if self.activation == "quick_gelu":
            return x / (1 + np.exp(-1.702 * x))
        if self.activation == "gelu":
            return x * (1 + scipy.special.erf(x / np.sqrt(2))) / 2
        return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2

    def attended(self, query, key, value, heads: int, mask=None) -> np.ndarray:
        width = query.shape[-1] // heads
        mixed = []
        for h in range(heads):
            own = slice(h * width, (h + 1) * width)
            logits = query[:, own] @ key[:, own].T / np.sqrt(width)
            logits = logits if mask is None else np.where(mask, logits, -np.inf)
            mixed.append(scipy.special.softmax(logits, -1) @ value[:, own])
        return np.concatenate(mixed, -1)

    def blocks(self, x: np.ndarray, part: str, causal: bool) -> np.ndarray:
        own = self.config[f"{part}_config"]
        mask = np.tril(np.ones([len(x), len(x)], bool)) if causal else None
        for i in range(own["num_hidden_layers"]):
            at = f"{part}_model.encoder.layers.{i}"
            y = self.norm(x, f"{at}.layer_norm1")
            query, key, value = (self.dense(y, f"{at}.self_attn.{n}_proj") for n in "qkv")
            mixed = self.attended(query, key, value, own["num_attention_heads"], mask)
            x = x + self.dense(mixed, f"{at}.self_attn.out_proj")
            y = self.active(self.dense(self.norm(x, f"{at}.layer_norm2"), f"{at}.mlp.fc1"))
            x = x + self.dense(y, f"{at}.mlp.fc2")
        return x

    def of(self, part: str) -> None:
        own = self.config[f"{part}_config"]
        self.activation = own.get("hidden_act", "quick_gelu" if self.clip else "tanh")
        self.epsilon = own.get("layer_norm_eps", 1e-5 if self.clip else 1e-6)

    def text(self, ids: list[int]) -> np.ndarray:
        self.of("text")
        x = self.w["text_model.embeddings.token_embedding.weight"][ids]
        x = x + self.w["text_model.embeddings.position_embedding.weight"][: len(ids)]
        x = self.norm(self.blocks(x, "text", self.clip), "text_model.final_layer_norm")
        if self.clip:
            return self.w["text_projection.weight"] @ x[-1]
        return self.dense(x[-1], "text_model.head")

    def photo(self, pixels: np.ndarray) -> np.ndarray:
        """The embedding of scaled pixels [size, size, 3]."""
        self.of("vision")
        at, own = "vision_model", self.config["vision_config"]
        patch, count = own["patch_size"], own["image_size"] // own["patch_size"]
        kernel = self.w[f"{at}.embeddings.patch_embedding.weight"]
        x = np.zeros([count * count, own["hidden_size"]])
        for i in range(count):
            for j in range(count):
                seen = pixels[i * patch : (i + 1) * patch, j * patch : (j + 1) * patch]
                x[i * count + j] = np.einsum("dchw,hwc->d", kernel, seen)
        if self.clip:
            x = np.concatenate([self.w[f"{at}.embeddings.class_embedding"][None], x])
        else:
            x = x + self.w[f"{at}.embeddings.patch_embedding.bias"]
        x = x + self.w[f"{at}.embeddings.position_embedding.weight"]
        if self.clip:
            x = self.blocks(self.norm(x, f"{at}.pre_layrnorm"), "vision", False)
            return self.w["visual_projection.weight"] @ self.norm(x[0], f"{at}.post_layernorm")
        x = self.norm(self.blocks(x, "vision", False), f"{at}.post_layernorm")
        weight = np.split(self.w[f"{at}.head.attention.in_proj_weight"], 3)
        bias = np.split(self.w[f"{at}.head.attention.in_proj_bias"], 3)
        inputs = (self.w[f"{at}.head.probe"][0], x, x)
        query, key, value = (v @ w.T + b for v, w, b in zip(inputs, weight, bias, strict=True))
        mixed = self.attended(query, key, value, own["num_attention_heads"])
        pooled = self.dense(mixed, f"{at}.head.attention.out_proj")
        y = self.active(self.dense(self.norm(pooled, f"{at}.head.layernorm"), f"{at}.head.mlp.fc1"))
        return (pooled + self.dense(y, f"{at}.head.mlp.fc2"))[0]


def close(given: np.ndarray, expected: np.ndarray) -> None:
    assert given.shape == expected.shape
    assert np.abs(given - expected).max() <= 1e-3 * np.abs(expected).max()
    # The test would prove nothing if the tower had similar outputs for all inputs.
    apart = np.linalg.norm(expected[:, None] - expected[None], axis=-1)
    assert apart[~np.eye(len(expected), dtype=bool)].min() > 0.01 * np.abs(expected).max()


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, [3, 32, 32, 3]).astype(np.float32)


@pytest.fixture(scope="module")
def clip(folder_of, tmp_path_factory) -> tuple[pathlib.Path, pathlib.Path]:
    """The folder of a CLIP, and the files that the command makes from it."""
    folder = tmp_path_factory.mktemp("clip")
    folder_of(folder / "hf", "clip")
    arguments = ["--from", str(folder / "hf"), "--out", str(folder / "out")]
    assert import_encoder.main(arguments) == 0
    return folder / "hf", folder / "out"


def clip_ids(known) -> dict[str, list[int]]:
    """Texts made of single pieces, with their ids read from the vocabulary."""
    texts = {
        "the red dress": ["the</w>", "red</w>", "dress</w>"],
        "": [],
        "a 's \u00e9": ["a</w>", "'s</w>", "\u00c3\u00a9</w>"],
        " hello": ["hello</w>"],
    }
    start, end = len(known.pieces) - 2, len(known.pieces) - 1
    return {t: [start, *(known.pieces[p] for p in ps), end] for t, ps in texts.items()}


def clip_pixels(pixels: np.ndarray) -> np.ndarray:
    mean, std = (np.array(v) for v in ([0.48, 0.46, 0.41], [0.27, 0.26, 0.28]))
    return (pixels.astype(np.float64) / 255 - mean) / std


def test_clip(clip, clip_words, pixels):
    folder, out = clip
    reference = Reference(folder)
    network = read_network(out / "image")
    photos = network.model(32, 32)
    photos.load_weights(out / "image" / WEIGHTS_FILE)
    expected = [reference.photo(p) for p in clip_pixels(pixels)]
    close(photos(pixels).numpy(), np.stack(expected))
    ids = clip_ids(clip_words)
    layer = tensorflow_hub.KerasLayer(
        str(out / "text"), trainable=True, input_shape=[], dtype=tf.string
    )
    expected = np.stack([reference.text(i) for i in ids.values()])
    with tf.GradientTape() as tape:
        given = layer(tf.constant(list(ids)), training=True)
        loss = tf.reduce_sum(given[:, 0])
    close(given.numpy(), expected)
    gradients = tape.gradient(loss, layer.trainable_variables)
    # 2 tables, 16 per block, 2 of the norm, and the projection.
    assert len(gradients) == 2 + 16 * 2 + 2 + 1
    for gradient in gradients:
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()


def test_the_text_tower_needs_only_ops_of_tensorflow(clip):
    file = clip[1] / "text" / "saved_model.pb"
    graph = saved_model_pb2.SavedModel.FromString(file.read_bytes()).meta_graphs[0].graph_def
    functions = {f.signature.name for f in graph.library.function}
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    assert "SegmentMin" in {n.op for n in nodes}
    assert {n.op for n in nodes} - functions <= set(dir(tf.raw_ops))


def test_another_activation_and_epsilon_under_pytorchs_name(
    folder_of, clip_words, tmp_path, pixels
):
    changed = {"hidden_act": "gelu", "layer_norm_eps": 1e-2}
    folder = folder_of(tmp_path / "hf", "clip", text=changed, vision=changed)
    reference = Reference(folder)
    # The format is recognised by the content of the file.
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    pair = import_clip(folder, Choices())
    ids = clip_ids(clip_words)
    close(pair.photos(pixels).numpy(), np.stack([reference.photo(p) for p in clip_pixels(pixels)]))
    close(
        pair.model(tf.constant(list(ids))).numpy(),
        np.stack([reference.text(i) for i in ids.values()]),
    )


def test_siglip(folder_of, tmp_path, pixels, capsys):
    folder, out = folder_of(tmp_path / "hf", "siglip"), tmp_path / "siglip"
    arguments = ["--from", str(folder), "--out", str(out), "--prefix", "a "]
    assert import_encoder.main(arguments) == 0
    assert f"image: {{weights: {out}/image, trainable: false}}" in capsys.readouterr().out
    reference = Reference(folder)
    photos = read_network(out / "image").model(32, 32)
    photos.load_weights(out / "image" / WEIGHTS_FILE)
    expected = [reference.photo(p / 127.5 - 1) for p in pixels.astype(np.float64)]
    close(photos(pixels).numpy(), np.stack(expected))
    own = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    rows = []
    for text in TEXTS:
        plain = "".join(c for c in f"a {text}".lower() if c not in ",!")
        ids = [*own.encode(" ".join(plain.split()))[:11], 1]
        rows.append(reference.text(ids + [1] * (12 - len(ids))))
    layer = tensorflow_hub.KerasLayer(str(out / "text"), input_shape=[], dtype=tf.string)
    close(layer(tf.constant(TEXTS)).numpy(), np.stack(rows))


def test_towers_carry_a_hash_of_their_files(clip, folder_of, tmp_path):
    """With another prefix the space stays the same; with other weights it differs."""
    folder, out = clip
    assert space_of(out / "text") == space_of(out / "image") != ""
    again = import_clip(folder, Choices(prefix="photo: "))
    assert again.space == space_of(out / "text")
    other = import_clip(folder_of(tmp_path / "hf", "clip", seed=1), Choices())
    assert other.space != again.space
    assert space_of(tmp_path) == ""
    (tmp_path / SPACE_FILE).write_text('{"space": 3}')
    with pytest.raises(ConfigError, match=r"aligned.json: has no entry space"):
        space_of(tmp_path)
