"""Replies about the model: the state of each version, and the signatures of a version."""

from __future__ import annotations

import functools
import inspect
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
# Protobuf 5.26 renamed the option by which fields with their default value are written too.
_DEFAULTS = "including_default_value_fields"
if _DEFAULTS not in inspect.signature(MessageToDict).parameters:
    _DEFAULTS = "always_print_fields_with_no_presence"
_to_dict = functools.partial(MessageToDict, **{_DEFAULTS: True})


def status_message(statuses: Iterable[VersionStatus]) -> Any:
    """Returns the GetModelStatusResponse for some versions."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for status in statuses:
        one = response.model_version_status.add()
        one.version = status.number
        one.state = one.State.Value(status.state)
        one.status.error_code = 0 if status.code == "OK" else ServingError(status.code, "").number
        one.status.error_message = status.message
    return response


def status_json(statuses: Iterable[VersionStatus]) -> bytes:
    """Returns the result of `status_message` as JSON."""
    return _dump(_plain(status_message(statuses)))


def metadata_message(
    name: str, servable: Servable, fields: Iterable[str] = (SIGNATURE_DEF,)
) -> Any:
    """Returns the GetModelMetadataResponse for a version.

    Args:
      name: The model's name in requests.
      servable: The version.
      fields: The requested fields; only `signature_def` is supported.

    Raises:
      ServingError: Another field is requested, or no field is.
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
    """Returns the metadata of `metadata_message` as JSON, with TensorFlow Serving's names."""
    spec = _plain(model_spec(name, servable.number))
    return _dump({"model_spec": spec, "metadata": {SIGNATURE_DEF: _plain(_signatures(servable))}})


def model_spec(name: str, version: int, signature: str = "") -> Any:
    """Returns the ModelSpec that names the model in a reply."""
    spec = model_pb2.ModelSpec(name=name, signature_name=signature)
    spec.version.value = version
    return spec


def _signatures(servable: Servable) -> Any:
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for key, definition in servable.meta.signature_def.items():
        signatures.signature_def[key].CopyFrom(definition)
    return signatures


def _plain(message: Any) -> Any:
    return _to_dict(message, preserving_proto_field_name=True)


def _dump(reply: Any) -> bytes:
    return orjson.dumps(reply, option=orjson.OPT_INDENT_2)
