"""Pseudonyms: compared with HMAC written out by hand, rotation of keys, and refusals."""

from __future__ import annotations

import hashlib

import pytest

from mmrank.data.pseudonyms import VARIABLE, PseudonymError, Pseudonyms, new_secret

OLD, NEW = bytes(range(32)), bytes(range(32, 64))


def by_hand(key: bytes, user: str) -> str:
    """HMAC-SHA256 as RFC 2104 defines it, from SHA-256 alone."""
    inner, outer = (bytes(b ^ pad for b in key.ljust(64, b"\0")) for pad in (0x36, 0x5C))
    message = b"mmrank user id\0" + user.encode()
    return hashlib.sha256(outer + hashlib.sha256(inner + message).digest()).hexdigest()[:32]


def test_a_pseudonym_is_a_keyed_hash() -> None:
    names = Pseudonyms({"b": NEW, "a": OLD})
    assert names.of("Zoë 7") == f"b.{by_hand(NEW, 'Zoë 7')}"
    assert names.every("u1") == [f"b.{by_hand(NEW, 'u1')}", f"a.{by_hand(OLD, 'u1')}"]


def test_rotation_keeps_old_records_findable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"a:{OLD.hex()}")
    before = Pseudonyms.from_environment().of("u1")
    monkeypatch.setenv(VARIABLE, f"b:{NEW.hex()}, a:{OLD.hex()}")
    after = Pseudonyms.from_environment()
    assert after.of("u1") != before
    assert before in after.every("u1")


def test_a_new_secret_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = [new_secret("a1"), new_secret("a2")]
    assert secrets[0][3:] != secrets[1][3:]
    monkeypatch.setenv(VARIABLE, ",".join(secrets))
    assert Pseudonyms.from_environment().of("u").startswith("a1.")
    with pytest.raises(PseudonymError, match="1 to 16 letters"):
        new_secret("a b")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "no key"),
        ("a:abc", "key 1 is not NAME:HEX"),
        (f"a:{OLD.hex()},{NEW.hex()}", "key 2 is not NAME:HEX"),
        (f"a:{OLD.hex()},a:{NEW.hex()}", "the name 'a' appears twice"),
    ],
)
def test_bad_keys_are_reported_without_their_value(
    value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(PseudonymError, match=words) as actual:
        Pseudonyms.from_environment()
    assert OLD.hex() not in str(actual.value)
    assert NEW.hex() not in str(actual.value)
