"""Access control shared by REST and gRPC: identity, permission, rate and record of a request."""

from __future__ import annotations

import dataclasses
import ipaddress
import logging
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import structlog

from mmrank.config import ConfigError
from mmrank.data.pseudonyms import VARIABLE, Pseudonyms
from mmrank.schema import did_you_mean
from mmrank.server.errors import (
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    UNAUTHENTICATED,
    UNAVAILABLE,
    ServingError,
)
from mmrank.server.guard.access import Action
from mmrank.server.guard.audit import AuditLog
from mmrank.server.guard.budget import MEGABYTE, Memory
from mmrank.server.guard.keys import ROLES, KeyRing
from mmrank.server.guard.options import REFUSE, Limits, Security
from mmrank.server.guard.payload import PayloadCheck
from mmrank.server.guard.rates import Rates, parse_rate

RETRY_SECONDS = 5  # after which clients may retry if the audit log cannot be written
SHOWN = 200  # characters of what a client sent, in the audit log
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Caller:
    """The client that sent a request.

    Attributes:
      id, name: Those of the API key; None without a key.
      roles: The client's roles.
      peer: The client's address.
      rate: The client's rate limit; None for no limit.
    """

    id: str | None
    name: str | None
    roles: frozenset[str]
    peer: str
    rate: str | None


class Rejected(ServingError):
    """A request that the guard refuses, or whose reply it withholds.

    Attributes:
      retry_seconds: Seconds after which the client may retry, or None.

    Example:
      >>> error = Rejected("RESOURCE_EXHAUSTED", "too many requests", retry_seconds=5)
      >>> error.http_status, error.retry_seconds
      (429, 5)
    """

    def __init__(self, code: str, message: str, retry_seconds: int | None = None):
        super().__init__(code, message)
        self.retry_seconds = retry_seconds


class Guard:
    """Keys, rates, limits and the audit log of one server.

    Args:
      limits, security: See `Limits` and `Security`.

    Attributes:
      limits, security: As given.
      memory: The memory that all requests in progress hold.
      check: The check of a request's tensors.
      pseudonyms: Converts user ids to pseudonyms; None without keys for pseudonyms.

    Raises:
      ConfigError: A rate or a role is unknown.
      UserError: A file or a secret cannot be used.

    Example:
      >>> from mmrank.server.guard.access import RANK
      >>> from mmrank.server.guard.options import Limits, Security
      >>> guard = Guard(Limits(rate="1/hour"), Security())
      >>> "rank" in guard.admit(None, RANK, peer="192.0.2.1").roles
      True
      >>> guard.admit(None, RANK, peer="192.0.2.1")
      Traceback (most recent call last):
      mmrank.server.guard.guard.Rejected: more than 1/hour from this client; try again in ... s
    """

    def __init__(self, limits: Limits, security: Security):
        for rate in (limits.rate, limits.failures):
            if rate is not None:
                parse_rate(rate)
        for role in security.anonymous or ():
            if role not in ROLES:
                raise ConfigError(
                    f"security: anonymous: unknown role {role!r}{did_you_mean(role, ROLES)}"
                )
        self.limits, self.security = limits, security
        self.check = PayloadCheck(limits)
        self.memory = Memory(int(limits.memory_megabytes * MEGABYTE))
        self._keys = None if security.keys is None else KeyRing(pathlib.Path(security.keys))
        # Without API keys, other machines may rank and read metrics, but not change what is served.
        open_to = [r for r in ROLES if r != "admin"] if security.exposed else ROLES
        without = () if self._keys is not None else open_to
        self._anonymous = frozenset(without if security.anonymous is None else security.anonymous)
        self.pseudonyms = None
        if security.pseudonymise_users or os.environ.get(VARIABLE):
            self.pseudonyms = Pseudonyms.from_environment()
        self._rates = Rates()
        self._audit = None if security.audit is None else AuditLog(pathlib.Path(security.audit))
        if self._audit is not None and self.pseudonyms is None:
            logger.info("the audit log leaves user ids out, since %s is not set", VARIABLE)

    def user(self, user: str) -> str:
        """Returns a user id in the form that the model knows: as it is, or as a pseudonym."""
        if not self.security.pseudonymise_users or self.pseudonyms is None:
            return user
        return self.pseudonyms.of(user)

    def admit(self, key: str | None, action: Action, peer: str) -> Caller:
        """Returns the client that sent a request, if the client may do the action.

        Args:
          key: The API key that was sent, or None.
          action: What the request does.
          peer: The client's address.

        Raises:
          Rejected: The key is wrong, lacks the role, or exceeds its rate; or all requests are
            refused because the audit log cannot be written.
        """
        if action.roles is None:
            return Caller(None, None, frozenset(), peer, None)
        if self._audit is not None and self._audit.failing:
            self._write({"action": "tried"})
        caller = self._caller(key, peer)
        if not action.roles & caller.roles:
            if caller.id is None:
                self._count(self.limits.failures, f"failures of {peer}", "too many without a key")
                raise Rejected(
                    UNAUTHENTICATED,
                    "an API key is needed: send it as `Authorization: Bearer KEY`",
                )
            wanted = " or ".join(sorted(action.roles))
            raise Rejected(
                PERMISSION_DENIED,
                f"the API key {caller.id} may not do this, which needs the role {wanted}",
            )
        if caller.rate is not None:
            client = f"key {caller.id}" if caller.id is not None else f"address {peer}"
            self._count(caller.rate, client, f"more than {caller.rate} from this client")
        return caller

    def record(
        self,
        action: Action,
        caller: Caller | None,
        peer: str,
        target: str,
        status: int | str,
        seconds: float,
        facts: Mapping[str, Any],
    ) -> None:
        """Adds a request to the audit log. Health probes are left out.

        Args:
          action: What the request did.
          caller: The client; None if it was refused.
          peer: The client's address.
          target: The path or method.
          status: The HTTP status or gRPC code.
          seconds: How long the request took.
          facts: The facts added by `audit.note`. A `user` is written as a pseudonym or not at all.
            Of a `query`, the length is written, and the text only if the configuration says so.

        Raises:
          Rejected: The line cannot be written, and the request must therefore not be answered.
        """
        if self._audit is None or action.roles is None:
            return
        recorded = {n: v for n, v in facts.items() if n not in ("user", "query")}
        if facts.get("user") is not None and self.pseudonyms is not None:
            recorded["user"] = self.pseudonyms.of(str(facts["user"]))
        if facts.get("query") is not None:
            text = str(facts["query"])
            recorded["query_characters"] = len(text)
            if self.security.audit_queries:
                recorded["query"] = text[:SHOWN]
        self._write(
            {
                "action": action.name,
                "request": structlog.contextvars.get_contextvars().get("request_id"),
                "key": None if caller is None else caller.id,
                "owner": None if caller is None else caller.name,
                "peer": peer[:SHOWN],
                "target": target[:SHOWN],
                "status": status,
                "milliseconds": round(1000 * seconds, 1),
                **recorded,
            }
        )

    def close(self) -> None:
        """Closes the audit log."""
        if self._audit is not None:
            self._audit.close()

    def _write(self, entry: Mapping[str, Any]) -> None:
        """Adds a line to the audit log; errors as in `record`."""
        assert self._audit is not None
        before = self._audit.failing
        try:
            self._audit.add(entry)
        except OSError as error:
            if not before:
                logger.error("%s: no line can be added: %s", self._audit.file, error.strerror)
            if self.security.audit_failure == REFUSE:
                raise Rejected(
                    UNAVAILABLE, "the audit log cannot be written; try again later", RETRY_SECONDS
                ) from None
        else:
            if before:
                logger.warning("%s: lines can be added again", self._audit.file)

    def _caller(self, key: str | None, peer: str) -> Caller:
        if self._keys is None or key is None:
            return Caller(None, None, self._anonymous, peer, self.limits.rate)
        found = self._keys.find(key)
        if found is None:
            # Only wrong keys count here: a client with a valid key is admitted even if others send
            # wrong keys from the same address, such as that of a gateway.
            self._count(self.limits.failures, f"failures of {peer}", "too many wrong API keys")
            raise Rejected(UNAUTHENTICATED, "the API key is wrong, expired or revoked")
        rate = found.rate or self.limits.rate
        return Caller(found.id, found.name, frozenset(found.roles), peer, rate)

    def _count(self, rate: str, client: str, what: str) -> None:
        if not self._rates.hit(rate, client):
            wait = self._rates.retry_seconds(rate, client)
            raise Rejected(RESOURCE_EXHAUSTED, f"{what}; try again in {wait} s", wait)


def check_exposure(host: str, security: Security) -> None:
    """Checks that a server may listen on an address with these settings.

    Raises:
      ConfigError: Other machines can reach the address, and the server requires no API key, does
        not use TLS, or gives clients without a key the role admin.
    """
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if local or host.startswith("unix:"):
        return
    if "admin" in (security.anonymous or ()):
        raise ConfigError(
            f"{host} can be reached by other machines: remove admin from security.anonymous, and "
            "make a key for it with mmrank.keys"
        )
    if security.exposed:
        return
    lacking = [
        what
        for what, there in (
            ("security.keys", security.keys),
            ("security.certificate and private_key", security.certificate),
        )
        if there is None
    ]
    if lacking:
        raise ConfigError(
            f"{host} can be reached by other machines: set {' and '.join(lacking)}, or "
            "security.exposed=true behind a gateway that does this"
        )
