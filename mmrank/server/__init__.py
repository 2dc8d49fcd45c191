"""The local server: TensorFlow Serving's API, a simpler /rank, access control and monitoring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.server.config import ServerConfig, load_server_config
    from mmrank.server.errors import ServingError
    from mmrank.server.rest import build_app
    from mmrank.server.run import Server, serve

__all__ = [
    "Server",
    "ServerConfig",
    "ServingError",
    "build_app",
    "load_server_config",
    "serve",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.server.config": ["ServerConfig", "load_server_config"],
        "mmrank.server.errors": ["ServingError"],
        "mmrank.server.rest": ["build_app"],
        "mmrank.server.run": ["Server", "serve"],
    },
)
