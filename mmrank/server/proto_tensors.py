"""Converts tensors of gRPC messages to NumPy arrays and back."""

from __future__ import annotations

import contextvars
import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from mmrank.server.errors import INVALID_ARGUMENT, ServingError
from mmrank.server.signature import Signature

# A short message can repeat one value over any shape. These bound the numbers and the texts of all
# tensors of a request together.
MOST_ELEMENTS, MOST_TEXTS = 1 << 24, 1 << 20
MOST_DIMENSIONS = 32  # of a NumPy array
# Bytes of one element: TensorFlow's overhead of a text, without its content; the widest number.
TEXT_BYTES, NUMBER_BYTES = 24, 8
# Size of the current request's message in bytes, where it is known. `ByteSize()` would serialize
# the whole message; for a large one this blocks all threads for a tenth of a second.
message_size: contextvars.ContextVar[int] = contextvars.ContextVar("message_size")
# Number of values that are converted in one step. Other threads can run between steps.
_STEP = 1 << 14
# Number of values that are packed in one step.
_STEP_PACKED = 1 << 18
# By type, the number of the field of packed values, and their type in it.
_PACKED: dict[Any, tuple[int, str]] = {
    np.float32: (tensor_pb2.TensorProto.FLOAT_VAL_FIELD_NUMBER, "<f4"),
    np.bool_: (tensor_pb2.TensorProto.BOOL_VAL_FIELD_NUMBER, "u1"),
}
# The field of a TensorProto that holds the values of each type.
_FIELDS = {
    tf.string: "string_val",
    tf.bool: "bool_val",
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.int64: "int64_val",
    **dict.fromkeys((tf.int8, tf.int16, tf.int32, tf.uint8, tf.uint16), "int_val"),
}


def elements_of(protos: Mapping[str, Any], signature: Signature, most_bytes: int) -> int:
    """Returns the number of elements of all tensors of a request, by their declared shapes.

    Args:
      protos: The tensors by name.
      signature: The signature that takes them.
      most_bytes: Memory (bytes) that all tensors together may take, in addition to the message. If
        a tensor has fewer texts than its shape, the last text is repeated, and TensorFlow stores
        each copy separately.

    Raises:
      ServingError: The tensors' names, types or ranks do not match the signature, or there are too
        many elements.
    """
    signature.check_names(protos)
    numbers = texts = size = 0
    for name, proto in protos.items():
        signature.check_type(name, proto.dtype)
        # Checked before the dimensions are read: a message can hold a hundred thousand of them.
        rank, shape = len(proto.tensor_shape.dim), signature.inputs[name].shape
        if rank > MOST_DIMENSIONS or (shape is not None and len(shape) != rank):
            raise _wrong(name, f"expected {signature.inputs[name]}, got {rank} dimensions")
        count = math.prod(_sizes(name, proto))
        size += _bytes_of(proto, count)
        if proto.dtype == types_pb2.DT_STRING:
            texts += count
        else:
            numbers += count
    for what, count, most in (("numbers", numbers, MOST_ELEMENTS), ("texts", texts, MOST_TEXTS)):
        if count > most:
            message = f"{count} {what} in one request; send at most {most}"
            raise ServingError(INVALID_ARGUMENT, message)
    if size > most_bytes:
        raise ServingError(
            INVALID_ARGUMENT,
            f"the tensors would take {size / 2**20:,.0f} MiB of memory; the most is "
            f"{most_bytes / 2**20:,.0f}; send fewer values at a time",
        )
    return numbers + texts


def from_protos(protos: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns arrays by name. Texts become arrays of bytes objects.

    Raises:
      ServingError: A tensor's values do not fill its shape, or its type is unknown.
    """
    return {name: from_proto(name, protos[name]) for name in protos}


def from_proto(name: str, proto: Any) -> np.ndarray:
    """Returns one array; conversion and errors as in `from_protos`."""
    sizes = _sizes(name, proto)
    if math.prod(sizes) > MOST_ELEMENTS:
        raise _wrong(name, f"more than {MOST_ELEMENTS} elements")
    try:
        dtype = tf.as_dtype(proto.dtype)
        if dtype == tf.string and math.prod(sizes) and not proto.string_val:
            raise ValueError(f"no text value for the shape {sizes}")
        array = _array(proto, dtype, sizes)
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise _wrong(name, " ".join(str(error).split())) from None
    if array.shape != tuple(sizes):
        raise _wrong(name, f"{array.size} values for the shape {sizes}")
    return array


def _sizes(name: str, proto: Any) -> list[int]:
    sizes = [d.size for d in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or any(s < 0 for s in sizes):
        raise _wrong(name, "the shape is not fully known")
    return sizes


def _bytes_of(proto: Any, count: int) -> int:
    """Returns the bytes that a tensor's `count` elements take, in addition to the message."""
    if proto.dtype == types_pb2.DT_STRING:
        missing = count - len(proto.string_val)
        last = len(proto.string_val[-1]) if proto.string_val else 0
        return max(0, missing) * last + TEXT_BYTES * count
    return NUMBER_BYTES * count


def _array(proto: Any, dtype: tf.DType, sizes: list[int]) -> np.ndarray:
    """Returns the result of `tf.make_ndarray`, and raises its errors; converts large ones in steps.

    Other threads can run between the steps.
    """
    given = getattr(proto, _FIELDS[dtype]) if dtype in _FIELDS else ()
    if len(given) <= _STEP and math.prod(sizes) <= _STEP:
        return tf.make_ndarray(proto)
    if proto.tensor_content or dtype not in _FIELDS:
        return tf.make_ndarray(proto)
    count = math.prod(sizes)
    if not 0 < len(given) <= count:
        raise ValueError(f"{len(given)} values for the shape {sizes}")
    array, values = np.empty(count, dtype.as_numpy_dtype), iter(given)
    for at in range(0, len(given), _STEP):
        part = list(itertools.islice(values, _STEP))
        array[at : at + len(part)] = part
    array[len(given) :] = array[len(given) - 1]
    return array.reshape(sizes)


def to_proto(array: np.ndarray) -> Any:
    """Returns a TensorProto with its values in the typed field, which clients of any language read.

    TensorFlow Serving does the same by default.
    """
    return tensor_pb2.TensorProto.FromString(b"".join(serialized_tensor(array)))


def serialized_tensor(array: np.ndarray) -> list[bytes]:
    """Returns the message of `to_proto` as protobuf serializes it, in parts.

    Floats and flags are packed as they are in memory. A message object of millions of them would
    take a hundred times as long, and would block all threads for a quarter of a second.
    """
    if array.dtype.type not in _PACKED:
        return [tf.make_tensor_proto(array).SerializeToString()]
    field, packed = _PACKED[array.dtype.type]
    shape = tf.TensorShape(array.shape).as_proto()
    number = tf.as_dtype(array.dtype).as_datatype_enum
    head = tensor_pb2.TensorProto(dtype=number, tensor_shape=shape)
    flat = array.ravel().astype(packed, copy=False)
    values = [flat[at : at + _STEP_PACKED].tobytes() for at in range(0, flat.size, _STEP_PACKED)]
    return [head.SerializeToString(), *(serialized_field(field, values) if values else ())]


def serialized_field(number: int, parts: list[bytes]) -> list[bytes]:
    """Returns a message's field of bytes, or a nested message, in parts."""
    return [_varint(number << 3 | 2) + _varint(sum(map(len, parts))), *parts]


def _varint(value: int) -> bytes:
    """Returns a number with seven bits in each byte, the lowest first."""
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def _wrong(name: str, what: str) -> ServingError:
    return ServingError(INVALID_ARGUMENT, f"input {name}: {what}")
