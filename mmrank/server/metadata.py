"""What a server tells of its model: the state of each version, and the signatures of one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from google.protobuf.json_format import MessageToDict
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
)

from mmrank.server.errors import INVALID_ARGUMENT, ServingError
from mmrank.server.servable import Servable
from mmrank.server.versions import VersionStatus

SIGNATURE_DEF = "signature_def"


def status_message(statuses: Iterable[VersionStatus]) -> Any:
    """The GetModelStatusResponse of some versions."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for status in statuses:
        one = response.model_version_status.add()
        one.version = status.number
        one.state = one.State.Value(status.state)
        one.status.error_code = 0 if status.code == "OK" else ServingError(status.code, "").number
        one.status.error_message = status.message
    return response


def status_json(statuses: Iterable[VersionStatus]) -> bytes:
    """The same as JSON."""
    return _dump(_plain(status_message(statuses)))


def metadata_message(
    name: str, servable: Servable, fields: Iterable[str] = (SIGNATURE_DEF,)
) -> Any:
    """The GetModelMetadataResponse of a version.

    Args:
      name: What clients call the model.
      servable: The version.
      fields: What is asked for; `signature_def` is all there is.

    Raises:
      ServingError: Another field, or none, is asked for.
    """
    fields = list(fields)
    if not fields:
        raise ServingError(
            INVALID_ARGUMENT, "GetModelMetadataRequest must specify at least one metadata_field"
        )
    for field in fields:
        if field != SIGNATURE_DEF:
            raise ServingError(INVALID_ARGUMENT, f"Metadata field {field} is not supported")
    response = get_model_metadata_pb2.GetModelMetadataResponse(
        model_spec=model_spec(name, servable.number)
    )
    response.metadata[SIGNATURE_DEF].Pack(_signatures(servable))
    return response


def metadata_json(name: str, servable: Servable) -> bytes:
    """The same as JSON, with the names that TensorFlow Serving writes."""
    spec = _plain(model_spec(name, servable.number))
    return _dump({"model_spec": spec, "metadata": {SIGNATURE_DEF: _plain(_signatures(servable))}})


def model_spec(name: str, version: int, signature: str = "") -> Any:
    """The ModelSpec that a reply names its model by."""
    spec = model_pb2.ModelSpec(name=name, signature_name=signature)
    spec.version.value = version
    return spec


def _signatures(servable: Servable) -> Any:
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for key, definition in servable.meta.signature_def.items():
        signatures.signature_def[key].CopyFrom(definition)
    return signatures


def _plain(message: Any) -> Any:
    return MessageToDict(
        message, including_default_value_fields=True, preserving_proto_field_name=True
    )


def _dump(reply: Any) -> bytes:
    return orjson.dumps(reply, option=orjson.OPT_INDENT_2)
