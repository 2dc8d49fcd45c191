"""How the server is set up: frozen dataclasses, read as strictly as a run's. No TensorFlow here."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Iterable

from mmrank.config import ConfigError, apply_override, from_mapping, read_plain
from mmrank.server.batching_parameters import Batching
from mmrank.server.guard.options import Limits, Security
from mmrank.server.monitor.config import Monitoring
from mmrank.server.rank_options import RankOptions
from mmrank.server.versions import Model
from mmrank.serving.embeddings.options import EmbeddingOptions


@dataclasses.dataclass(frozen=True)
class Listen:
    """Where the server listens, and for how long it bears with a request.

    Attributes:
      host: Address; the loopback one unless told otherwise.
      rest_port, grpc_port: 0 for any free one.
      timeout_seconds: What a request may take that names no sooner deadline.
      drain_seconds: On SIGTERM, how long it goes on answering while /readyz already says no, so
        that a load balancer can turn away first.
      grace_seconds: How long the requests that run then may take to end.
      proxies: Addresses of proxies whose X-Forwarded-For is taken for a client's address.
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
    """The whole server, a section for each of its parts."""

    model: Model = Model()
    listen: Listen = Listen()
    batching: Batching = Batching()
    embeddings: EmbeddingOptions = EmbeddingOptions()
    rank: RankOptions = RankOptions()
    limits: Limits = Limits()
    security: Security = Security()
    monitoring: Monitoring = Monitoring()


def load_server_config(
    path: str | pathlib.Path | None = None,
    overrides: Iterable[str] = (),
    model: str | pathlib.Path | None = None,
) -> ServerConfig:
    """The server's configuration.

    Args:
      path: A YAML file; None for the defaults.
      overrides: Texts such as `listen.rest_port=0`.
      model: Folder of the numbered exports, in place of the file's `model.path`.

    Raises:
      ConfigError: The file is missing or not YAML, a key is unknown, or a value does not fit.
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
            raise ConfigError(f"listen.{name} is {getattr(listen, name)}; it has to be above 0")
    if not 0 <= listen.drain_seconds < math.inf:
        raise ConfigError(f"listen.drain_seconds is {listen.drain_seconds}; give 0 or more")
    if not 0 <= config.model.poll_seconds < math.inf:
        raise ConfigError(f"model.poll_seconds is {config.model.poll_seconds}; give 0 or more")
    for name in ("rest_port", "grpc_port"):
        if not 0 <= getattr(listen, name) < 65536:
            raise ConfigError(f"listen.{name} is {getattr(listen, name)}, which is no port")
    return config
