"""API keys: random, shown once, stored as hashes in a file that a running server reads again."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import hashlib
import hmac
import json
import logging
import os
import pathlib
import secrets
import stat
import threading
import time
from collections.abc import Iterator, Sequence

from mmrank.config import ConfigError, from_mapping
from mmrank.outputs import UserError, whole_file
from mmrank.schema import did_you_mean

ROLES = ("rank", "metrics", "admin")
PREFIX = "mmr"
FORMAT = 1
CHECK_SECONDS = 1.0
logger = logging.getLogger(__name__)


class KeyFileError(UserError):
    """A file of API keys cannot be used.

    Example:
      >>> import pathlib
      >>> read_keys(pathlib.Path("keys.json"))
      Traceback (most recent call last):
      mmrank.server.guard.keys.KeyFileError: keys.json: no such file; make the first key with ...
    """


@dataclasses.dataclass(frozen=True)
class ApiKey:
    """What is stored of one API key.

    Attributes:
      id: The key's public part, which logs may hold.
      name: The name that its owner gave it.
      roles: Some of `ROLES`.
      hash: SHA-256 of the key's secret part. A slow hash, for which every request would wait, is
        not needed, since a secret of 256 random bits cannot be guessed.
      created: Date and time, ISO 8601 in UTC.
      expires, revoked: Date and time in the same format, or None.
      rate: The key's own rate, such as `100/second`, or None for the server's rate.

    Example:
      >>> created = "2020-01-01T00:00:00+00:00"
      >>> key = ApiKey("1a2b3c4d", "shop", ("rank",), hash="", created=created)
      >>> key.usable
      True
      >>> expired = ApiKey("1a2b3c4d", "shop", ("rank",), hash="", created=created, expires=created)
      >>> expired.usable
      False
    """

    id: str
    name: str
    roles: tuple[str, ...]
    hash: str
    created: str
    expires: str | None = None
    revoked: str | None = None
    rate: str | None = None

    @property
    def usable(self) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or self.expires > now())


class KeyRing:
    """The API keys in a file, read again when it changes. May be used by several threads.

    Raises:
      KeyFileError: The file is missing, does not hold keys, or other users may write to it.

    Example:
      >>> import pathlib
      >>> file = pathlib.Path("keys.json")
      >>> key = make_key(file, "shop", ["rank"])
      >>> ring = KeyRing(file)
      >>> ring.find(key).name, ring.find(key + "x") is None
      ('shop', True)
    """

    def __init__(self, file: pathlib.Path):
        self.file = file
        self._keys = {key.id: key for key in read_keys(file)}
        self._seen = _mark(file)
        self._next = time.monotonic() + CHECK_SECONDS
        self._lock = threading.Lock()

    def find(self, text: str) -> ApiKey | None:
        """Returns the key that a client sent, whatever its roles.

        Returns None if the key is wrong, expired or revoked.
        """
        self._follow()
        parts = text.split("_", 2)
        if len(parts) != 3 or parts[0] != PREFIX:
            return None
        key = self._keys.get(parts[1])
        if key is None or not hmac.compare_digest(_hash(parts[2]), key.hash):
            return None
        return key if key.usable else None

    def _follow(self) -> None:
        """Reads the file if it changed. If it cannot be read, the keys stay as they were."""
        with self._lock:
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + CHECK_SECONDS
            try:
                mark = _mark(self.file)
                if mark != self._seen:
                    self._keys = {key.id: key for key in read_keys(self.file)}
                    self._seen = mark
                    logger.info("%s: %d API keys reloaded", self.file, len(self._keys))
            except (KeyFileError, OSError) as error:
                logger.error("the API keys stay as they were: %s", error)


def make_key(
    file: pathlib.Path,
    name: str,
    roles: Sequence[str],
    days: float | None = None,
    rate: str | None = None,
) -> str:
    """Makes a new key, adds its hash to the file, and returns the key in the form clients send.

    The key itself is not stored anywhere.

    Raises:
      KeyFileError: The file does not hold keys, or a role is unknown.

    Example:
      >>> import pathlib
      >>> file = pathlib.Path("keys.json")
      >>> key = make_key(file, "shop", ["rank"], days=90)
      >>> [stored] = read_keys(file)
      >>> stored.name, stored.roles, stored.usable, key in file.read_text()
      ('shop', ('rank',), True, False)
    """
    for role in roles:
        if role not in ROLES:
            raise KeyFileError(f"unknown role {role!r}{did_you_mean(role, ROLES)}")
    secret = secrets.token_urlsafe(32)
    key = ApiKey(
        secrets.token_hex(4),
        name,
        tuple(r for r in ROLES if r in roles),
        _hash(secret),
        now(),
        None if days is None else now(days),
        None,
        rate,
    )
    with _changing(file) as keys:
        keys.append(key)
    return f"{PREFIX}_{key.id}_{secret}"


def revoke_key(file: pathlib.Path, id: str) -> ApiKey:
    """Revokes a key from now on, and returns it.

    Raises:
      KeyFileError: The key does not exist.

    Example:
      >>> import pathlib
      >>> file = pathlib.Path("keys.json")
      >>> _ = make_key(file, "shop", ["rank"])
      >>> revoke_key(file, read_keys(file)[0].id).usable
      False
    """
    with _changing(file) as keys:
        for at, key in enumerate(keys):
            if key.id == id:
                keys[at] = dataclasses.replace(key, revoked=key.revoked or now())
                return keys[at]
        raise KeyFileError(f"{file}: unknown key {id!r}{did_you_mean(id, [k.id for k in keys])}")


def read_keys(file: pathlib.Path) -> list[ApiKey]:
    """Returns the keys in a file.

    Raises:
      KeyFileError: The file is missing, does not hold keys, or other users may write to it.

    Example:
      >>> import pathlib
      >>> file = pathlib.Path("keys.json")
      >>> _ = make_key(file, "shop", ["rank"], rate="100/second")
      >>> [(key.name, key.rate) for key in read_keys(file)]
      [('shop', '100/second')]
    """
    try:
        if file.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise KeyFileError(f"{file}: other users may write to it; run `chmod 600` on it")
        plain = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(plain, dict) or plain.get("format") != FORMAT:
            raise KeyFileError(f"{file}: not a file of API keys; `python -m mmrank.keys` makes one")
        return [
            from_mapping(ApiKey, key, f"{file}: key {i}") for i, key in enumerate(plain["keys"])
        ]
    except FileNotFoundError:
        raise KeyFileError(
            f"{file}: no such file; make the first key with `python -m mmrank.keys make`"
        ) from None
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        if isinstance(error, KeyFileError):
            raise
        raise KeyFileError(f"{file}: not a file of API keys: {error}") from error


def now(days: float = 0.0) -> str:
    """Returns the time `days` days from now, ISO 8601 in UTC, in whole seconds."""
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return when.isoformat(timespec="seconds")


@contextlib.contextmanager
def _changing(file: pathlib.Path) -> Iterator[list[ApiKey]]:
    """Yields the file's keys, to be changed in place, and writes them back if there is no error.

    The file is replaced as a whole.
    """
    if not file.parent.is_dir():
        raise KeyFileError(f"{file}: the folder {file.parent} does not exist; create it first")
    lock = os.open(file.with_name(f".{file.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # otherwise two commands at once could lose a key
        keys = read_keys(file) if file.exists() else []
        yield keys
        plain = {"format": FORMAT, "keys": [dataclasses.asdict(key) for key in keys]}
        with whole_file(file) as partial:
            written = os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            with os.fdopen(written, "w", encoding="utf-8") as stream:
                stream.write(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
    finally:
        os.close(lock)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _mark(file: pathlib.Path) -> tuple[int, int, int]:
    about = file.stat()
    return about.st_ino, about.st_mtime_ns, about.st_size
