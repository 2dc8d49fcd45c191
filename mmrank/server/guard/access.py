"""What a request does, by its path or method, and which roles may do it."""

from __future__ import annotations

import dataclasses

READERS = frozenset({"rank", "metrics", "admin"})


@dataclasses.dataclass(frozen=True)
class Action:
    """What a request does.

    Attributes:
      name: The action's name in the audit log.
      roles: The client needs one of these roles; None if anybody may do it.
    """

    name: str
    roles: frozenset[str] | None


HEALTH = Action("health", None)
RANK = Action("rank", frozenset({"rank"}))
FEEDBACK = Action("feedback", frozenset({"rank"}))
PREDICT = Action("predict", frozenset({"rank"}))
STATUS = Action("status", READERS)
METADATA = Action("metadata", READERS)
METRICS = Action("metrics", frozenset({"metrics", "admin"}))
RELOAD = Action("reload", frozenset({"admin"}))
OTHER = Action("other", frozenset({"admin"}))  # unknown actions need the role admin

_SERVICE = "/tensorflow.serving."
GRPC = {
    f"{_SERVICE}PredictionService/Predict": PREDICT,
    f"{_SERVICE}PredictionService/Classify": PREDICT,
    f"{_SERVICE}PredictionService/Regress": PREDICT,
    f"{_SERVICE}PredictionService/MultiInference": PREDICT,
    f"{_SERVICE}PredictionService/GetModelMetadata": METADATA,
    f"{_SERVICE}ModelService/GetModelStatus": STATUS,
    f"{_SERVICE}ModelService/HandleReloadConfigRequest": RELOAD,
    "/grpc.health.v1.Health/Check": HEALTH,
    "/grpc.health.v1.Health/Watch": HEALTH,
}


def rest_action(method: str, path: str) -> Action:
    """Returns what an HTTP request does. TensorFlow Serving accepts its paths in any case."""
    if path in ("/health", "/healthz", "/livez", "/readyz"):
        return HEALTH
    if path.startswith("/monitoring/"):
        return METRICS
    if path == "/rank":
        return RANK
    if path == "/feedback":
        return FEEDBACK
    if path.lower().startswith("/v1/models"):
        if method in ("GET", "HEAD"):
            return METADATA if path.lower().endswith("/metadata") else STATUS
        return PREDICT
    return OTHER


def grpc_action(method: str) -> Action:
    """Returns what a gRPC call does, by its full method name."""
    return GRPC.get(method, OTHER)
