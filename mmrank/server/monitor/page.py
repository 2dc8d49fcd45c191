"""The page that Prometheus reads, at the same path as in TensorFlow Serving."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mmrank.server.monitor.metrics import CONTENT_TYPE, PATH, Metrics


def metrics_route(metrics: Metrics) -> Route:
    """Returns the route GET /monitoring/prometheus/metrics, in Prometheus' text format."""

    def page(request: Request) -> Response:  # not async, so that it runs on a thread
        return Response(metrics.page(), headers={"content-type": CONTENT_TYPE})

    return Route(PATH, page, methods=["GET"])
