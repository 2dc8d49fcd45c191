"""Shards by ranges of hashes; files that are written completely or not at all."""

from __future__ import annotations

import hashlib
import pathlib

import numpy as np
import pytest

from mmrank.data.shards import key_hashes, shard_file, shard_numbers, whole_shard


def test_hashes_and_shards() -> None:
    keys = [f"key {i}" for i in range(200)]
    hashes = key_hashes(keys)
    by_hand = [int(hashlib.sha256(k.encode()).hexdigest()[:16], 16) for k in keys]
    assert hashes.tolist() == by_hand
    for shards in (1, 3, 7, 4096):
        numbers = shard_numbers(hashes, shards)
        assert numbers.tolist() == [(h >> 32) * shards // 2**32 for h in by_hand]
        assert (np.diff(numbers[np.argsort(hashes)]) >= 0).all()  # contiguous ranges
    assert key_hashes([]).shape == (0,)
    assert shard_file("train", 2, 8, "tfrecord") == "train-00002-of-00008.tfrecord"


def test_a_file_is_complete_or_missing(tmp_path: pathlib.Path) -> None:
    shard = whole_shard(tmp_path, "a.txt", lambda file: file.write_text("abc") and 7)
    digest = hashlib.sha256(b"abc").hexdigest()
    assert (shard.file, shard.records, shard.bytes, shard.sha256) == ("a.txt", 7, 3, digest)

    def fail(file: pathlib.Path) -> int:
        file.write_text("half")
        raise RuntimeError("full disk")

    with pytest.raises(RuntimeError, match="full disk"):
        whole_shard(tmp_path, "a.txt", fail)
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "abc"
