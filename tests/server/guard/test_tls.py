"""TLS: both servers present the certificate, and clients present theirs if required."""

from __future__ import annotations

import asyncio
import pathlib
import socket
import ssl

import grpc
import httpx
import pytest
import trustme
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from mmrank.config import ConfigError
from mmrank.server.guard.options import Security
from mmrank.server.guard.tls import Tls

METHOD = "/test.Echo/Say"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def security(tmp_path: pathlib.Path, authority: trustme.CA) -> Security:
    """A server's certificate and the authority that signs the clients' certificates."""
    certificate = authority.issue_cert("localhost")
    for name, blob in (("key.pem", certificate.private_key_pem), ("ca.pem", authority.cert_pem)):
        blob.write_to_path(str(tmp_path / name))
    pem = b"".join(part.bytes() for part in certificate.cert_chain_pems)
    (tmp_path / "cert.pem").write_bytes(pem)
    return Security(
        certificate=str(tmp_path / "cert.pem"),
        private_key=str(tmp_path / "key.pem"),
        client_authority=str(tmp_path / "ca.pem"),
    )


async def rest(tls: Tls, context: ssl.SSLContext) -> str:
    """The reply that a REST client receives."""
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("hello"))])
    config = uvicorn.Config(app, log_config=None, lifespan="off", **tls.uvicorn_options())
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        while not server.started:
            await asyncio.sleep(0.005)
        async with httpx.AsyncClient(verify=context) as client:
            return (await client.get(f"https://localhost:{port}/")).text
    finally:
        server.should_exit = True
        await task


async def call(tls: Tls, credentials: grpc.ChannelCredentials) -> bytes:
    """The reply that a gRPC client receives."""

    async def say(request: bytes, context: object) -> bytes:
        return request + b"!"

    handler = grpc.method_handlers_generic_handler(
        "test.Echo", {"Say": grpc.unary_unary_rpc_method_handler(say)}
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_secure_port("localhost:0", tls.grpc_credentials())
    await server.start()
    try:
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
            answer: bytes = await channel.unary_unary(METHOD)(b"hello", timeout=5)
            return answer
    finally:
        await server.stop(None)


def test_both_servers_require_and_present_a_certificate(
    security: Security, authority: trustme.CA
) -> None:
    tls = Tls.of(security)
    assert tls is not None
    context = ssl.create_default_context()
    authority.configure_trust(context)
    root = authority.cert_pem.bytes()
    with pytest.raises(httpx.TransportError):
        asyncio.run(rest(tls, context))
    with pytest.raises(grpc.aio.AioRpcError):
        asyncio.run(call(tls, grpc.ssl_channel_credentials(root)))
    client = authority.issue_cert("shop@example.org")
    client.configure_cert(context)
    assert asyncio.run(rest(tls, context)) == "hello"
    pem = b"".join(part.bytes() for part in client.cert_chain_pems)
    shown = grpc.ssl_channel_credentials(root, client.private_key_pem.bytes(), pem)
    assert asyncio.run(call(tls, shown)) == b"hello!"


def test_without_an_authority_clients_need_no_certificate(
    security: Security, authority: trustme.CA
) -> None:
    tls = Tls.of(Security(certificate=security.certificate, private_key=security.private_key))
    assert tls is not None
    context = ssl.create_default_context()
    authority.configure_trust(context)
    assert asyncio.run(rest(tls, context)) == "hello"
    root = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    assert asyncio.run(call(tls, root)) == b"hello!"


def test_wrong_options_are_refused(
    security: Security, tmp_path: pathlib.Path, authority: trustme.CA
) -> None:
    assert Tls.of(Security()) is None
    for half in (Security(certificate="c"), Security(private_key="k")):
        with pytest.raises(ConfigError, match="are needed together"):
            Tls.of(half)
    with pytest.raises(ConfigError, match="client_authority needs certificate"):
        Tls.of(Security(client_authority="a"))
    other = tmp_path / "other.pem"
    authority.issue_cert("else").private_key_pem.write_to_path(str(other))
    for key in (str(other), str(tmp_path / "none.pem"), str(security.certificate)):
        with pytest.raises(ConfigError, match="cannot be used for TLS"):
            Tls.of(Security(certificate=security.certificate, private_key=key))
