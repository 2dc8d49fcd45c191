"""The whole server, composed from its configuration; its start and its shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from mmrank.outputs import UserError
from mmrank.server.config import ServerConfig
from mmrank.server.feedback import FeedbackEndpoint
from mmrank.server.grpc_service import build_grpc_server
from mmrank.server.guard.asgi import GuardMiddleware
from mmrank.server.guard.budget import MEGABYTE
from mmrank.server.guard.connections import connection_options, set_socket_options
from mmrank.server.guard.grpc_guard import GuardInterceptor, grpc_options
from mmrank.server.guard.guard import Guard, check_exposure
from mmrank.server.guard.tls import Tls
from mmrank.server.machine import allocator_hint, freeze_objects, raise_file_limit
from mmrank.server.models import ModelService
from mmrank.server.monitor.logs import RequestLog, RequestLogInterceptor, write_json
from mmrank.server.monitor.metrics import Metrics
from mmrank.server.monitor.native import NativeLines
from mmrank.server.monitor.observer import Observer
from mmrank.server.monitor.page import metrics_route
from mmrank.server.rank import RankEndpoint
from mmrank.server.rest import build_app
from mmrank.server.shown_pages import ShownPages

logger = logging.getLogger(__name__)


class Server:
    """REST and gRPC servers for one model. After `start`, call `stop` in the end.

    Args:
      config: See `ServerConfig`.

    Attributes:
      service: The model.
      rest_port, grpc_port: The ports it listens on, once started.
    """

    def __init__(self, config: ServerConfig):
        self._config, self._listen = config, config.listen
        self.rest_port = self.grpc_port = 0
        check_exposure(config.listen.host, config.security)
        self._tls = Tls.of(config.security)
        self._guard = Guard(config.limits, config.security)
        metrics = Metrics()
        self.service = ModelService(
            config.model, config.batching, config.listen.timeout_seconds, metrics
        )
        observer = Observer(metrics, config.monitoring.drift)
        self.service.observe = observer.reply
        self.service.checks.append(self._guard.check)
        self.service.request_bytes = int(config.limits.request_megabytes * MEGABYTE)
        self._pages = ShownPages(config.rerank, config.interleave, config.log, metrics)
        self._rank = RankEndpoint(
            self.service,
            config.embeddings,
            config.rank,
            config.limits,
            self._pages,
            self._guard.user,
            observer.features,
        )
        # Registered after the callback of /rank, which may refuse a version.
        self.service.on_load(observer.on_load)
        self.service.on_unload(observer.on_unload)
        # Every optional part of the server is added here.
        every = config.monitoring.log_requests
        feedback = FeedbackEndpoint(self.service, self._pages.recorder, config.limits)
        routes: list[BaseRoute] = [metrics_route(metrics), self._rank.route(), feedback.route()]
        middleware: list[Middleware] = [
            Middleware(RequestLog, every=every),
            Middleware(GuardMiddleware, guard=self._guard),
        ]
        interceptors: list[Any] = [RequestLogInterceptor(every), GuardInterceptor(self._guard)]
        self.app = build_app(self.service, routes=routes, middleware=middleware)
        self._grpc = build_grpc_server(
            self.service, interceptors=interceptors, options=grpc_options(config.limits)
        )
        self._rest: _Rest | None = None
        self._rest_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Loads the model, then listens.

        Raises:
          UserError: No version can be served, or a port is already in use.
        """
        await self.service.start()
        try:
            await self._open()
        except BaseException:
            await self.stop()
            raise
        logger.info(
            "serving %s: REST on %s://%s:%d/v1/models/%s, gRPC on %s:%d",
            self.service.name,
            "http" if self._tls is None else "https",
            self._listen.host,
            self.rest_port,
            self.service.name,
            self._listen.host,
            self.grpc_port,
        )
        hint = allocator_hint()
        if hint is not None:
            logger.info("%s", hint)

    async def stop(self) -> None:
        """Refuses new requests, waits for running ones, then unloads the model."""
        if self._rest is not None:
            self.service.stop_accepting()
            await asyncio.sleep(self._listen.drain_seconds)
            self._rest.should_exit = True
        await self._grpc.stop(self._listen.grace_seconds)
        if self._rest_task is not None:
            await self._rest_task
        await self.service.stop()
        await asyncio.to_thread(self._rank.close)
        await asyncio.to_thread(self._pages.recorder.close)
        self._guard.close()

    async def _open(self) -> None:
        host = self._listen.host
        raise_file_limit(2 * self._config.limits.connections)
        try:
            listening = socket.create_server((host, self._listen.rest_port), backlog=512)
        except OSError as error:
            raise UserError(
                f"listen.rest_port {self._listen.rest_port} on {host}: {error.strerror}"
            ) from error
        set_socket_options(listening)
        self.rest_port = listening.getsockname()[1]
        self.grpc_port = self._open_grpc(f"{host}:{self._listen.grpc_port}")
        await self._grpc.start()
        self._rest = _Rest(
            uvicorn.Config(
                self.app,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                # Only these proxies are trusted to report the client's address.
                proxy_headers=bool(self._listen.proxies),
                forwarded_allow_ips=list(self._listen.proxies),
                timeout_graceful_shutdown=max(1, round(self._listen.grace_seconds)),
                **connection_options(self._config.limits, self._listen.proxies),
                **({} if self._tls is None else self._tls.uvicorn_options()),
            )
        )
        self._rest_task = asyncio.get_running_loop().create_task(
            self._rest.serve(sockets=[listening])
        )
        while not self._rest.started:
            if self._rest_task.done():
                self._rest_task.result()
                raise UserError("the REST server ended right after its start")
            await asyncio.sleep(0.005)

    def _open_grpc(self, address: str) -> int:
        try:
            if self._tls is None:
                port = self._grpc.add_insecure_port(address)
            else:
                port = self._grpc.add_secure_port(address, self._tls.grpc_credentials())
        except RuntimeError as error:
            raise UserError(f"listen.grpc_port: {address}: {error}") from error
        return int(port)


class _Rest(uvicorn.Server):
    """Uvicorn without its own signal handlers: the whole server has one shutdown."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(config: ServerConfig, native: NativeLines | None = None) -> None:
    """Serves until SIGTERM or SIGINT, then shuts down after running requests have finished.

    Args:
      config: See `ServerConfig`.
      native: Lines that libraries print, to be logged; None to leave the error stream as it is.

    Raises:
      UserError: No version can be served, or a port is already in use.
    """
    write_json(config.monitoring.log_level, None if native is None else native.stream)
    if native is not None:
        native.log()
    server = Server(config)
    freeze_objects()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await server.start()
    await ended.wait()
    logger.info("shutting down")
    await server.stop()
