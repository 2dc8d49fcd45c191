"""Exports from untrusted sources are checked before any part of them is run."""

from __future__ import annotations

import json
import pathlib
import shutil

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from mmrank.serving.card import CARD
from mmrank.serving.checksums import (
    CHECKSUMS,
    KEY,
    SIGNATURE,
    ChecksumError,
    sign_checksums,
    verify_signature,
    write_checksums,
)
from mmrank.serving.graph_check import UntrustedExport
from mmrank.serving.ranker import Ranker
from mmrank.serving.request import RankError

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def handed(small_export: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    return shutil.copytree(small_export, tmp_path / "1")


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes loading by TensorFlow an error."""

    def load(*args: object, **options: object) -> None:
        raise AssertionError("something of it was run")

    monkeypatch.setattr(tf.saved_model, "load", load)


def with_op(folder: pathlib.Path, name: str) -> None:
    """Adds an op to a function of the export and corrects the checksums, as a forger would."""
    file = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    node = model.meta_graphs[0].graph_def.library.function[0].node_def.add()
    node.name, node.op = "added", name
    file.write_bytes(model.SerializeToString())
    (folder / CHECKSUMS).unlink()
    write_checksums(folder)


def test_an_export_as_it_was_written_passes(handed: pathlib.Path) -> None:
    assert Ranker.load(handed, verify=True).signatures


@pytest.mark.parametrize("op", ["ReadFile", "WriteFile", "PyFunc", "EagerPyFunc", "Unheard"])
def test_a_foreign_op_is_refused(handed: pathlib.Path, unloaded: None, op: str) -> None:
    with_op(handed, op)
    with pytest.raises(UntrustedExport, match=f"the op '{op}' in .* load it only if") as raised:
        Ranker.load(handed, verify=True)
    assert "\n" not in str(raised.value)


def test_an_altered_file_is_refused(handed: pathlib.Path, unloaded: None) -> None:
    file = next((handed / "variables").glob("*.data-*"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ChecksumError, match="not the bytes that were exported"):
        Ranker.load(handed, verify=True)


def test_signing_needs_the_key(
    handed: pathlib.Path, monkeypatch: pytest.MonkeyPatch, unloaded: None
) -> None:
    monkeypatch.setenv(KEY, SECRET)
    with pytest.raises(ChecksumError, match="not signed: no assets.extra/checksums.hmac"):
        Ranker.load(handed, verify=True)
    sign_checksums(handed, {KEY: SECRET[::-1]})
    with pytest.raises(ChecksumError, match="not the signature of this key"):
        Ranker.load(handed, verify=True)
    sign_checksums(handed)
    verify_signature(handed)
    # The old signature does not match altered files with new checksums.
    (handed / "assets.extra" / "model_card.md").write_text("better")
    (handed / CHECKSUMS).unlink()
    write_checksums(handed)
    with pytest.raises(ChecksumError, match="not the signature of this key"):
        Ranker.load(handed, verify=True)


def test_an_export_is_signed_if_there_is_a_key(tmp_path: pathlib.Path) -> None:
    (tmp_path / "assets.extra").mkdir()
    write_checksums(tmp_path)
    sign_checksums(tmp_path, {})
    assert not (tmp_path / SIGNATURE).exists()
    verify_signature(tmp_path, {})
    with pytest.raises(ChecksumError, match="MMRANK_EXPORT_KEY has 5 characters; give at least 32"):
        sign_checksums(tmp_path, {KEY: "short"})
    sign_checksums(tmp_path, {KEY: SECRET})
    verify_signature(tmp_path, {KEY: SECRET})
    verify_signature(tmp_path, {})


@pytest.mark.parametrize(
    "card",
    [
        "[" * 100_000,
        "{",
        "[]",
        '{"format": 1}',
        '{"format": 1, "features": [{"name": 5}], "history": null}',
        '{"format": 1, "features": [], "history": {"name": ["a"]}}',
        '{"format": 1, "features": [], "history": null, "tasks": [5]}',
        '{"format": [1]}',
    ],
)
def test_a_damaged_card_is_reported(handed: pathlib.Path, unloaded: None, card: str) -> None:
    (handed / CARD).write_text(card)
    with pytest.raises(RankError, match=r"damaged: |in format") as raised:
        Ranker.load(handed)
    assert "export a run with" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


def test_a_card_with_a_feature_of_a_wrong_type_is_reported(
    handed: pathlib.Path, unloaded: None
) -> None:
    card = json.loads((handed / CARD).read_text())
    card["features"][0]["media"] = "yes"
    (handed / CARD).write_text(json.dumps(card))
    with pytest.raises(RankError, match="damaged: media is 'yes'"):
        Ranker.load(handed)


@pytest.mark.parametrize("name", ["saved_model.pb", "variables"])
def test_a_damaged_graph_is_reported(handed: pathlib.Path, name: str) -> None:
    file = handed / name
    if file.is_dir():
        file = next(file.glob("*.index"))
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(RankError, match="damaged: ") as raised:
        Ranker.load(handed)
    assert "\n" not in str(raised.value)
