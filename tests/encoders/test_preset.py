"""Presets of keras_nlp: files in the layout of its cache, the preset's tokenizer, errors."""

from __future__ import annotations

import hashlib
import io
import json
import pathlib
from typing import Any

import keras_nlp
import numpy as np
import pandas as pd
import pytest
import sentencepiece
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.encoders.frozen import Frozen, Tower
from mmrank.encoders.text import Text
from mmrank.schema import Feature

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "dress", "##es", "手", "机", "café"]
NAME = "bert_tiny_en_uncased"
CACHED = pathlib.Path("models", "keras", "bert", "keras", NAME, "2")


def text(**options: Any) -> Text:
    options = {"encoder": "preset", "max_tokens": 6, **options}
    return Text(Feature("title", "text", "item", "title"), options)


def write_preset(folder: pathlib.Path) -> keras_nlp.models.BertBackbone:
    """Writes the files of a small BERT in keras_nlp's format, and returns the BERT."""
    tf.keras.utils.set_random_seed(7)
    backbone = keras_nlp.models.BertBackbone(**SIZES, vocabulary_size=len(PIECES))
    for weight in backbone.weights:
        weight.assign(tf.random.normal(weight.shape))
    tokenizer = keras_nlp.models.BertTokenizer(vocabulary=PIECES, lowercase=True)
    write_files(folder, backbone, tokenizer, {"vocabulary.txt": "\n".join(PIECES).encode()})
    return backbone


SIZES = {
    "num_layers": 1,
    "num_heads": 2,
    "hidden_dim": 8,
    "intermediate_dim": 12,
    "max_sequence_length": 10,
}


def write_files(
    folder: pathlib.Path, backbone: Any, tokenizer: Any, assets: dict[str, bytes]
) -> None:
    (folder / "assets" / "tokenizer").mkdir(parents=True)
    for name, content in assets.items():
        (folder / "assets" / "tokenizer" / name).write_bytes(content)
    for file, layer in (("config.json", backbone), ("tokenizer.json", tokenizer)):
        config = tf.keras.saving.serialize_keras_object(layer)
        for asset in {"vocabulary", "proto"} & set(config["config"]):
            config["config"][asset] = None  # it is in a file of its own
        (folder / file).write_text(json.dumps(config))
    (folder / "metadata.json").write_text('{"keras_version": "2.15.0"}')
    backbone.save_weights(folder / "model.weights.h5")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A BERT in a cache where keras_nlp finds it by name."""
    cache = tmp_path_factory.mktemp("cache")
    made = write_preset(cache / CACHED)
    for file in (cache / CACHED).rglob("*.*"):
        mark = cache / CACHED.parent / ".complete" / "2" / f"{file.relative_to(cache / CACHED)}"
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.with_name(f"{mark.name}.complete").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAGGLEHUB_CACHE", str(cache))
        yield made


TEXTS = ["Red dresses", "手机 red red red red", "zzz"]
IDS = [[2, 5, 6, 7, 3, 0], [2, 8, 9, 5, 5, 3], [2, 1, 3, 0, 0, 0]]


def means(backbone: Any) -> np.ndarray:
    """The mean of each text's token vectors, without padding, one text at a time."""
    rows = []
    for ids in IDS:
        own = np.array([[i for i in ids if i]])
        given = backbone(
            {"token_ids": own, "segment_ids": own * 0, "padding_mask": np.ones_like(own)}
        )
        rows.append(given["sequence_output"].numpy()[0].mean(0))
    return np.array(rows)


def test_texts_are_cut_by_the_presets_own_tokenizer(backbone):
    kind = text(handle=NAME, trainable=True)
    kind.fit(pd.Series(["whatever"]))
    assert kind.vocabulary == ()
    ids = kind.arrays(pd.Series(TEXTS), None)[0]
    assert ids.tolist() == IDS
    assert kind.input_spec().is_compatible_with(tf.constant(ids))
    graph = tf.function(lambda raw: kind.preprocess(raw))
    np.testing.assert_array_equal(graph(tf.constant(TEXTS)), IDS)


@pytest.mark.parametrize("named", [True, False])
def test_a_preset_of_the_cache_or_a_folder_can_be_trained(backbone, named, tmp_path):
    if not named:
        backbone = write_preset(tmp_path / "copied")
    kind = text(handle=NAME if named else str(tmp_path / "copied"), trainable=True)
    encoder = kind.encoder(99)
    np.testing.assert_allclose(encoder(tf.constant(IDS)), means(backbone), atol=1e-5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(encoder(tf.constant(IDS), training=True)[:, 0])
    gradients = tape.gradient(loss, encoder.trainable_variables)
    assert len(gradients) == 5 + 16  # the embeddings with their norm, and one layer
    assert all(np.isfinite(tf.convert_to_tensor(g)).all() for g in gradients)
    assert any("transformer_layer_0" in v.name for v in encoder.trainable_variables)


def test_a_frozen_preset_runs_once_per_text(backbone):
    inner = text(handle=NAME)
    assert inner.frozen
    kind = Frozen(inner, Tower(inner))
    kind.fit(pd.Series(TEXTS))
    given, present = kind.arrays(pd.Series([*TEXTS, ""]), None)
    np.testing.assert_allclose(given[:][:3], means(backbone), atol=1e-5)
    assert present.tolist() == [True, True, True, False]
    assert len(kind.state()["frozen"]["weights"]) == len(hashlib.sha256().hexdigest())


def test_other_weights_of_a_frozen_preset_are_refused(backbone, tmp_path):
    first, second = (text(handle=str(tmp_path / n)) for n in ("first", "second"))
    write_preset(tmp_path / "first")
    before = first.weights_hash()
    assert before == first.weights_hash()
    other = write_preset(tmp_path / "second")
    assert second.weights_hash() == before
    other.weights[0].assign(other.weights[0] + 1)
    other.save_weights(tmp_path / "second" / "model.weights.h5")
    assert second.weights_hash() != before


def test_unavailable_presets_are_refused_in_one_line(backbone, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "empty"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # no server listens there
    write_preset(tmp_path / "torn")
    (tmp_path / "torn" / "model.weights.h5").write_bytes(b"not weights")
    (tmp_path / "none").mkdir()
    cases = [
        (
            NAME,
            f"handle '{NAME}' is not available: tried the local cache .* and the download: .*; to",
        ),
        ("bert_tiny_en_uncasd", f"neither a preset of keras_nlp nor a folder.*mean '{NAME}'"),
        (str(tmp_path / "none"), "tried the local folder: .*metadata.json.*; to copy it by hand"),
        (str(tmp_path / "torn"), "tried the local folder: .*; to copy it by hand"),
    ]
    for handle, message in cases:
        with pytest.raises(ConfigError, match=f"'title'.*{message}") as actual:
            text(handle=handle, trainable=True).encoder(99)
        assert "\n" not in str(actual.value)


def test_options_of_a_preset(backbone):
    with pytest.raises(ConfigError, match="encoder preset needs `handle`, a preset's name"):
        text()
    with pytest.raises(ConfigError, match="max_tokens is 11; preset .* reads at most 10"):
        text(handle=NAME, max_tokens=11, trainable=True).encoder(99)
    with pytest.raises(ConfigError, match="max_tokens: expected 3 or more, got 2"):
        text(handle=NAME, max_tokens=2)


def test_sentence_pieces_survive_an_export(tmp_path):
    """XLM-R: ids of fairseq, with 0 at the start, 2 at the end and 1 as padding."""
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["red summer dress", "红色连衣裙 夏天"] * 5),
        model_writer=made,
        vocab_size=19,
        character_coverage=1.0,
        minloglevel=2,
    )
    proto = made.getvalue()
    backbone = keras_nlp.models.XLMRobertaBackbone(**SIZES, vocabulary_size=21)
    tokenizer = keras_nlp.models.XLMRobertaTokenizer(proto=proto)
    write_files(tmp_path / "preset", backbone, tokenizer, {"vocabulary.spm": proto})
    kind = text(handle=str(tmp_path / "preset"), max_tokens=9)
    module = tf.Module()
    module.given, module.tracked = kind.traced_preprocess(), kind.tracked()
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=None)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    own = sentencepiece.SentencePieceProcessor(model_proto=proto)
    for words in ("red dress", "裙"):
        ids = [0, *[i + 1 if i else 3 for i in own.encode(words)][:7], 2]
        expected = ids + [1] * (9 - len(ids))
        assert loaded.given(tf.constant([words])).numpy().tolist() == [expected]
    encoder = kind.encoder(99)
    short, padded = encoder(tf.constant([[0, 5, 2]])), encoder(tf.constant([[0, 5, 2, 1, 1]]))
    np.testing.assert_allclose(short, padded, atol=1e-5)
