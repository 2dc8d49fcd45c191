"""TLS for REST and gRPC from the same PEM files."""

from __future__ import annotations

import dataclasses
import pathlib
import ssl
from typing import Any

import grpc

from mmrank.config import ConfigError
from mmrank.server.guard.options import Security


@dataclasses.dataclass(frozen=True)
class Tls:
    """The server's certificate, and the authority of its clients' certificates.

    Attributes:
      certificate, private_key: PEM files; the first may hold a chain.
      authority: PEM file of the authority that signs clients' certificates; None if clients need no
        certificate.
    """

    certificate: pathlib.Path
    private_key: pathlib.Path
    authority: pathlib.Path | None = None

    @classmethod
    def of(cls, security: Security) -> Tls | None:
        """Returns the TLS settings in the configuration; None without TLS.

        Raises:
          ConfigError: A file that the others need is not named, or the files cannot be used
            together.
        """
        named = (security.certificate, security.private_key)
        if named == (None, None):
            if security.client_authority is not None:
                raise ConfigError("security: client_authority needs certificate and private_key")
            return None
        if None in named:
            raise ConfigError("security: certificate and private_key are needed together")
        authority = security.client_authority
        tls = cls(
            pathlib.Path(str(named[0])),
            pathlib.Path(str(named[1])),
            None if authority is None else pathlib.Path(authority),
        )
        tls._check()
        return tls

    def uvicorn_options(self) -> dict[str, Any]:
        """Returns arguments of `uvicorn.Config`."""
        options: dict[str, Any] = {
            "ssl_certfile": str(self.certificate),
            "ssl_keyfile": str(self.private_key),
        }
        if self.authority is not None:
            options |= {"ssl_ca_certs": str(self.authority), "ssl_cert_reqs": ssl.CERT_REQUIRED}
        return options

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Returns the credentials of a gRPC port."""
        authority = None if self.authority is None else self.authority.read_bytes()
        pair = (self.private_key.read_bytes(), self.certificate.read_bytes())
        return grpc.ssl_server_credentials([pair], authority, authority is not None)

    def _check(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # Without this function, OpenSSL would ask for a password on the terminal.
            context.load_cert_chain(self.certificate, self.private_key, lambda: "")
            if self.authority is not None:
                context.load_verify_locations(self.authority)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(
                f"security: {self.certificate}, {self.private_key}: cannot be used for TLS "
                f"({error}); give PEM files that belong together, the key without a password"
            ) from error
