"""Tensors of gRPC messages to NumPy arrays and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.server.errors import INVALID_ARGUMENT, ServingError

# A message can ask for one value spread over any shape; this is where that ends.
MOST_ELEMENTS = 1 << 24


def from_protos(protos: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays by name; texts as arrays of bytes objects.

    Raises:
      ServingError: A tensor's values do not fill its shape, or its type is unknown.
    """
    return {name: from_proto(name, protos[name]) for name in protos}


def from_proto(name: str, proto: Any) -> np.ndarray:
    """One array, as for `from_protos`."""
    sizes = [d.size for d in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or any(s < 0 for s in sizes):
        raise _wrong(name, "the shape is not fully known")
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
