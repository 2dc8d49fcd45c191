"""A signature of a SavedModel as a client sees it: names, types and shapes of tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.schema import did_you_mean
from mmrank.server.errors import INVALID_ARGUMENT, ServingError

Tensors = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """One named input or output.

    Attributes:
      tensor: The tensor's name in the graph.
      dtype: Its type.
      shape: Its dimensions, with None for a dimension of any size. None instead of a tuple if the
        tensor may have any rank.

    Example:
      >>> import tensorflow as tf
      >>> str(TensorInfo("x:0", tf.float32, (None, 3)))
      'float32 [?, 3]'
    """

    tensor: str
    dtype: tf.DType
    shape: tuple[int | None, ...] | None

    @classmethod
    def of(cls, info: Any) -> TensorInfo:
        """Returns the content of a TensorInfo protobuf message."""
        shape = tf.TensorShape(info.tensor_shape)
        dims = None if shape.rank is None else tuple(shape.as_list())
        return cls(info.name, tf.as_dtype(info.dtype), dims)

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype.name} of any shape"
        return f"{self.dtype.name} [{', '.join('?' if d is None else str(d) for d in self.shape)}]"


@dataclasses.dataclass(frozen=True)
class Signature:
    """The inputs and outputs of one signature.

    Attributes:
      name: Its key, such as serving_default.
      method: Its method's name, such as tensorflow/serving/predict.
      inputs, outputs: Tensors by name, in alphabetical order.
    """

    name: str
    method: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]

    def check(self, tensors: Tensors) -> int | None:
        """Returns the common first dimension of the inputs, which is the request's number of rows.

        Returns None if no input has a first dimension of any size.

        Raises:
          ServingError: Names, types or shapes do not match the signature, or the inputs' first
            dimensions differ.
        """
        self.check_names(tensors)
        rows = None
        for name, value in tensors.items():
            info = self.inputs[name]
            if not _same_type(value.dtype, info.dtype):
                raise self._wrong(name, f"expected {info}, got {_type_name(value.dtype)}")
            if not _fits(value.shape, info.shape):
                raise self._wrong(name, f"expected {info}, got the shape {list(value.shape)}")
            if info.shape and info.shape[0] is None:
                if rows is not None and rows[1] != len(value):
                    raise self._wrong(
                        name,
                        f"{len(value)} rows, while {rows[0]} has {rows[1]}; send the same "
                        "number of rows for each",
                    )
                rows = rows or (name, len(value))
        return None if rows is None else rows[1]

    def select(self, output_filter: Iterable[str]) -> list[str]:
        """Returns the names of the requested outputs, or of all outputs if none is requested.

        Raises:
          ServingError: An output is unknown, or named twice.
        """
        wanted = list(output_filter)
        for name in wanted:
            if name not in self.outputs:
                raise ServingError(
                    INVALID_ARGUMENT,
                    f"output tensor alias not found in signature: {name} Outputs expected to be "
                    f"in the set {{{','.join(self.outputs)}}}.",
                )
        if len(set(wanted)) < len(wanted):
            twice = next(n for n in wanted if wanted.count(n) > 1)
            raise ServingError(INVALID_ARGUMENT, f"duplicate output tensor alias: {twice}")
        return wanted or list(self.outputs)

    def check_names(self, tensors: Collection[str]) -> None:
        """Checks that these are exactly the names of the inputs.

        Raises:
          ServingError: A name is missing or unknown.
        """
        extra = sorted(set(tensors) - set(self.inputs))
        missing = sorted(set(self.inputs) - set(tensors))
        if extra or missing:
            hint = did_you_mean(extra[0], missing) if extra else ""
            raise ServingError(
                INVALID_ARGUMENT,
                f"input size does not match signature: {len(tensors)}!={len(self.inputs)}. Sent "
                f"extra: {{{','.join(extra)[:200]}}}. "
                f"Missing but required: {{{','.join(missing)}}}.{hint}",
            )

    def check_type(self, name: str, number: int) -> None:
        """Checks that a type's number, as protobuf messages hold it, is that of an input.

        Raises:
          ServingError: The types differ.
        """
        info = self.inputs[name]
        if number != info.dtype.as_datatype_enum:
            try:
                type_name = tf.as_dtype(number).name
            except TypeError:
                type_name = f"type {number}"
            raise self._wrong(name, f"expected {info}, got {type_name}")

    def _wrong(self, name: str, what: str) -> ServingError:
        return ServingError(INVALID_ARGUMENT, f"input {name} of signature {self.name}: {what}")


def signatures_of(meta: Any) -> dict[str, Signature]:
    """Returns the signatures of a SavedModel by name, without TensorFlow's internal ones."""
    made = {}
    for key, definition in meta.signature_def.items():
        if key.startswith("__saved_model"):
            continue
        inputs, outputs = (
            {n: TensorInfo.of(side[n]) for n in sorted(side)}
            for side in (definition.inputs, definition.outputs)
        )
        made[key] = Signature(key, definition.method_name, inputs, outputs)
    return made


def _same_type(given: np.dtype, wanted: tf.DType) -> bool:
    if wanted == tf.string:
        return given.kind in "OSU"
    return bool(given == wanted.as_numpy_dtype)


def _type_name(given: np.dtype) -> str:
    return "string" if given.kind in "OSU" else str(given)


def _fits(given: tuple[int, ...], wanted: tuple[int | None, ...] | None) -> bool:
    if wanted is None:
        return True
    return len(given) == len(wanted) and all(
        w is None or g == w for g, w in zip(given, wanted, strict=True)
    )
