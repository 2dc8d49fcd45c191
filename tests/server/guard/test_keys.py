"""API keys: what is stored, which keys are valid, and that a running server reloads the file."""

from __future__ import annotations

import hashlib
import json
import pathlib

import pytest

from mmrank.server.guard import keys
from mmrank.server.guard.keys import KeyFileError, KeyRing, make_key, read_keys, revoke_key


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "keys.json"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a key ring check its file before every answer."""
    monkeypatch.setattr(keys, "CHECK_SECONDS", 0.0)


def test_a_key_is_found_and_only_its_hash_is_stored(file: pathlib.Path) -> None:
    sent = make_key(file, "shop", ["metrics", "rank"], rate="9/second")
    prefix, id, secret = sent.split("_", 2)
    assert prefix == "mmr"
    assert len(secret) >= 43  # 32 random bytes in base64
    assert secret not in file.read_text(encoding="utf-8")
    assert file.stat().st_mode & 0o777 == 0o600
    (kept,) = read_keys(file)
    assert kept.hash == hashlib.sha256(secret.encode()).hexdigest()
    assert (kept.id, kept.name, kept.roles, kept.rate) == (
        id,
        "shop",
        ("rank", "metrics"),
        "9/second",
    )
    assert KeyRing(file).find(sent) == kept
    assert make_key(file, "shop", ["rank"]) != sent
    assert len(read_keys(file)) == 2


def test_wrong_keys_are_not_found(file: pathlib.Path) -> None:
    first, second = (make_key(file, n, ["rank"]) for n in "ab")
    ring = KeyRing(file)
    _, id, secret = first.split("_", 2)
    other = second.split("_", 2)[2]
    wrong = ["", "x", "mmr__", f"mmr_{id}_", f"mmr_{id}_{other}", f"mmr_{id}_{secret}x"]
    wrong += [f"MMR_{id}_{secret}", secret, f"mmr_{id}_\ud800", f"mmr_0000_{secret}", first[:-1]]
    assert [ring.find(text) for text in wrong] == [None] * len(wrong)
    assert ring.find(first) is not None


def test_a_running_server_reloads_the_file(file: pathlib.Path, impatient: None) -> None:
    first = make_key(file, "a", ["rank"])
    ring = KeyRing(file)
    second = make_key(file, "b", ["rank"])
    assert ring.find(second) is not None
    revoke_key(file, first.split("_")[1])
    assert ring.find(first) is None
    assert ring.find(second) is not None


def test_a_broken_file_leaves_the_keys_unchanged(
    file: pathlib.Path, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    sent = make_key(file, "a", ["rank"])
    ring = KeyRing(file)
    file.write_text("{", encoding="utf-8")
    assert ring.find(sent) is not None
    assert "the API keys stay as they were" in caplog.text
    file.unlink()
    assert ring.find(sent) is not None


def test_expired_keys_are_not_found(file: pathlib.Path) -> None:
    ended, lasting = make_key(file, "a", ["rank"], days=-1), make_key(file, "b", ["rank"], days=1)
    ring = KeyRing(file)
    assert ring.find(ended) is None
    assert ring.find(lasting) is not None


def test_wrong_key_files_are_refused(file: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(KeyFileError, match="no such file; make the first key"):
        KeyRing(file)
    with pytest.raises(KeyFileError, match="unknown role 'ranks'; did you mean 'rank'"):
        make_key(file, "a", ["ranks"])
    assert not file.exists()
    make_key(file, "a", ["rank"])
    with pytest.raises(KeyFileError, match="unknown key 'zz'"):
        revoke_key(file, "zz")
    file.chmod(0o620)
    with pytest.raises(KeyFileError, match="other users may write to it"):
        read_keys(file)
    file.chmod(0o600)
    plain = json.loads(file.read_text(encoding="utf-8"))
    for broken in ("", "[]", '{"format": 2}', json.dumps(plain | {"keys": [{"id": 3}]})):
        file.write_text(broken, encoding="utf-8")
        with pytest.raises(KeyFileError, match="not a file of API keys"):
            read_keys(file)
    with pytest.raises(KeyFileError, match="the folder .*none does not exist"):
        make_key(tmp_path / "none" / "keys.json", "a", ["rank"])
