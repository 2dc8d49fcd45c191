"""Pseudonyms of user ids: a keyed hash, so that who lacks the key cannot try ids out."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping

from mmrank.outputs import UserError

VARIABLE = "MMRANK_PSEUDONYM_KEYS"
_FORM = re.compile(r"([A-Za-z0-9]{1,16}):([0-9a-f]{64})")
# Ties the hashes to their use: the same key elsewhere would give other values.
_PURPOSE = b"mmrank user id\0"
# 128 bits: as long as collisions among all users are out of the question.
_DIGITS = 32


class PseudonymError(UserError):
    """Keys that cannot be used; the message names the variable and never the key."""


class Pseudonyms:
    """Pseudonyms under several keys, of which the first makes new ones.

    The others are those of before: with them records can still be found that were written then,
    until they have expired and the key is taken away.

    Args:
      keys: Secrets of 32 bytes by a short name.

    Source: RFC 2104 (HMAC, section 5 on shortened output), with SHA-256.
    """

    def __init__(self, keys: Mapping[str, bytes]):
        if not keys:
            raise PseudonymError(f"{VARIABLE}: no key; `python -m mmrank.keys secret` makes one")
        self._keys = dict(keys)

    @classmethod
    def from_environment(cls) -> Pseudonyms:
        """The pseudonyms of the keys in `MMRANK_PSEUDONYM_KEYS`: NAME:HEX, newest first, by commas.

        Raises:
          PseudonymError: There is no key, or one is not of that form or named twice.
        """
        keys: dict[str, bytes] = {}
        for number, part in enumerate(filter(None, os.environ.get(VARIABLE, "").split(",")), 1):
            match = _FORM.fullmatch(part.strip())
            if match is None:
                raise PseudonymError(
                    f"{VARIABLE}: key {number} is not NAME:HEX with 64 hexadecimal digits; "
                    "`python -m mmrank.keys secret` makes one"
                )
            if match[1] in keys:
                raise PseudonymError(f"{VARIABLE}: the name {match[1]!r} stands twice")
            keys[match[1]] = bytes.fromhex(match[2])
        return cls(keys)

    def of(self, user: str) -> str:
        """The pseudonym of a user id under the newest key, such as `a1.9f86d0…`."""
        return self.every(user)[0]

    def every(self, user: str) -> list[str]:
        """The pseudonyms of a user id under all keys, newest first: what its records may bear."""
        message = _PURPOSE + user.encode("utf-8", "surrogatepass")
        return [
            f"{name}.{hmac.new(key, message, hashlib.sha256).hexdigest()[:_DIGITS]}"
            for name, key in self._keys.items()
        ]


def new_secret(name: str) -> str:
    """A new key as the variable takes it.

    Raises:
      PseudonymError: The name is not 1 to 16 letters and digits.
    """
    secret = f"{name}:{secrets.token_hex(32)}"
    if _FORM.fullmatch(secret) is None:
        raise PseudonymError(f"{name!r}: name a key by 1 to 16 letters and digits")
    return secret
