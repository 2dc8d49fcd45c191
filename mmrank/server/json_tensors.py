"""Tensors of JSON requests to NumPy arrays and back, by the rules of TensorFlow Serving's REST API.

Row format: {"instances": [{input: value, ...}, ...]} → {"predictions": [...]}. Columnar format:
{"inputs": {input: value, ...}} → {"outputs": ...}. A text may be {"b64": "..."}; outputs that are
named ..._bytes come back so. With a single input, or output, its name may be, or is, left out.
"""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import tensorflow as tf

from mmrank.outputs import shown
from mmrank.schema import did_you_mean
from mmrank.server.errors import INVALID_ARGUMENT, ServingError
from mmrank.server.signature import Signature, TensorInfo

ROW, COLUMNAR = "instances", "inputs"
SIGNATURE_NAME = "signature_name"
BASE64 = "b64"
BYTES_SUFFIX = "_bytes"
_FLOAT32_MOST = float(np.finfo(np.float32).max)
_EXACT_IN_FLOAT32 = 2**24 - 1
_MOST_DIMENSIONS = 32  # of a NumPy array


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a request's body.

    Raises:
      ServingError: It is empty, no JSON (NaN and Infinity are none) or no object.
    """
    if not body:
        raise _wrong("JSON Parse error: The document is empty")
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _wrong(f"JSON Parse error: {error}") from None
    if not isinstance(read, dict):
        raise _wrong(f"the JSON is a {_json_type(read)}, not an object")
    return read


def signature_name(request: Mapping[str, Any]) -> str:
    """The signature that a request names, the empty text if it names none.

    Raises:
      ServingError: The name is no text.
    """
    name = request.get(SIGNATURE_NAME, "")
    if not isinstance(name, str):
        raise _wrong("'signature_name' key must be a string value.")
    return name


def read_tensors(
    request: Mapping[str, Any], signature: Signature
) -> tuple[str, dict[str, np.ndarray]]:
    """The format of a predict request, `ROW` or `COLUMNAR`, and its inputs by name.

    Raises:
      ServingError: A key is missing or too many, or a value is not of the input's type and shape.
    """
    if ROW in request and COLUMNAR in request:
        raise _wrong(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        )
    if ROW in request:
        return ROW, _rows(request[ROW], signature)
    if COLUMNAR in request:
        return COLUMNAR, _columns(request[COLUMNAR], signature)
    raise _wrong("Missing 'inputs' or 'instances' key")


def write_tensors(form: str, outputs: Mapping[str, np.ndarray]) -> bytes:
    """The JSON reply to a predict request of a format.

    Raises:
      ServingError: In the row format, the outputs have no common first dimension.
    """
    plain = {n: _writable(n, outputs[n]) for n in sorted(outputs)}
    single = next(iter(plain.values())) if len(plain) == 1 else None
    if form == COLUMNAR:
        return _dump({"outputs": plain if single is None else single})
    rows = {len(a) if np.ndim(a) else -1 for a in outputs.values()}
    if len(rows) != 1 or -1 in rows:
        raise _wrong("the outputs have no common first dimension; use the columnar format")
    if single is not None:
        return _dump({"predictions": single})
    count = rows.pop()
    return _dump({"predictions": [{n: a[i] for n, a in plain.items()} for i in range(count)]})


def _rows(instances: Any, signature: Signature) -> dict[str, np.ndarray]:
    if not isinstance(instances, list):
        raise _wrong("Expecting 'instances' to be a list/array")
    if not instances:
        raise _wrong("No values in 'instances' array")
    inputs = signature.inputs
    named = isinstance(instances[0], dict) and not _is_base64(instances[0])
    if not named:
        if len(inputs) > 1:
            raise _wrong(
                "instances is a plain list, but expecting list of objects as multiple input "
                "tensors required as per tensorinfo_map"
            )
        name, info = next(iter(inputs.items()))
        return {name: to_array(name, instances, info)}
    for number, instance in enumerate(instances):
        if not isinstance(instance, dict):
            raise _wrong(f"Expecting object but got list at item {number} of input list")
        if instance.keys() != inputs.keys():
            raise _wrong(
                f"Failed to process element: {number} of 'instances' list. keys must be equal to: "
                f"{','.join(inputs)}{_difference(instance, inputs)}"
            )
    return {n: to_array(n, [i[n] for i in instances], info) for n, info in inputs.items()}


def _columns(given: Any, signature: Signature) -> dict[str, np.ndarray]:
    inputs = signature.inputs
    if not isinstance(given, dict) or _is_base64(given):
        if len(inputs) > 1:
            raise _wrong(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        name, info = next(iter(inputs.items()))
        return {name: to_array(name, given, info)}
    for name in inputs:
        if name not in given:
            raise _wrong(
                f"Missing named input: {name} in 'inputs' object.{_difference(given, inputs)}"
            )
    return {n: to_array(n, given[n], info) for n, info in inputs.items()}


def to_array(name: str, value: Any, info: TensorInfo) -> np.ndarray:
    """A JSON value, nested lists or a scalar, as an array of an input's type.

    Raises:
      ServingError: The lists are ragged, or a leaf is of another type or out of range.
    """
    shape: list[int] = []
    flat = [value]
    while flat and isinstance(flat[0], list):
        sizes = set(map(len, flat)) if set(map(type, flat)) == {list} else None
        if sizes is None or len(sizes) > 1:
            raise _wrong(
                f"input {name}: lists of unequal length or depth at level {len(shape)}; every "
                "list has to be as long as its neighbours"
            )
        shape.append(sizes.pop())
        if len(shape) > _MOST_DIMENSIONS:
            raise _wrong(f"input {name}: lists are nested more than {_MOST_DIMENSIONS} deep")
        flat = list(itertools.chain.from_iterable(flat))
    rank = None if info.shape is None else len(info.shape)
    if not flat and rank is not None:
        # Nothing is in it, so that what would follow cannot be seen.
        shape += [0] * (rank - len(shape))
    dtype = info.dtype
    converted = _LEAVES.get(dtype, _unsupported)(name, flat, dtype)
    return converted.reshape(shape)


def _numbers(name: str, flat: list[Any], dtype: tf.DType) -> np.ndarray:
    types = set(map(type, flat))
    if not types <= {int, float}:
        raise _wrong_leaf(name, flat, (int, float), dtype)
    if dtype == tf.float32 and int in types:
        for value in flat:
            if type(value) is int and abs(value) > _EXACT_IN_FLOAT32:
                raise _wrong(
                    f"input {name}: Cannot convert JSON value: {value} to float without loss of "
                    "precision."
                )
    try:
        wide = np.array(flat, np.float64)
    except OverflowError:
        raise _wrong(f"input {name}: a number is too large for {dtype.name}") from None
    if dtype != tf.float64 and wide.size and np.abs(wide).max() > _FLOAT32_MOST:
        raise _wrong(f"input {name}: a number is too large for {dtype.name}")
    return wide.astype(dtype.as_numpy_dtype)


def _whole_numbers(name: str, flat: list[Any], dtype: tf.DType) -> np.ndarray:
    if not set(map(type, flat)) <= {int}:
        raise _wrong_leaf(name, flat, (int,), dtype)
    if flat and not (dtype.min <= min(flat) and max(flat) <= dtype.max):
        raise _wrong(f"input {name}: a number is out of the range of {dtype.name}")
    return np.array(flat, dtype.as_numpy_dtype)


def _flags(name: str, flat: list[Any], dtype: tf.DType) -> np.ndarray:
    if not set(map(type, flat)) <= {bool}:
        raise _wrong_leaf(name, flat, (bool,), dtype)
    return np.array(flat, np.bool_)


def _texts(name: str, flat: list[Any], dtype: tf.DType) -> np.ndarray:
    types = set(map(type, flat))
    if not types <= {str}:
        if not types <= {str, dict}:
            raise _wrong_leaf(name, flat, (str, dict), dtype)
        flat = [decoded(name, v) if isinstance(v, dict) else v for v in flat]
    array = np.empty(len(flat), object)
    array[:] = flat
    return array


def _unsupported(name: str, flat: list[Any], dtype: tf.DType) -> np.ndarray:
    raise ServingError("UNIMPLEMENTED", f"input {name}: {dtype.name} cannot be sent as JSON")


_WHOLE = (tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.uint32, tf.uint64)
_LEAVES: dict[tf.DType, Callable[[str, list[Any], tf.DType], np.ndarray]] = {
    tf.float16: _numbers,
    tf.float32: _numbers,
    tf.float64: _numbers,
    tf.bool: _flags,
    tf.string: _texts,
    **dict.fromkeys(_WHOLE, _whole_numbers),
}


def decoded(name: str, value: Any) -> bytes:
    """The bytes of {"b64": "..."}.

    Raises:
      ServingError: It is not of that form.
    """
    if not _is_base64(value):
        raise _wrong(
            f'input {name}: an object is not formatted correctly for base64 data: {{"b64": "..."}}'
        )
    try:
        return base64.b64decode(value[BASE64], validate=True)
    except (binascii.Error, ValueError):
        raise _wrong(f"input {name}: Unable to base64 decode") from None


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {BASE64} and isinstance(value[BASE64], str)


def _writable(name: str, array: np.ndarray) -> Any:
    """An output as orjson takes it."""
    if array.dtype.kind not in "OSU":
        return np.ascontiguousarray(array)
    as_bytes = name.endswith(BYTES_SUFFIX)
    flat = [_text(v, as_bytes) for v in array.ravel().tolist()]
    written = np.empty(len(flat), object)
    written[:] = flat
    return written.reshape(array.shape).tolist()


def _text(value: Any, as_bytes: bool) -> Any:
    raw = value if isinstance(value, bytes) else str(value).encode()
    if as_bytes:
        return {BASE64: base64.b64encode(raw).decode("ascii")}
    return raw.decode("utf-8", "replace")


def _dump(reply: Any) -> bytes:
    return orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)


def _json_type(value: Any) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "flag", type(None): "null"}
    return names.get(type(value), "number")


def _wrong_leaf(
    name: str, flat: Sequence[Any], right: tuple[type, ...], dtype: tf.DType
) -> ServingError:
    bad = next(v for v in flat if type(v) not in right)
    # The writer of JSON stops at fewer levels than its reader.
    told = shown(bad) if isinstance(bad, (dict, list)) else orjson.dumps(bad).decode()[:60]
    return _wrong(
        f"input {name}: JSON Value: {told} Type: {_json_type(bad)} is not of expected type: "
        f"{dtype.name}"
    )


def _difference(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    missing = sorted(set(wanted) - set(given))
    extra = sorted(set(given) - set(wanted))
    said = f"; missing: {','.join(missing)}" if missing else ""
    if extra:
        said += f"; unknown: {','.join(extra)[:200]}{did_you_mean(extra[0], list(wanted))}"
    return said


def _wrong(message: str) -> ServingError:
    return ServingError(INVALID_ARGUMENT, message)
