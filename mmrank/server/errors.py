"""Errors of the server by canonical code, each with TensorFlow Serving's HTTP status."""

from __future__ import annotations

import re
from http import HTTPStatus

import grpc
import tensorflow as tf

CANCELLED = "CANCELLED"
INVALID_ARGUMENT = "INVALID_ARGUMENT"
DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
NOT_FOUND = "NOT_FOUND"
PERMISSION_DENIED = "PERMISSION_DENIED"
UNAUTHENTICATED = "UNAUTHENTICATED"
RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
FAILED_PRECONDITION = "FAILED_PRECONDITION"
UNIMPLEMENTED = "UNIMPLEMENTED"
INTERNAL = "INTERNAL"
UNAVAILABLE = "UNAVAILABLE"

MOST_CHARACTERS = 1_000  # in an error message
TOO_LATE = "the deadline passed before the answer was ready"

# The same as `ToHTTPStatusCode` in TensorFlow Serving's model_servers/http_server.cc.
HTTP_STATUS = {
    "OK": HTTPStatus.OK,
    CANCELLED: 499,
    "UNKNOWN": HTTPStatus.INTERNAL_SERVER_ERROR,
    INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
    NOT_FOUND: HTTPStatus.NOT_FOUND,
    "ALREADY_EXISTS": HTTPStatus.CONFLICT,
    PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    "ABORTED": HTTPStatus.CONFLICT,
    "OUT_OF_RANGE": HTTPStatus.BAD_REQUEST,
    UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    "DATA_LOSS": HTTPStatus.INTERNAL_SERVER_ERROR,
}
_NAME_BY_NUMBER = {code.value[0]: code.name for code in grpc.StatusCode}
# What TensorFlow adds to an op's error message: the op's position in the graph, and its call path.
_NOISE = re.compile(
    r"^(Graph execution error:|\d+ root error\(s\) found\.|Detected at node .*:|Node: '.*')$"
)
_STEP = re.compile(r"^\(\d+\) [A-Z_ ]+: ")
_NODE = re.compile(r"\s*\[\[.*|\s*\[Op:.*|\s*\[Condition .*", re.DOTALL)


def shortened(text: str) -> str:
    """Returns the beginning of a text, with an ellipsis if the text was longer."""
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


class ServingError(Exception):
    """A request that cannot be answered.

    Args:
      code: A canonical gRPC code by name, such as `INVALID_ARGUMENT`.
      message: What is wrong and how to fix it, for the client to read.

    Example:
      >>> error = ServingError("NOT_FOUND", "there is no such model")
      >>> error.http_status, error.number
      (404, 5)
    """

    def __init__(self, code: str, message: str):
        # The message may quote the client's input. It becomes a single line, and is shortened
        # because gRPC sends it in a header of limited size.
        line = " ".join(message[: 2 * MOST_CHARACTERS].split())
        self.code, self.message = code, shortened(line)
        super().__init__(self.message)

    @property
    def http_status(self) -> int:
        """The HTTP status that TensorFlow Serving gives this code."""
        return int(HTTP_STATUS[self.code])

    @property
    def grpc_code(self) -> grpc.StatusCode:
        """The gRPC library's constant for the code."""
        return grpc.StatusCode[self.code]

    @property
    def number(self) -> int:
        """The code's canonical number."""
        return int(self.grpc_code.value[0])


def from_tensorflow(error: tf.errors.OpError) -> ServingError:
    """Returns a graph's error with its own code, and its message without names of graph nodes."""
    code = _NAME_BY_NUMBER.get(error.error_code, INTERNAL)
    if code == DEADLINE_EXCEEDED:
        return ServingError(code, TOO_LATE)
    lines = [line.strip() for line in error.message.splitlines()]
    cause = next((line for line in lines if line and not _NOISE.match(line)), code)
    return ServingError(code, _NODE.sub("", _STEP.sub("", cause)).replace("\\'", "'"))


def from_exception(error: BaseException) -> ServingError:
    """Returns any error as one that can be sent. An unexpected error reveals only its type."""
    if isinstance(error, ServingError):
        return error
    if isinstance(error, tf.errors.OpError):
        return from_tensorflow(error)
    if isinstance(error, TimeoutError):
        return ServingError(DEADLINE_EXCEEDED, TOO_LATE)
    return ServingError(INTERNAL, f"internal error ({type(error).__name__}); see the server's log")


def error_body(message: str) -> dict[str, str]:
    """Returns the JSON object of an error, in TensorFlow Serving's format."""
    return {"error": message}
