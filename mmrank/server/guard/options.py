"""The sections `limits` and `security` of the server's configuration. They hold no secrets."""

from __future__ import annotations

import dataclasses
import math

from mmrank.config import ConfigError

REFUSE, REPORT = "refuse", "report"


@dataclasses.dataclass(frozen=True)
class Limits:
    """The largest requests that are accepted, and how often a client may send requests.

    Attributes:
      request_bytes: Most bytes of a body or message, and of the content of a gzip'd body.
      request_megabytes: Memory (MiB) that the values of one request may take, estimated before they
        are read. A text that is repeated to fill a shape counts each time.
      request_values: Most values and keys in the JSON of one request. Other requests wait while
        Python reads them, up to a tenth of a second for a million values.
      memory_megabytes: Memory (MiB) that all requests in progress may take together, estimated in
        the same way.
      request_seconds: Time limit (seconds) for the headers to arrive, then for the body to arrive,
        and for a client to read a reply.
      connections: Most REST connections, and most gRPC calls, at the same time.
      address_connections: Most REST connections of one address, and most concurrent calls of one
        gRPC connection. For REST, the addresses in `listen.proxies` are exempt.
      candidates: Most candidates of one list.
      request_candidates: Most candidates in all lists of a request together.
      request_files: Most photos, clips and recordings of a request.
      image_megapixels: Most megapixels of one image by its header, in all frames of a GIF together.
      request_megapixels: Most megapixels of all images of a request. A JPEG's pixels count once for
        every ten scans.
      clip_frames, clip_megapixels: Most frames of one clip, and most megapixels of all its frames.
      sound_channels, sound_megasamples: Most channels of one recording, and most millions of
        samples in all its channels.
      rate: Most requests of one API key, or of one address without a key, such as `100/second` or
        `5000/minute`; null for no limit. A key may have its own rate.
      failures: Most requests of one address with a wrong or missing API key, such as `60/minute`;
        further ones are refused with 429.

    Example:
      >>> Limits(candidates=500, rate="100/second").request_candidates
      20000
    """

    request_bytes: int = 16 * 2**20
    request_megabytes: float = 512.0
    request_values: int = 400_000
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
                raise ConfigError(f"limits.{field.name}: {value} must be above 0 and finite")


@dataclasses.dataclass(frozen=True)
class Security:
    """Who may use the server. Secrets come from the environment (docs/threats.md).

    Attributes:
      keys: File of API keys, made by `python -m mmrank.keys`; without a file, no key is required.
      anonymous: Roles of a request without a key: any of rank, metrics and admin. By default (null)
        it has no role if there is a file of keys, and all roles if there is none, except the role
        admin on an `exposed` server.
      certificate, private_key: PEM files for TLS, for both REST and gRPC.
      client_authority: PEM file; clients have to present a certificate signed by this authority.
      exposed: Whether to serve other machines without a file of keys or without TLS, as behind a
        gateway that does both.
      audit: File to which a line is added for every request, before the request is answered.
      audit_failure: What happens to requests while no line can be added, as on a full disk:
        `refuse` refuses them all (503); `report` answers them, logs an error and counts the lines
        that were lost.
      audit_queries: Whether those lines hold the text of queries.
      pseudonymise_users: Whether /rank replaces a user id by a keyed hash before the model sees it,
        for models that were trained on such hashes.

    Example:
      >>> Security(keys="keys.json", audit="audit.jsonl").audit_failure
      'refuse'
      >>> Security(audit_failure="ignore")
      Traceback (most recent call last):
      mmrank.config.ConfigError: security.audit_failure 'ignore': choose refuse or report
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
                f"security.audit_failure {self.audit_failure!r}: choose {REFUSE} or {REPORT}"
            )
