"""The sections `limits` and `security` of the server's configuration. No secret stands here."""

from __future__ import annotations

import dataclasses
import math

from mmrank.config import ConfigError

REFUSE, REPORT = "refuse", "report"


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one request may ask for, and how often a client may.

    Attributes:
      request_bytes: Largest body or message, also of what a gzip'd body holds.
      request_megabytes: Memory (MiB) that the values of one request may take, by what it says of
        itself: a text that stands for many counts as often.
      request_values: Most values in the JSON of one request. All others wait while Python reads
        them: a million takes it about a tenth of a second.
      memory_megabytes: Memory (MiB) that all requests at work may take together, counted so.
      request_seconds: How long the headers, and then the body, may take to arrive, and how long
        a client may leave a reply lying.
      connections: REST connections, and gRPC calls, side by side.
      address_connections: REST connections of one address; those of `listen.proxies` are exempt.
      candidates: Most candidates of one list.
      request_candidates: Most candidates of a request, all its lists together.
      request_files: Most photos, clips and recordings of a request.
      image_megapixels: Most of one image, all frames of a GIF together, by its header.
      request_megapixels: Most of all images of a request. A JPEG counts once for ten scans.
      clip_frames, clip_megapixels: Most frames of one clip, and pixels of all its frames.
      sound_channels, sound_megasamples: Most channels of one recording, and samples of all of them.
      rate: Requests of one API key, or of one address without a key, such as `100/second` or
        `5000/minute`; null for any number. A key may have a rate of its own.
      failures: Wrong or missing API keys of one address that are looked at; more are put off with
        429.
    """

    request_bytes: int = 32 * 2**20
    request_megabytes: float = 512.0
    request_values: int = 1_000_000
    memory_megabytes: float = 2_048.0
    request_seconds: float = 30.0
    connections: int = 1_000
    address_connections: int = 250
    candidates: int = 2_000
    request_candidates: int = 20_000
    request_files: int = 2_000
    image_megapixels: float = 25.0
    request_megapixels: float = 250.0
    clip_frames: int = 3_600
    clip_megapixels: float = 2_500.0
    sound_channels: int = 8
    sound_megasamples: float = 60.0
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
      audit: File to which a line is added for every request, before it is answered.
      audit_failure: What becomes of requests while no line can be added, as on a full disk: refuse
        answers none (503); report answers them, logs an error and counts what was lost.
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
    audit_failure: str = "refuse"
    audit_queries: bool = False
    pseudonymise_users: bool = False

    def __post_init__(self) -> None:
        if self.audit_failure not in (REFUSE, REPORT):
            raise ConfigError(
                f"security.audit_failure {self.audit_failure!r}: choose of {REFUSE}, {REPORT}"
            )
