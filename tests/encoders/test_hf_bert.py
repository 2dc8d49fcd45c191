"""The import of a Hugging Face BERT or XLM-R, compared with both in plain Python and NumPy."""

from __future__ import annotations

import io
import json
import os
import pathlib
import unicodedata
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import scipy.special
import sentencepiece
import tensorflow as tf
import tensorflow_hub

from mmrank.encoders.hf_bert import text_model
from mmrank.encoders.hf_folder import read_folder, read_weights
from mmrank.import_encoder import main
from mmrank.outputs import InputError

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = ["red", "dress", "##es", "sum", "##mer", ",", "，", "!", "cafe", "café", "Red", "a", "##b"]
CHINESE = ["红", "色", "连", "衣", "裙", "##裙"]
TEXTS = [
    "red dress",
    "Red  Dresses, summer!",
    "红色连衣裙",
    "summer红色，dress",
    "Café\u3000red\tcafe\u0301",
    "a\u200bb\x00 zzz",
    "",
    "red " * 30,
]
HIDDEN, HEADS, LAYERS, BETWEEN, POSITIONS = 16, 4, 2, 24, 20


def random_weights(vocabulary: int, segments: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """Tensors of a small BERT with Hugging Face's names, with nontrivial norms and biases."""
    random = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (vocabulary, HIDDEN),
        "embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": (segments, HIDDEN),
        "embeddings.LayerNorm.weight": (HIDDEN,),
        "embeddings.LayerNorm.bias": (HIDDEN,),
        "pooler.dense.weight": (HIDDEN, HIDDEN),
        "pooler.dense.bias": (HIDDEN,),
    }
    for i in range(LAYERS):
        at = f"encoder.layer.{i}"
        for part, out, inputs in (
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", BETWEEN, HIDDEN),
            ("output.dense", HIDDEN, BETWEEN),
        ):
            shapes |= {f"{at}.{part}.weight": (out, inputs), f"{at}.{part}.bias": (out,)}
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{at}.{part}.weight": (HIDDEN,), f"{at}.{part}.bias": (HIDDEN,)}
    return {n: random.normal(0, 0.5, s).astype(np.float32) for n, s in shapes.items()}


def write_folder(
    path: pathlib.Path,
    *,
    prefix: str = "",
    config: dict[str, Any] | None = None,
    tokenizer: dict[str, Any] | None = None,
    weights: dict[str, np.ndarray] | None = None,
) -> pathlib.Path:
    """A folder in the format of `save_pretrained`."""
    path.mkdir(parents=True)
    pieces = SPECIAL + PIECES + CHINESE
    plain = {
        "model_type": "bert",
        "vocab_size": len(pieces),
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": BETWEEN,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-5,
        "hidden_act": "gelu",
    }
    config = plain | (config or {})
    (path / "config.json").write_text(json.dumps(config))
    (path / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    (path / "tokenizer_config.json").write_text(json.dumps(tokenizer or {"do_lower_case": True}))
    weights = weights or random_weights(len(pieces), config["type_vocab_size"])
    named = {prefix + name: values for name, values in weights.items()}
    safetensors.numpy.save_file(named, path / "model.safetensors")
    return path


def reference_ids(text: str, pieces: list[str], lowercase: bool, longest: int) -> list[int]:
    """WordPiece ids by the tokenizer of Devlin et al., with start and end."""
    clean = ""
    for letter in text:
        category = unicodedata.category(letter)
        if letter in "\t\n\r" or category == "Zs":
            clean += " "
        elif category.startswith("C"):
            continue
        elif "\u4e00" <= letter <= "\u9fff":
            clean += f" {letter} "
        else:
            clean += letter
    if lowercase:
        parts = unicodedata.normalize("NFD", clean.lower())
        clean = "".join(c for c in parts if unicodedata.category(c) != "Mn")
    spaced = ""
    for letter in clean:
        marks = unicodedata.category(letter).startswith("P") or letter in "$+<=>^`|~"
        spaced += f" {letter} " if marks else letter
    ids = []
    for word in spaced.split():
        found, at = [], 0
        while at < len(word):
            ends = range(len(word), at, -1)
            tries = ((e, ("##" if at else "") + word[at:e]) for e in ends)
            end, piece = next(((e, p) for e, p in tries if p in pieces), (None, "[UNK]"))
            if end is None:
                found = ["[UNK]"]
                break
            found.append(piece)
            at = end
        ids += [pieces.index(p) for p in found]
    start, end = pieces.index("[CLS]"), pieces.index("[SEP]")
    return [start, *ids[: longest - 2], end]


def reference_vectors(
    ids: list[int], w: dict[str, np.ndarray], config: dict, first: int = 0
) -> np.ndarray:
    """Token vectors [T, hidden] of one text by BERT's equations (Devlin 2019, Vaswani 2017).

    `first` is the row of the first token's position.
    """

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + config["layer_norm_eps"])
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def gelu(x: np.ndarray) -> np.ndarray:
        if config["hidden_act"] == "gelu":
            return x * (1 + scipy.special.erf(x / np.sqrt(2))) / 2
        return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2

    w = {n: v.astype(np.float64) for n, v in w.items()}
    x = w["embeddings.word_embeddings.weight"][ids]
    x = x + w["embeddings.position_embeddings.weight"][first : first + len(ids)]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    width = config["hidden_size"] // config["num_attention_heads"]
    for i in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{i}"
        query, key, value = (
            dense(x, f"{at}.attention.self.{part}") for part in ("query", "key", "value")
        )
        heads = []
        for h in range(config["num_attention_heads"]):
            own = slice(h * width, (h + 1) * width)
            weight = scipy.special.softmax(query[:, own] @ key[:, own].T / np.sqrt(width), -1)
            heads.append(weight @ value[:, own])
        mixed = dense(np.concatenate(heads, -1), f"{at}.attention.output.dense")
        x = norm(x + mixed, f"{at}.attention.output.LayerNorm")
        widened = gelu(dense(x, f"{at}.intermediate.dense"))
        x = norm(x + dense(widened, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    return x


def reference(
    texts: list[str],
    folder: pathlib.Path,
    *,
    pooling: str,
    normalize: bool = False,
    lowercase: bool = True,
    longest: int = POSITIONS,
) -> np.ndarray:
    """Embeddings [N, hidden], one text at a time and therefore without padding."""
    config = json.loads((folder / "config.json").read_text())
    pieces = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    weights = {n.removeprefix("bert."): v for n, v in tensors.items()}
    pools = {"mean": lambda v: v.mean(0), "cls": lambda v: v[0], "max": lambda v: v.max(0)}
    ids = [reference_ids(t, pieces, lowercase, longest) for t in texts]
    pooled = np.stack([pools[pooling](reference_vectors(i, weights, config)) for i in ids])
    return pooled / np.linalg.norm(pooled, axis=-1, keepdims=True) if normalize else pooled


def imported(path: pathlib.Path, **choices: Any) -> tuple[tf.keras.Model, tuple[str, ...]]:
    folder = read_folder(path)
    wanted = {"pooling": "mean", "normalize": False, "max_tokens": folder.max_tokens} | choices
    return text_model(folder.shape, folder.words, read_weights(path), **wanted)


@pytest.mark.parametrize(
    ("prefix", "config", "pooling"),
    [
        ("", {}, "mean"),
        ("bert.", {"hidden_act": "gelu_new", "layer_norm_eps": 1e-2}, "max"),
        ("bert.", {"type_vocab_size": 1}, "cls"),
    ],
)
def test_embeddings_equal_those_of_bert(tmp_path, prefix, config, pooling):
    """English, Chinese, mixed, empty and too long texts, in one padded batch."""
    folder = write_folder(tmp_path / "hf", prefix=prefix, config=config)
    model, unused = imported(folder, pooling=pooling)
    expected = reference(TEXTS, folder, pooling=pooling)
    np.testing.assert_allclose(model(tf.constant(TEXTS)), expected, atol=1e-4)
    assert unused == ("pooler.dense.bias", "pooler.dense.weight")
    # The test would prove nothing if the model had similar embeddings for all texts.
    distances = np.linalg.norm(expected[:, None] - expected[None], axis=-1)
    assert distances[~np.eye(len(TEXTS), dtype=bool)].min() > 0.01  # a hundred times the tolerance


def test_case_and_accents_are_kept_if_the_tokenizer_keeps_them(tmp_path):
    folder = write_folder(tmp_path / "hf", tokenizer={"do_lower_case": False})
    model, _ = imported(folder, pooling="cls", normalize=True)
    texts = ["Red café", "red cafe", "Café 红色"]
    expected = reference(texts, folder, pooling="cls", normalize=True, lowercase=False)
    np.testing.assert_allclose(model(tf.constant(texts)), expected, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=-1), 1.0)


def test_a_text_does_not_depend_on_its_batch(tmp_path):
    model, _ = imported(write_folder(tmp_path / "hf"))
    together = model(tf.constant(TEXTS)).numpy()
    alone = np.concatenate([model(tf.constant([t])).numpy() for t in TEXTS])
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_the_saved_model_is_a_trainable_hub_layer(tmp_path, capsys):
    """Imported by the command, with the pooling that sentence-transformers' files specify."""
    folder = write_folder(tmp_path / "hf")
    modules = [{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
    modules += [{"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 8}')
    assert main(["--from", str(folder), "--out", str(tmp_path / "hub")]) == 0
    assert "unused    pooler.dense.bias, pooler.dense.weight" in capsys.readouterr().out

    layer = tensorflow_hub.KerasLayer(
        str(tmp_path / "hub"), trainable=True, input_shape=[], dtype=tf.string
    )
    expected = reference(TEXTS, folder, pooling="cls", normalize=True, longest=8)
    for training in (False, True):
        given = layer(tf.constant(TEXTS), training=training)
        assert given.shape == (len(TEXTS), HIDDEN)
        np.testing.assert_allclose(given, expected, atol=1e-4)
    # 5 of the embeddings, 16 per layer: six dense layers and two norms with two weights each.
    assert len(layer.trainable_variables) == 5 + 16 * LAYERS
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant(TEXTS), training=True)[:, 0])
    for gradient in tape.gradient(loss, layer.trainable_variables):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()


@pytest.mark.parametrize(
    ("model_type", "prefix", "first"),
    [("xlm-roberta", "roberta.", 2), ("bert", "", 0)],  # as E5 base and E5 small
)
def test_embeddings_equal_those_of_xlm_r(tmp_path, capsys, model_type, prefix, first):
    """By the command, each text after `query: `; the longest text has a token at every position."""
    folder = write_folder(tmp_path / "hf")
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["query: red summer dress", "红色连衣裙 夏天"] * 5),
        model_writer=made,
        vocab_size=22,
        character_coverage=1.0,
        minloglevel=2,
    )
    (folder / "vocab.txt").unlink()
    (folder / "sentencepiece.bpe.model").write_bytes(made.getvalue())
    changed = {"model_type": model_type, "vocab_size": 24, "type_vocab_size": 1, "pad_token_id": 1}
    config = json.loads((folder / "config.json").read_text()) | changed
    (folder / "config.json").write_text(json.dumps(config))
    weights = random_weights(24, segments=1)
    named = {prefix + name: values for name, values in weights.items()}
    safetensors.numpy.save_file(named, folder / "model.safetensors")
    out = tmp_path / "hub"
    arguments = ["--prefix", "query: ", "--normalize", "--max-tokens", str(POSITIONS - first)]
    assert main(["--from", str(folder), "--out", str(out), *arguments]) == 0
    assert "each with the prefix 'query: '" in capsys.readouterr().out

    own = sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())
    expected = []
    for text in TEXTS:
        pieces = [i + 1 if i else 3 for i in own.encode(f"query: {text}".replace("\x00", ""))]
        ids = [0, *pieces[: POSITIONS - first - 2], 2]
        pooled = reference_vectors(ids, weights, config, first).mean(0)
        expected.append(pooled / np.linalg.norm(pooled))
    assert len(ids) == POSITIONS - first
    layer = tensorflow_hub.KerasLayer(str(out), input_shape=[], dtype=tf.string)
    given = layer(tf.constant([text.replace("\x00", "") for text in TEXTS]))
    np.testing.assert_allclose(given, expected, atol=1e-4)


def test_wrong_folders_are_refused_in_one_line(tmp_path, capsys):
    cases: list[tuple[dict[str, Any], str]] = [
        ({"config": {"model_type": "roberta"}}, "a model of type 'roberta'"),
        ({"config": {"hidden_act": "gelu_nwe"}}, "did you mean 'gelu_new'?"),
        ({"config": {"position_embedding_type": "relative_key"}}, "only 'absolute'"),
        ({"config": {"vocab_size": 7}}, "different models"),
        ({"config": {"num_attention_heads": 3}}, "not a multiple of 3 heads"),
        ({"config": {"intermediate_size": 25}}, "has the shape [24, 16], not [25, 16]"),
        ({"config": {"num_hidden_layers": 3}}, "encoder.layer.2.attention.self.query.weight is"),
        ({"config": {"hidden_size": "x"}}, "no whole number for hidden_size"),
    ]
    for number, (change, message) in enumerate(cases):
        folder = write_folder(tmp_path / str(number), **change)
        assert main(["--from", str(folder), "--out", str(tmp_path / "hub")]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("error: ") == 1
    assert not (tmp_path / "hub").exists()


def test_pickles_are_not_read(tmp_path):
    folder = write_folder(tmp_path / "hf")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="pickle"):
        read_folder(folder)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(InputError, match=r"no model\.safetensors"):
        read_folder(folder)
    (folder / "model.safetensors").write_bytes(b"not tensors at all")
    with pytest.raises(InputError, match="not a safetensors file"):
        read_weights(folder)


if "MMRANK_MINILM" in os.environ:  # the folder of a real sentence encoder, if available

    def test_a_real_encoder():
        path = pathlib.Path(os.environ["MMRANK_MINILM"])
        folder = read_folder(path)
        model, _ = imported(path, pooling=folder.pooling, normalize=folder.normalize)
        texts = [
            "red summer dress",
            "a light scarlet frock for warm days",
            "USB-C charging cable, 2 m (black)",
            "红色连衣裙，夏天 Kleid für Damen",
            "naïve café — 100% cotton T-shirt!",
        ]
        expected = reference(
            texts,
            path,
            pooling=folder.pooling,
            normalize=folder.normalize,
            lowercase=folder.words.lowercase,
            longest=folder.max_tokens,
        )
        np.testing.assert_allclose(model(tf.constant(texts)), expected, atol=1e-4)
        similarity = expected @ expected.T
        assert similarity[0, 1] > similarity[0, 2] + 0.3
