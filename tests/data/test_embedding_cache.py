"""Kept embeddings: found by value, written completely or not at all, shared by parallel runs."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import pytest

from mmrank.data.embedding_cache import (
    ABSENT,
    EmbeddingCache,
    EmbeddingRows,
    cache_folder,
    files_hash,
    key_of,
    value_hash,
)
from mmrank.outputs import OutputError

KEYS = [value_hash(f"value {i}") for i in range(7)]
VALUES = np.random.default_rng(0).normal(size=[7, 3]).astype(np.float32)


def filled(folder: pathlib.Path | None) -> EmbeddingCache:
    cache = EmbeddingCache(folder, 3, {"a": 1}, shard_rows=3)
    cache.add(KEYS, VALUES)
    return cache


@pytest.mark.parametrize("on_disk", [True, False])
def test_rows_are_found_by_value_and_absent_ones_are_zeros(tmp_path, on_disk):
    """7 values in shards of 3: two full shards and a smaller one."""
    cache = filled(tmp_path / "c" if on_disk else None)
    wanted = [6, 0, 3, 3, 2]
    rows = cache.rows([KEYS[i] for i in wanted] + [ABSENT])
    expected = np.vstack([VALUES[wanted], np.zeros([1, 3])])
    assert (rows.shape, rows.dtype, rows.ndim, len(rows)) == ((6, 3), np.float32, 2, 6)
    np.testing.assert_array_equal(np.asarray(rows), expected)
    np.testing.assert_array_equal(rows[[5, 1, 0]], expected[[5, 1, 0]])
    np.testing.assert_array_equal(rows[1:4], expected[1:4])
    np.testing.assert_array_equal(rows[2], expected[2])
    np.testing.assert_array_equal(rows[np.array([[0, 5], [1, 1]])], expected[[[0, 5], [1, 1]]])
    assert rows[np.zeros(0, int)].shape == (0, 3)
    assert len(list(tmp_path.glob("c/*.npy"))) == (3 if on_disk else 0)


def test_no_rows_at_all(tmp_path):
    assert EmbeddingRows([], np.zeros(0, np.int64), 4)[:].shape == (0, 4)
    np.testing.assert_array_equal(EmbeddingCache(tmp_path, 2).rows([ABSENT])[:], np.zeros([1, 2]))


def test_an_interrupted_pass_keeps_its_full_shards(tmp_path):
    """With shards of 3, 6 of 7 values are on disk before the last shard is written."""
    filled(tmp_path)
    again = EmbeddingCache(tmp_path, 3)
    assert [k in again for k in KEYS] == [True] * 6 + [False]
    np.testing.assert_array_equal(again.rows(KEYS[:6])[:], VALUES[:6])


def test_reopened_rows_are_mapped_not_read(tmp_path):
    filled(tmp_path).flush()
    rows = EmbeddingCache(tmp_path, 3).rows(KEYS)
    assert all(isinstance(s.base, np.memmap) or isinstance(s, np.memmap) for s in rows._shards)


@pytest.mark.parametrize("harm", ["cut", "flip", "empty"])
def test_a_damaged_shard_is_dropped_and_the_others_stay(tmp_path, harm, caplog):
    filled(tmp_path).flush()
    file = max(tmp_path.glob("*.npy"), key=lambda f: f.stat().st_size)
    data = bytearray(file.read_bytes())
    if harm == "flip":
        data[-1] ^= 1
    file.write_bytes({"cut": data[:-5], "flip": data, "empty": b""}[harm])
    again = EmbeddingCache(tmp_path, 3)
    assert len(again) == 4  # 7 minus the 3 of that shard
    assert f"{file}: damaged" in caplog.text
    assert not file.exists()
    again.add(KEYS, VALUES)
    again.flush()
    np.testing.assert_array_equal(EmbeddingCache(tmp_path, 3).rows(KEYS)[:], VALUES)


def test_two_runs_at_once_and_one_killed_while_writing(tmp_path):
    one, other = filled(tmp_path), filled(tmp_path)
    (tmp_path / "killed.partial").write_bytes(b"half")
    os.utime(tmp_path / "killed.partial", (0, 0))
    (tmp_path / "at_work.partial").write_bytes(b"half")
    one.flush()
    other.flush()
    assert sorted(p.name for p in tmp_path.glob("*.partial")) == [
        "at_work.partial",
        "killed.partial",
    ]
    again = EmbeddingCache(tmp_path, 3)
    assert [p.name for p in tmp_path.glob("*.partial")] == ["at_work.partial"]
    assert len(again) == 7
    np.testing.assert_array_equal(again.rows(KEYS)[:], VALUES)
    assert len(list(tmp_path.glob("*.npy"))) == 3  # equal shards are the same file


def test_a_folder_that_cannot_be_written_names_the_remedy(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"file.*set data\.cache"):
        EmbeddingCache(tmp_path / "file" / "c", 3)


def test_hashes_distinguish_values_options_and_files(tmp_path):
    assert value_hash("") == value_hash(b"") == ABSENT
    assert value_hash("a") == value_hash(b"a") != value_hash("b")
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1}) != key_of({"a": 1, "b": 3})
    (tmp_path / "x").write_text("1")
    (tmp_path / "y").write_text("2")
    files = [tmp_path / "x", tmp_path / "y"]
    before = files_hash(files, tmp_path)
    assert files_hash(reversed(files), tmp_path) == before
    (tmp_path / "y").write_text("3")
    assert files_hash(files, tmp_path) != before
    assert files_hash([tmp_path / "x"], tmp_path) != before


def test_the_folder_of_each_setting(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("auto") == tmp_path / "mmrank" / "embeddings"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder("auto") == pathlib.Path("/home/somebody/.cache/mmrank/embeddings")
    assert cache_folder("/data/kept") == pathlib.Path("/data/kept")
    assert cache_folder(None) is None
