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

MOST_CHARACTERS = 1_000  # of a message
TOO_LATE = "the deadline passed before the answer was ready"

# As `ToHTTPStatusCode` of model_servers/http_server.cc in TensorFlow Serving.
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
# What TensorFlow adds to the message of an op: where it stood in the graph, and by which way.
_NOISE = re.compile(
    r"^(Graph execution error:|\d+ root error\(s\) found\.|Detected at node .*:|Node: '.*')$"
)
_STEP = re.compile(r"^\(\d+\) [A-Z_ ]+: ")
_NODE = re.compile(r"\s*\[\[.*|\s*\[Op:.*|\s*\[Condition .*", re.DOTALL)


def shortened(text: str) -> str:
    """The beginning of a text, marked if there was more."""
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


class ServingError(Exception):
    """A request that cannot be answered.

    Args:
      code: A canonical gRPC code by name, such as `INVALID_ARGUMENT`.
      message: What is wrong and the remedy, for the client to read.
    """

    def __init__(self, code: str, message: str):
        # In one line, whatever lines the client's own words in it have.
        # However much of them there is, which headers of gRPC could not hold.
        told = " ".join(message[: 2 * MOST_CHARACTERS].split())
        self.code, self.message = code, shortened(told)
        super().__init__(self.message)

    @property
    def http_status(self) -> int:
        """The HTTP status that TensorFlow Serving gives this code."""
        return int(HTTP_STATUS[self.code])

    @property
    def grpc_code(self) -> grpc.StatusCode:
        """The code as the gRPC library has it."""
        return grpc.StatusCode[self.code]

    @property
    def number(self) -> int:
        """The code's number."""
        return int(self.grpc_code.value[0])


def from_tensorflow(error: tf.errors.OpError) -> ServingError:
    """The error of a graph under its own code, its message without the graph's innards."""
    code = _NAME_BY_NUMBER.get(error.error_code, INTERNAL)
    if code == DEADLINE_EXCEEDED:
        return ServingError(code, TOO_LATE)
    lines = [line.strip() for line in error.message.splitlines()]
    told = next((line for line in lines if line and not _NOISE.match(line)), code)
    return ServingError(code, _NODE.sub("", _STEP.sub("", told)).replace("\\'", "'"))


def from_exception(error: BaseException) -> ServingError:
    """Any error as one that can be sent; of what nobody foresaw nothing but the type is told."""
    if isinstance(error, ServingError):
        return error
    if isinstance(error, tf.errors.OpError):
        return from_tensorflow(error)
    if isinstance(error, TimeoutError):
        return ServingError(DEADLINE_EXCEEDED, TOO_LATE)
    return ServingError(INTERNAL, f"internal error ({type(error).__name__}); see the server's log")


def error_body(message: str) -> dict[str, str]:
    """The JSON of an error, as TensorFlow Serving shapes it."""
    return {"error": message}
