"""How POST /rank is processed: the section `rank` of the server's config."""

from __future__ import annotations

import dataclasses
import math

from mmrank.config import ConfigError


@dataclasses.dataclass(frozen=True)
class RankOptions:
    """How requests to /rank are processed.

    Attributes:
      threads: Number of requests that run concurrently. Most of the time they wait for TensorFlow
        and for Redis.
      waiting: Number of requests that may wait for a thread; further ones are refused with 429.
      explained: Most candidates of a request that asks for each modality's share. Such a request
        takes as long as one request for each modality.
      decoders: Number of processes that decode the photos, clips and recordings of requests.
      decoding_waiting: Number of requests that may wait for a decoding process; further ones are
        refused with 429.
      decoding_seconds: Time limit (seconds) for decoding the files of one request.
      decoder_megabytes: Memory (MiB) that decoding one file may take.
    """

    threads: int = 8
    waiting: int = 64
    explained: int = 1_000
    decoders: int = 2
    decoding_waiting: int = 32
    decoding_seconds: float = 10.0
    decoder_megabytes: float = 1_024.0

    def __post_init__(self) -> None:
        least = {"threads": 1, "waiting": 0, "explained": 0, "decoders": 1, "decoding_waiting": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ConfigError(f"rank: {name} is {getattr(self, name)}; give at least {value}")
        for name in ("decoding_seconds", "decoder_megabytes"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"rank: {name} is {getattr(self, name)}; give a number above 0")
