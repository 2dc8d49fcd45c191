"""Converts tensors of JSON requests to NumPy arrays and back, as in TensorFlow Serving's REST API.

Row format: {"instances": [{input: value, ...}, ...]} → {"predictions": [...]}. Columnar format:
{"inputs": {input: value, ...}} → {"outputs": ...}. A text may be given as {"b64": "..."}; outputs
named ..._bytes are returned in that form. The name of a single input may be left out, and the name
of a single output is left out.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import tensorflow as tf

from mmrank.outputs import one_line, shown
from mmrank.schema import did_you_mean
from mmrank.server.errors import INVALID_ARGUMENT, ServingError
from mmrank.server.machine import without_garbage_collection
from mmrank.server.signature import Signature, TensorInfo

ROW, COLUMNAR = "instances", "inputs"
SIGNATURE_NAME = "signature_name"
BASE64 = "b64"
BYTES_SUFFIX = "_bytes"
_FLOAT32_MOST = float(np.finfo(np.float32).max)
_EXACT_IN_FLOAT32 = 2**24 - 1
_NAMED = 20  # unknown names that an error message considers
_MANY = 1 << 15  # bytes of JSON that may hold thousands of lists
_TOGETHER = 1 << 16  # values that are written in one step
_STEP = 1 << 20  # characters of base64; a multiple of four
_ENDLESS = (b"NaN", b"Infinity")
_DIGITS = 19  # a whole number with fewer digits fits into 64 bits
_MOST_DIMENSIONS = 32  # of a NumPy array


def parse_object(body: bytes, endless: bool = False) -> dict[str, Any]:
    """Returns the JSON object in a request's body.

    Args:
      body: The bytes.
      endless: Whether NaN, Infinity and -Infinity are accepted as numbers, as in TensorFlow
        Serving.

    Raises:
      ServingError: The body is empty, not JSON or not an object.

    Example:
      >>> parse_object(b'{"instances": [1.5]}')
      {'instances': [1.5]}
    """
    if not body:
        raise _wrong("JSON Parse error: The document is empty")
    with without_garbage_collection() if len(body) > _MANY else contextlib.nullcontext():
        try:
            read = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            if endless and any(word in body for word in _ENDLESS):
                return _with_endless(body)
            raise _wrong(f"JSON Parse error: {error}") from None
    if not isinstance(read, dict):
        raise _wrong(f"the JSON is a {_json_type(read)}, not an object")
    return read


def _with_endless(body: bytes) -> dict[str, Any]:
    """Returns the object in a body that may hold NaN and infinities; otherwise equally strict."""
    try:
        # Between two calls of a function in Python, other threads can run.
        read = json.loads(body.decode(), parse_int=_number, parse_float=_real)
        orjson.dumps(read)  # refuses lone surrogates and too deep nesting
    except (ValueError, RecursionError, TypeError) as error:
        raise _wrong(f"JSON Parse error: {one_line(error)}") from None
    if not isinstance(read, dict):
        raise _wrong(f"the JSON is a {_json_type(read)}, not an object")
    return read


def _number(text: str) -> int | float:
    return int(text) if len(text) < _DIGITS else float(text)


def _real(text: str) -> float:
    return float(text)


def signature_name(request: Mapping[str, Any]) -> str:
    """Returns the name of the signature in a request, or an empty text if there is none.

    Raises:
      ServingError: The name is not a text.
    """
    name = request.get(SIGNATURE_NAME, "")
    if not isinstance(name, str):
        raise _wrong("'signature_name' key must be a string value.")
    return name


def read_tensors(
    request: Mapping[str, Any], signature: Signature
) -> tuple[str, dict[str, np.ndarray]]:
    """Returns the format of a predict request, `ROW` or `COLUMNAR`, and its inputs by name.

    Raises:
      ServingError: A key is missing, a key of an instance is unknown, or a value is ragged or does
        not have the input's type.
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
    """Returns the JSON reply to a predict request of a format.

    Raises:
      ServingError: In the row format, the outputs have no common first dimension.
    """
    plain = {n: _writable(n, outputs[n]) for n in sorted(outputs)}
    single = next(iter(plain.values())) if len(plain) == 1 else None
    if form == COLUMNAR:
        if single is not None:
            return b"".join([b'{"outputs":', *_listed(single), b"}"])
        parts = [b'{"outputs":{']
        for name, value in plain.items():
            parts += [b"," if len(parts) > 1 else b"", _dump(name), b":", *_listed(value)]
        return b"".join([*parts, b"}}"])
    rows = {len(a) if np.ndim(a) else -1 for a in outputs.values()}
    if len(rows) != 1 or -1 in rows:
        raise _wrong("the outputs have no common first dimension; use the columnar format")
    if single is not None:
        return b"".join([b'{"predictions":', *_listed(single), b"}"])
    count = rows.pop()
    table = [{n: a[i] for n, a in plain.items()} for i in range(count)]
    values = sum(a.size for a in outputs.values())
    return b"".join([b'{"predictions":', *_listed(table, values), b"}"])


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
    """Returns a JSON value, nested lists or a scalar, as an array of an input's type.

    Raises:
      ServingError: The lists are ragged or nested too deeply, or a leaf has another type or is out
        of range.
    """
    shape: list[int] = []
    flat = [value]
    while flat and isinstance(flat[0], list):
        sizes = set(map(len, flat)) if set(map(type, flat)) == {list} else None
        if sizes is None or len(sizes) > 1:
            raise _wrong(
                f"input {name}: lists of unequal length or depth at level {len(shape)}; lists at "
                "one level must have the same length"
            )
        shape.append(sizes.pop())
        if len(shape) > _MOST_DIMENSIONS:
            raise _wrong(f"input {name}: lists are nested more than {_MOST_DIMENSIONS} deep")
        flat = list(itertools.chain.from_iterable(flat))
    rank = None if info.shape is None else len(info.shape)
    if not flat and rank is not None:
        # The inner dimensions of an empty list are unknown; they become 0.
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
    known = wide[np.isfinite(wide)]
    if dtype != tf.float64 and known.size and np.abs(known).max() > _FLOAT32_MOST:
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
    """Returns the bytes in {"b64": "..."}.

    Raises:
      ServingError: The value does not have that form.
    """
    if not _is_base64(value):
        raise _wrong(
            f'input {name}: an object is not formatted correctly for base64 data: {{"b64": "..."}}'
        )
    text = value[BASE64]
    try:
        # In steps, so that other threads can run in between. Padding is allowed only at the end.
        steps = range(0, max(len(text), 1), _STEP)
        last = steps[-1]
        if "=" in text[:last]:
            raise ValueError("padding within")
        return b"".join(base64.b64decode(text[at : at + _STEP], validate=True) for at in steps)
    except (binascii.Error, ValueError):
        raise _wrong(f"input {name}: Unable to base64 decode") from None


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {BASE64} and isinstance(value[BASE64], str)


def _writable(name: str, array: np.ndarray) -> Any:
    """Returns an output in a form that orjson can write."""
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


def _listed(value: Any, values: int | None = None) -> Iterator[bytes]:
    """Yields the JSON of an array, or of a list that holds `values` values in total, in parts.

    Other threads can run between the parts: a small request can ask for millions of numbers.
    """
    size = getattr(value, "size", 0) if values is None else values
    if size <= _TOGETHER:
        yield _dump(value)
        return
    # 0 if a single row of an array is too large for one step; the row is then split.
    rows = _TOGETHER * len(value) // size
    if values is not None:
        rows = max(1, rows)
    for at in range(0, len(value), max(1, rows)):
        yield b"," if at else b"["
        if rows:
            yield _dump(value[at : at + rows])[1:-1]
        else:
            yield from _listed(value[at])
    yield b"]"


def _dump(reply: Any) -> bytes:
    return orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)


def _json_type(value: Any) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "flag", type(None): "null"}
    return names.get(type(value), "number")


def _wrong_leaf(
    name: str, flat: Sequence[Any], right: tuple[type, ...], dtype: tf.DType
) -> ServingError:
    bad = next(v for v in flat if type(v) not in right)
    # orjson cannot write lists that are nested as deeply as those it can read.
    value = shown(bad) if isinstance(bad, (dict, list)) else orjson.dumps(bad).decode()[:60]
    return _wrong(
        f"input {name}: JSON Value: {value} Type: {_json_type(bad)} is not of expected type: "
        f"{dtype.name}"
    )


def _difference(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    missing = sorted(n for n in wanted if n not in given)
    # Only a few: sorting a hundred thousand names would block all threads for a tenth of a second.
    extra = sorted(itertools.islice((n for n in given if n not in wanted), _NAMED))
    text = f"; missing: {','.join(missing)}" if missing else ""
    if extra:
        text += f"; unknown: {','.join(extra)[:200]}{did_you_mean(extra[0], list(wanted))}"
    return text


def _wrong(message: str) -> ServingError:
    return ServingError(INVALID_ARGUMENT, message)
