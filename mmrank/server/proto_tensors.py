"""Tensors of gRPC messages to NumPy arrays and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from mmrank.server.errors import INVALID_ARGUMENT, ServingError
from mmrank.server.signature import Signature

# A message can ask for one value spread over any shape; this is where a request's end together.
MOST_ELEMENTS, MOST_TEXTS = 1 << 24, 1 << 20
# Of one element beside its content: a text in TensorFlow, the widest number.
TEXT_BYTES, NUMBER_BYTES = 24, 8


def elements_of(protos: Mapping[str, Any], signature: Signature, most_bytes: int) -> int:
    """The elements of a request's tensors together, by what they say of themselves.

    Args:
      protos: The tensors by name.
      signature: What takes them.
      most_bytes: Memory that they may take together. A last text is repeated as often as the
        shape wants, and TensorFlow holds each by itself.

    Raises:
      ServingError: They are not the signature's inputs by name and rank, or there are too many.
    """
    signature.check_names(protos)
    numbers = texts = size = 0
    for name, proto in protos.items():
        count, shape = math.prod(_sizes(name, proto)), signature.inputs[name].shape
        size += _bytes_of(proto, count)
        rank = len(proto.tensor_shape.dim)
        if shape is not None and len(shape) != rank:
            raise _wrong(name, f"expected {signature.inputs[name]}, got {rank} dimensions")
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
    """Arrays by name; texts as arrays of bytes objects.

    Raises:
      ServingError: A tensor's values do not fill its shape, or its type is unknown.
    """
    return {name: from_proto(name, protos[name]) for name in protos}


def from_proto(name: str, proto: Any) -> np.ndarray:
    """One array, as for `from_protos`."""
    sizes = _sizes(name, proto)
    if math.prod(sizes) > MOST_ELEMENTS:
        raise _wrong(name, f"more than {MOST_ELEMENTS} elements")
    try:
        dtype = tf.as_dtype(proto.dtype)
        if dtype == tf.string and math.prod(sizes) and not proto.string_val:
            raise ValueError(f"no text for the shape {sizes}")
        array = tf.make_ndarray(proto)
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
    """What a tensor of `count` elements takes once it is spread over its shape."""
    if proto.dtype == types_pb2.DT_STRING:
        missing = count - len(proto.string_val)
        last = len(proto.string_val[-1]) if proto.string_val else 0
        return int(proto.ByteSize()) + max(0, missing) * last + TEXT_BYTES * count
    return int(proto.ByteSize()) + NUMBER_BYTES * count


def to_proto(array: np.ndarray) -> Any:
    """A TensorProto with its values in the typed field, where clients of any language read them.

    That is what TensorFlow Serving sends unless told otherwise.
    """
    if array.dtype == np.float32:
        shape = tf.TensorShape(array.shape).as_proto()
        proto = tf.make_tensor_proto(np.float32(0))
        proto.tensor_shape.CopyFrom(shape)
        proto.float_val[:] = array.ravel().tolist()
        return proto
    return tf.make_tensor_proto(array)


def _wrong(name: str, what: str) -> ServingError:
    return ServingError(INVALID_ARGUMENT, f"input {name}: {what}")
