"""Applies the guard to every gRPC call."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from mmrank.server.errors import INVALID_ARGUMENT, RESOURCE_EXHAUSTED, ServingError
from mmrank.server.guard import audit
from mmrank.server.guard.access import grpc_action
from mmrank.server.guard.guard import Guard, Rejected
from mmrank.server.guard.options import Limits
from mmrank.server.guard.wire import (
    INPUT_VALUES,
    TENSOR_VALUES,
    TooManyParts,
    check_parts,
    check_values,
)
from mmrank.server.off_loop import run_inline_or_in_thread
from mmrank.server.proto_tensors import message_size

RETRY = "retry-after"
MOST_NAMES = 1_000  # inputs, outputs or tasks that one request names
# The repeated parts of each method's message, by paths of field numbers: names, and the examples of
# a list with or without a context.
_EXAMPLES = ((2, 1, 1), (2, 2, 1))
PARTS: Mapping[str, Sequence[tuple[int, ...]]] = {
    "Predict": ((2,), (3,)),
    "Classify": _EXAMPLES,
    "Regress": _EXAMPLES,
    "MultiInference": ((1,), *_EXAMPLES),
    "GetModelMetadata": ((2,),),
}
VALUES = {"Predict": TENSOR_VALUES, **dict.fromkeys(("Classify", "Regress"), INPUT_VALUES)}


class GuardInterceptor(grpc.aio.ServerInterceptor):
    """Asks the guard to admit each call, and records the call afterwards.

    Args:
      guard: See `Guard`.
    """

    def __init__(self, guard: Guard):
        self._guard, self._calls = guard, 0

    async def _parsed(self, method: str, parse: Callable[[bytes], Any], message: bytes) -> Any:
        """Returns the request in a message.

        Raises:
          ServingError: The message is not a request of the method, or has too many parts.
        """
        most, name = self._guard.limits.request_candidates, method.rpartition("/")[2]

        def read() -> Any:
            try:
                for path in PARTS.get(name, ()):
                    check_parts(message, path, most if len(path) > 1 else MOST_NAMES)
                if name in VALUES:
                    check_values(message, VALUES[name])
                return parse(message)
            except (DecodeError, TooManyParts) as error:
                raise Rejected(INVALID_ARGUMENT, f"not a request of this method: {error}") from None

        return await run_inline_or_in_thread(len(message), read)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Returns the handler of a method, wrapped so that the guard admits its calls."""
        method = handler_call_details.method
        handler = await continuation(handler_call_details)
        action = grpc_action(method)
        if handler is None or action.roles is None:
            return handler
        key = _key(handler_call_details.invocation_metadata)
        inner = handler.unary_unary
        if inner is None:  # no method of TensorFlow Serving streams
            return grpc.unary_unary_rpc_method_handler(_unknown)

        async def guarded(message: bytes, context: grpc.aio.ServicerContext) -> Any:
            started, peer = time.monotonic(), _address(context.peer())
            facts, caller = audit.begin(), None

            def record(status: str) -> None:
                seconds = time.monotonic() - started
                self._guard.record(action, caller, peer, method, status, seconds, facts)

            self._calls += 1
            try:
                if self._calls > self._guard.limits.connections:
                    raise Rejected(RESOURCE_EXHAUSTED, "too many calls at once; try again later", 1)
                caller = self._guard.admit(key, action, peer)
                with self._guard.memory.request() as hold:
                    hold(len(message))
                    message_size.set(len(message))
                    request = await self._parsed(method, handler.request_deserializer, message)
                    reply = await inner(request, context)
                record(grpc.StatusCode.OK.name)  # first: an unrecorded reply is not sent
                return reply
            except ServingError as error:  # of the guard; the handler reports its own errors
                with contextlib.suppress(Rejected):
                    record(error.code)
                wait = error.retry_seconds if isinstance(error, Rejected) else None
                trailing = () if wait is None else ((RETRY, str(wait)),)
                await context.abort(error.grpc_code, error.message, trailing)
            except BaseException:
                code = context.code()
                with contextlib.suppress(Rejected):
                    record(code.name if isinstance(code, grpc.StatusCode) else "INTERNAL")
                raise
            finally:
                self._calls -= 1

        # No deserializer is given, so that a message is parsed only after the guard admits it.
        return grpc.unary_unary_rpc_method_handler(guarded, None, handler.response_serializer)


def grpc_options(limits: Limits) -> list[tuple[str, int]]:
    """Returns a gRPC server's options that bound messages, calls and connections.

    Larger messages are refused with RESOURCE_EXHAUSTED.
    """
    return [
        ("grpc.max_receive_message_length", limits.request_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", 16 * 1024),
        # Most concurrent calls of one connection; clients hold further ones back.
        ("grpc.max_concurrent_streams", limits.address_connections),
        ("grpc.server_handshake_timeout_ms", int(1000 * limits.request_seconds)),
        # Connections that do not answer pings, or are idle for long, are closed. Clients can then
        # reconnect.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.max_connection_idle_ms", 300_000),
        # Otherwise a second server could listen on the same port and receive some of the calls.
        ("grpc.so_reuseport", 0),
    ]


async def _unknown(request: Any, context: grpc.aio.ServicerContext) -> None:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such method")


def _key(metadata: Any) -> str | None:
    """Returns the API key in a call's metadata: `authorization: Bearer KEY` or `x-api-key: KEY`."""
    sent = {name: value for name, value in metadata or () if isinstance(value, str)}
    if "authorization" in sent:
        scheme, _, key = sent["authorization"].partition(" ")
        return key.strip() if scheme.lower() == "bearer" else sent["authorization"]
    return sent.get("x-api-key")


def _address(peer: str) -> str:
    """Returns the address in a peer such as `ipv4:127.0.0.1:5000`, without the port.

    Ports change with every connection.
    """
    _, _, rest = peer.partition(":")
    return rest.rpartition(":")[0].strip("[]") or "local"
