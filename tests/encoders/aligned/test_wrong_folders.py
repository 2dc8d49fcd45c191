"""Folders that cannot be imported: one line names the file, and nothing is written."""

from __future__ import annotations

import io
import json
import pathlib
from collections.abc import Callable

import numpy as np
import pytest
import safetensors.numpy
import sentencepiece

from mmrank import import_encoder

CASES = [
    ("clip", {"text": {"num_attention_heads": 0}}, "config.json", "num_attention_heads is 0"),
    ("clip", {"vision": {"num_attention_heads": 5}}, "config.json", "not a multiple of 5 heads"),
    ("clip", {"text": {"hidden_size": 10**9 * 3}}, "model.safetensors", "not [3000000000]"),
    (
        "clip",
        {"vision": {"num_hidden_layers": 10**9}},
        "model.safetensors",
        "is 1000000000, but the file has",
    ),
    ("clip", {"vision": {"num_hidden_layers": 1}}, "model.safetensors", "is not part of the model"),
    ("clip", {"vision": {"image_size": 10**9}}, "preprocessor_config.json", "tower reads 10000"),
    ("clip", {"vision": {"patch_size": 64}}, "config.json", "patch_size 64 is above image_size"),
    ("clip", {"text": {"hidden_size": "12"}}, "config.json", "hidden_size is '12', not a whole"),
    ("clip", {"text": {"hidden_size": True}}, "config.json", "hidden_size is True, not a whole"),
    ("clip", {"text": {"layer_norm_eps": float("nan")}}, "config.json", "layer_norm_eps is nan"),
    ("clip", {"text": {"hidden_act": "quick_gleu"}}, "config.json", "did you mean 'quick_gelu'"),
    ("clip", {"text": {"hidden_act": ["gelu"]}}, "config.json", "hidden_act is ['gelu']"),
    ("clip", {"text": {"vocab_size": 500}}, "vocab.json", "but the tower has 500 tokens"),
    ("clip", {"whole": {"text_config": [1]}}, "config.json", "text_config is [1]"),
    ("clip", {"whole": {"projection_dim": 11}}, "model.safetensors", "[10, 12], not [11, 12]"),
    ("clip", {"drop": ("visual_projection.weight",)}, "model.safetensors", "weight is missing"),
    ("clip", {"photos": {"crop_size": 31}}, "preprocessor_config.json", "the tower reads 32 x 32"),
    ("clip", {"photos": {"resample": 0}}, "preprocessor_config.json", "resample is 0"),
    ("clip", {"photos": {"image_std": [0, 0, 0]}}, "preprocessor_config.json", "must be above 0"),
    ("clip", {"photos": {"image_mean": [1, 2]}}, "preprocessor_config.json", "not 3 numbers"),
    ("clip", {"photos": {"image_mean": None}}, "preprocessor_config.json", "image_mean is None"),
    ("siglip", {"vision": {"vision_use_head": False}}, "config.json", "have no vector"),
    ("siglip", {"text": {"projection_size": 12}}, "config.json", "16 wide and those of texts 12"),
    ("siglip", {"text": {"vocab_size": 20}}, "spiece.model", "but the tower has 20 tokens"),
    ("siglip", {"drop": ("vision_model.head.probe",)}, "model.safetensors", "probe is missing"),
]


@pytest.fixture
def error_of(tmp_path, capsys) -> Callable[..., str]:
    """The command's error for a folder; checks that it is one line and that nothing was written."""

    def line(folder: pathlib.Path, *more: str) -> str:
        code = import_encoder.main(["--from", str(folder), "--out", str(tmp_path / "out"), *more])
        said = capsys.readouterr().err
        assert code == 2
        assert said.count("error: ") == 1
        assert len(said.strip().splitlines()) == 1
        assert not (tmp_path / "out").exists()
        return said

    return line


@pytest.mark.parametrize(("kind", "change", "file", "message"), CASES)
def test_invalid_configs_are_refused(folder_of, tmp_path, error_of, kind, change, file, message):
    said = error_of(folder_of(tmp_path / "hf", kind, **change))
    assert str(tmp_path / "hf" / file) in said
    assert message in said


def test_missing_and_damaged_files(folder_of, tmp_path, error_of):
    folder = folder_of(tmp_path / "hf", "clip")
    for name, message in (
        ("merges.txt", "no vocabulary: neither vocab.json with merges.txt, nor tokenizer.json"),
        ("preprocessor_config.json", "no such file, so not the folder of a CLIP"),
        ("model.safetensors", "no model.safetensors or pytorch_model.bin"),
    ):
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        assert message in error_of(folder)
        (folder / name).write_bytes(b"[[[[")
        assert str(folder / name) in error_of(folder)
        (folder / name).write_bytes(kept)
    (folder / "model.safetensors").rename(folder / "model.safetensors.index.json")
    assert "in several files" in error_of(folder)


def test_misshapen_and_unexpected_tensors_are_refused(folder_of, tmp_path, error_of):
    folder = folder_of(tmp_path / "hf", "siglip")
    file = folder / "model.safetensors"
    tensors = safetensors.numpy.load_file(file)
    tensors["vision_model.head.probe"] = np.zeros([1, 2, 16], np.float32)
    tensors["vision_model.head.extra"] = np.zeros(3, np.float32)
    safetensors.numpy.save_file(tensors, file)
    said = error_of(folder)
    assert "vision_model.head.probe has the shape [1, 2, 16], not [1, 1, 16]" in said
    assert "vision_model.head.extra is not part of the model" in said


def test_a_vocabulary_of_another_kind(folder_of, tmp_path, error_of):
    folder = folder_of(tmp_path / "hf", "siglip")
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["red summer dress"] * 5),
        model_writer=made,
        vocab_size=12,
        add_dummy_prefix=False,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(made.getvalue())
    assert f"{folder / 'spiece.model'}: adds no space before a text" in error_of(folder)


def test_options_that_these_towers_do_not_have(folder_of, tmp_path, error_of):
    clip, siglip = (folder_of(tmp_path / kind, kind) for kind in ("clip", "siglip"))
    assert "--pooling: not for a model of type 'clip'" in error_of(clip, "--pooling", "mean")
    assert "--mean: for the state file of an image tower" in error_of(clip, "--mean", "1", "1", "1")
    assert "max_tokens is 13; the model in" in error_of(clip, "--max-tokens", "13")
    assert "--max-tokens: not for a model of type" in error_of(siglip, "--max-tokens", "9")
    assert "model_type is 'clip', not 'siglip'" in error_of(clip, "--type", "siglip")


def test_missing_values_have_the_defaults_of_the_library(folder_of, tmp_path, error_of):
    """SigLIP base gives no sizes: 12 layers of 16 tensors, twice; the others differ in shape."""
    folder = folder_of(tmp_path / "hf", "siglip")
    plain = {"model_type": "siglip", "text_config": {}, "vision_config": {}}
    (folder / "config.json").write_text(json.dumps(plain))
    seen = {"size": {"height": 224, "width": 224}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(seen))
    said = error_of(folder)
    held = len(safetensors.numpy.load_file(folder / "model.safetensors")) - 2
    assert "vision_model.encoder.layers.2.self_attn.q_proj.weight is missing" in said
    assert f"and {2 * 10 * 16 + held - 5} more" in said
