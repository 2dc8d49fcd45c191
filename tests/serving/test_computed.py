"""Vectors computed ahead: read back as written, and refused if they do not match."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from mmrank.data.shards import MANIFEST, whole_shard
from mmrank.data.tables import DataError
from mmrank.serving.computed import Computed, described_shard, widths_of, write_vectors

IDS = ["a", "b", "ü", "d", "e"]
TOKENS = np.random.default_rng(7).normal(size=[5, 3, 4]).astype(np.float32)
PRESENT = np.random.default_rng(8).random([5, 3]) < 0.5
MATCH = np.random.default_rng(9).normal(size=[5, 2]).astype(np.float32)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """Five items in two shards, the first of them in two parts."""
    shards = []
    for name, cuts in (("one", [(0, 1), (1, 3)]), ("two", [(3, 5)])):
        parts = [(IDS[a:b], TOKENS[a:b], PRESENT[a:b], MATCH[a:b]) for a, b in cuts]
        write = lambda file, parts=parts: write_vectors(file, parts)  # noqa: E731
        shards.append(dataclasses.asdict(whole_shard(tmp_path, f"{name}.parquet", write)))
    Computed(tmp_path, "f00d", ("x", "y", "z"), 4, 5, tuple(shards), 2).save()
    return tmp_path


def test_written_vectors_are_read_back(folder: pathlib.Path) -> None:
    vectors = Computed.open(folder)
    assert (vectors.fingerprint, vectors.modalities, vectors.items) == ("f00d", ("x", "y", "z"), 5)
    found = vectors.of(["e", "ü", "a"], "f00d")
    np.testing.assert_array_equal(found["tokens"], TOKENS[[4, 2, 0]])
    np.testing.assert_array_equal(found["present"], PRESENT[[4, 2, 0]])
    np.testing.assert_array_equal(found["match"], MATCH[[4, 2, 0]])
    assert widths_of(folder / "one.parquet", 3) == (4, 2)
    assert dataclasses.asdict(described_shard(folder / "one.parquet")) == vectors.shards[0]


def test_vectors_of_another_model_or_catalogue_are_refused(folder: pathlib.Path) -> None:
    vectors = Computed.open(folder)
    with pytest.raises(DataError, match="vectors of the model f00d, not of beef"):
        vectors.of(IDS, "beef")
    with pytest.raises(DataError, match=r"no vector for 2 item\(s\) of the catalogue, 'k', 'm'"):
        vectors.of(["a", "k", "m"], "f00d")


def test_incomplete_vectors_are_never_read(folder: pathlib.Path) -> None:
    vectors = Computed.open(folder)
    file = folder / "two.parquet"
    data = file.read_bytes()
    for damaged in (data[:-1], data.replace(b"d", b"k", 1)):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"two.parquet: differs from its hash"):
            vectors.of(IDS, "f00d")
    file.unlink()
    with pytest.raises(DataError, match="no such file"):
        vectors.of(IDS, "f00d")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"job": "examples"}, "not a manifest of embeddings"),
        ({"format": 2}, "in format 2"),
    ],
)
def test_other_folders_are_refused(
    folder: pathlib.Path, change: dict[str, object], message: str
) -> None:
    actual = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    (folder / MANIFEST).write_text(json.dumps(actual | change), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        Computed.open(folder)
    (folder / MANIFEST).write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="not JSON"):
        Computed.open(folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(DataError, match="not finished; run `python -m pipelines.embed_catalog`"):
        Computed.open(folder)
    with pytest.raises(DataError, match="no such folder"):
        Computed.open(folder / "none")
