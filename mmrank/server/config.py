"""The server's configuration: frozen dataclasses, checked as strictly as a training run's.

This module does not import TensorFlow.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Iterable

from mmrank.config import ConfigError, apply_override, from_mapping, read_plain
from mmrank.server.batching_parameters import Batching
from mmrank.server.guard.options import Limits, Security
from mmrank.server.monitor.config import Monitoring
from mmrank.server.page_log_options import LogOptions
from mmrank.server.rank_options import RankOptions
from mmrank.server.rerank_options import InterleaveOptions, RerankOptions
from mmrank.server.versions import Model
from mmrank.serving.embeddings.options import EmbeddingOptions


@dataclasses.dataclass(frozen=True)
class Listen:
    """Where the server listens, and how long requests may take.

    Attributes:
      host: Address to listen on; the loopback address by default.
      rest_port, grpc_port: Ports to listen on; 0 for any free port.
      timeout_seconds: Time limit of a request that names no earlier deadline.
      drain_seconds: After SIGTERM, how long the server goes on answering while /readyz already
        reports that it is not ready, so that a load balancer can stop sending requests.
      grace_seconds: How long the requests that still run after that may take to finish.
      proxies: Addresses of proxies whose X-Forwarded-For header is trusted for the client's
        address.
    """

    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int = 8500
    timeout_seconds: float = 30.0
    drain_seconds: float = 0.0
    grace_seconds: float = 30.0
    proxies: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ServerConfig:
    """The configuration of the whole server, with a section for each part.

    Example:
      >>> ServerConfig().listen.grpc_port
      8500
    """

    model: Model = Model()
    listen: Listen = Listen()
    batching: Batching = Batching()
    embeddings: EmbeddingOptions = EmbeddingOptions()
    rank: RankOptions = RankOptions()
    rerank: RerankOptions = RerankOptions()
    interleave: InterleaveOptions = InterleaveOptions()
    log: LogOptions = LogOptions()
    limits: Limits = Limits()
    security: Security = Security()
    monitoring: Monitoring = Monitoring()


def load_server_config(
    path: str | pathlib.Path | None = None,
    overrides: Iterable[str] = (),
    model: str | pathlib.Path | None = None,
) -> ServerConfig:
    """Returns the server's configuration.

    Args:
      path: A YAML file; None for the defaults.
      overrides: Texts such as `listen.rest_port=0`.
      model: Folder of the numbered exports; replaces the file's `model.path`.

    Raises:
      ConfigError: The file is missing or not YAML, a key is unknown, or a value is invalid.

    Example:
      >>> config = load_server_config(model="runs/shop/export", overrides=["listen.rest_port=0"])
      >>> config.model.path, config.listen.rest_port, config.listen.host
      ('runs/shop/export', 0, '127.0.0.1')
    """
    if path is None:
        plain: dict[str, object] = {}
        for override in overrides:
            apply_override(plain, override)
    else:
        plain = read_plain(path, overrides)
    if model is not None:
        apply_override(plain, "model.path=null")
        section = plain["model"]
        assert isinstance(section, dict)
        section["path"] = str(model)
    config = from_mapping(ServerConfig, plain, str(path) if path else "--set")
    listen = config.listen
    for name in ("timeout_seconds", "grace_seconds"):
        if not 0 < getattr(listen, name) < math.inf:
            raise ConfigError(f"listen.{name} is {getattr(listen, name)}; it must be above 0")
    if not 0 <= listen.drain_seconds < math.inf:
        raise ConfigError(f"listen.drain_seconds is {listen.drain_seconds}; give 0 or more")
    if not 0 <= config.model.poll_seconds < math.inf:
        raise ConfigError(f"model.poll_seconds is {config.model.poll_seconds}; give 0 or more")
    for name in ("rest_port", "grpc_port"):
        if not 0 <= getattr(listen, name) < 65536:
            raise ConfigError(
                f"listen.{name} is {getattr(listen, name)}; a port is a number from 0 to 65535"
            )
    return config
