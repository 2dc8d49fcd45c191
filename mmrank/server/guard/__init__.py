"""Access control: API keys, roles, rates, limits of requests, TLS and the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.server.guard.audit import AuditError, AuditLog, verify_audit
    from mmrank.server.guard.guard import Guard, Rejected
    from mmrank.server.guard.keys import (
        ApiKey,
        KeyFileError,
        KeyRing,
        make_key,
        read_keys,
        revoke_key,
    )
    from mmrank.server.guard.options import Limits, Security
    from mmrank.server.guard.rates import Rates, parse_rate

__all__ = [
    "ApiKey",
    "AuditError",
    "AuditLog",
    "Guard",
    "KeyFileError",
    "KeyRing",
    "Limits",
    "Rates",
    "Rejected",
    "Security",
    "make_key",
    "parse_rate",
    "read_keys",
    "revoke_key",
    "verify_audit",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.server.guard.audit": ["AuditError", "AuditLog", "verify_audit"],
        "mmrank.server.guard.guard": ["Guard", "Rejected"],
        "mmrank.server.guard.keys": [
            "ApiKey",
            "KeyFileError",
            "KeyRing",
            "make_key",
            "read_keys",
            "revoke_key",
        ],
        "mmrank.server.guard.options": ["Limits", "Security"],
        "mmrank.server.guard.rates": ["Rates", "parse_rate"],
    },
)
