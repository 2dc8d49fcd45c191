"""Monitoring of the server: metrics, drift of requests, and logs with a request id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.server.monitor.config import Drift, Monitoring
    from mmrank.server.monitor.metrics import Metrics

__all__ = [
    "Drift",
    "Metrics",
    "Monitoring",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.server.monitor.config": ["Drift", "Monitoring"],
        "mmrank.server.monitor.metrics": ["Metrics"],
    },
)
