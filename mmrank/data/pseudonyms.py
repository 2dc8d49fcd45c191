"""Pseudonyms of user ids: a keyed hash, so that nobody without the key can test guessed ids."""

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
# Binds the hashes to this use: the same key used for something else gives other values.
_PURPOSE = b"mmrank user id\0"
# 128 bits, which rules out collisions among all users.
_DIGITS = 32


class PseudonymError(UserError):
    """Keys that cannot be used; the message names the variable and never the key."""


class Pseudonyms:
    """Pseudonyms under several keys; the first key makes new pseudonyms.

    The other keys are earlier ones. They are needed to find records written under them, until these
    records have expired and the key is removed.

    Args:
      keys: Secrets of 32 bytes, each by a short name, newest first.

    Source: RFC 2104 (HMAC, section 5 on shortened output), with SHA-256.

    Example:
      >>> pseudonyms = Pseudonyms({"b2": bytes(32), "a1": bytes(range(32))})
      >>> pseudonyms.of("user 7").startswith("b2."), len(pseudonyms.of("user 7"))
      (True, 35)
      >>> [name.partition(".")[0] for name in pseudonyms.every("user 7")]
      ['b2', 'a1']
    """

    def __init__(self, keys: Mapping[str, bytes]):
        if not keys:
            raise PseudonymError(f"{VARIABLE}: no key; `python -m mmrank.keys secret` makes one")
        self._keys = dict(keys)

    @classmethod
    def from_environment(cls) -> Pseudonyms:
        """The pseudonyms under the keys in `MMRANK_PSEUDONYM_KEYS`.

        The variable holds keys of the form NAME:HEX, newest first, separated by commas.

        Raises:
          PseudonymError: The variable has no key, or a key has another form or a repeated name.
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
                raise PseudonymError(f"{VARIABLE}: the name {match[1]!r} appears twice")
            keys[match[1]] = bytes.fromhex(match[2])
        return cls(keys)

    def of(self, user: str) -> str:
        """The pseudonym of a user id under the newest key, such as `a1.9f86d0…`."""
        return self.every(user)[0]

    def every(self, user: str) -> list[str]:
        """The pseudonyms that records of a user id may have: under all keys, newest first."""
        message = _PURPOSE + user.encode("utf-8", "surrogatepass")
        return [
            f"{name}.{hmac.new(key, message, hashlib.sha256).hexdigest()[:_DIGITS]}"
            for name, key in self._keys.items()
        ]


def new_secret(name: str) -> str:
    """A new random key in the form NAME:HEX of the variable.

    Raises:
      PseudonymError: The name is not 1 to 16 letters and digits.
    """
    secret = f"{name}:{secrets.token_hex(32)}"
    if _FORM.fullmatch(secret) is None:
        raise PseudonymError(f"{name!r}: the name of a key must have 1 to 16 letters and digits")
    return secret
