"""The sections `limits` and `security` of the server's configuration. No secret stands here."""

from __future__ import annotations

import dataclasses
import math

from mmrank.config import ConfigError


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one request may ask for, and how often a client may.

    Attributes:
      request_bytes: Largest body or message.
      request_seconds: How long the headers, and then the body, may take to arrive.
      connections: REST connections, and gRPC calls, side by side.
      candidates: Most candidates of one list.
      request_candidates: Most candidates of a request, all its lists together.
      image_megapixels: Most of one image, all frames of a GIF together, by its header.
      request_megapixels: Most of all images of a request.
      rate: Requests of one API key, or of one address without keys, such as `100/second` or
        `5000/minute`; null for any number. A key may have a rate of its own.
      failures: Wrong API keys of one address that are looked at; more are put off with 429.
    """

    request_bytes: int = 32 * 2**20
    request_seconds: float = 30.0
    connections: int = 1_000
    candidates: int = 2_000
    request_candidates: int = 20_000
    image_megapixels: float = 25.0
    request_megapixels: float = 250.0
    rate: str | None = None
    failures: str = "60/minute"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and not 0 < value < math.inf:
                raise ConfigError(f"limits.{field.name}: {value} has to be above 0 and finite")


@dataclasses.dataclass(frozen=True)
class Security:
    """Who may use the server. Secrets come from the environment (docs/threats.md).

    Attributes:
      keys: File of API keys, made by `python -m mmrank.keys`; without one no key is asked for.
      anonymous: Roles of a request without a key, of rank, metrics and admin. Null is none of them
        where there is a file of keys; all where there is none, but admin of an `exposed` server.
      certificate, private_key: PEM files for TLS, of REST and gRPC alike.
      client_authority: PEM file; clients have to show a certificate signed by it.
      exposed: Serve other machines although there is no file of keys or no TLS, as behind a
        gateway that sees to both.
      audit: File to which a line is added for every request.
      audit_queries: Whether those lines hold the text of queries.
      pseudonymise_users: Whether /rank puts a keyed hash in place of a user id before the model
        sees it, for models trained on such hashes.
    """

    keys: str | None = None
    anonymous: tuple[str, ...] | None = None
    certificate: str | None = None
    private_key: str | None = None
    client_authority: str | None = None
    exposed: bool = False
    audit: str | None = None
    audit_queries: bool = False
    pseudonymise_users: bool = False
