"""A chain of convolutions read from a TensorFlow Lite file: its steps, with their weights.

The file is read in Python. TensorFlow Lite's own interpreter is not used: it trusts its input, and
a damaged file would crash the process.
"""

from __future__ import annotations

import dataclasses
import pathlib
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as lite

from mmrank.outputs import InputError

IDENTIFIER = b"TFL3"  # in bytes 4 to 7
_DTYPES = {lite.TensorType.FLOAT32: np.dtype("<f4"), lite.TensorType.INT32: np.dtype("<i4")}


@dataclasses.dataclass(frozen=True)
class Pad:
    """Zero padding: before and after in time, before and after in bands."""

    time: tuple[int, int]
    bands: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Convolve:
    """A convolution with `kernel` [time, bands, in, out] and `bias` [out]."""

    kernel: np.ndarray
    bias: np.ndarray
    strides: tuple[int, int]
    padding: str


@dataclasses.dataclass(frozen=True)
class Leak:
    """Leaky ReLU: x if it is positive, alpha · x otherwise."""

    alpha: float


@dataclasses.dataclass(frozen=True)
class Floor:
    """The larger of x and `least`."""

    least: float


@dataclasses.dataclass(frozen=True)
class Pool:
    """The maximum over windows of `size` (time, bands)."""

    size: tuple[int, int]
    strides: tuple[int, int]
    padding: str


Step = Pad | Convolve | Leak | Floor | Pool


@dataclasses.dataclass(frozen=True)
class Chain:
    """The computation of a file on one spectrogram [frames, bands].

    Attributes:
      frames, bands: Shape of the input.
      steps: The steps from the input to the output.
    """

    frames: int
    bands: int
    steps: tuple[Step, ...]


def read_chain(file: pathlib.Path) -> Chain:
    """Returns the chain of a TensorFlow Lite file with one input [N, frames, bands, 1].

    Raises:
      InputError: The file cannot be read, or holds anything other than such a chain in 32 bits.
    """
    content = file.read_bytes()
    if content[4:8] != IDENTIFIER:
        raise InputError(f"{file}: not a TensorFlow Lite file")
    try:
        return _chain(lite.ModelT.InitFromObj(lite.Model.GetRootAs(content, 0)))
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    # A damaged file with wrong offsets and lengths raises any of these.
    except (ValueError, TypeError, AttributeError, LookupError, struct.error) as error:
        raise InputError(f"{file}: damaged: {error}; download it again") from error


def _chain(model: Any) -> Chain:
    if len(model.subgraphs) != 1:
        raise InputError(f"has {len(model.subgraphs)} graphs, but must have one")
    (graph,) = model.subgraphs
    (given, *more), (asked, *others) = graph.inputs, graph.outputs
    # Not `shapeSignature`, which has −1 for a dimension that may vary.
    shape = [int(size) for size in graph.tensors[given].shape]
    if more or others or len(shape) != 4 or shape[3] != 1:
        raise InputError(f"takes {shape}, not one spectrogram [1, frames, bands, 1]")
    steps, at = [], given
    for number, operator in enumerate(graph.operators):
        code = model.operatorCodes[operator.opcodeIndex]
        kind = max(code.builtinCode, code.deprecatedBuiltinCode)  # old files set only the latter
        if kind not in _STEPS:
            names = {value: name for name, value in vars(lite.BuiltinOperator).items()}
            raise InputError(
                f"operator {number} is {names.get(kind, kind)}; known: "
                f"{', '.join(names[known] for known in _STEPS)}"
            )
        first, *rest = operator.inputs
        if first != at:
            raise InputError(f"operator {number} does not read the output of the one before it")
        constants = [_constant(model, graph.tensors[i]) for i in rest]
        steps.append(_STEPS[kind](operator.builtinOptions, *constants))
        (at,) = operator.outputs
    if at != asked:
        raise InputError("its last operator does not produce the output")
    return Chain(shape[1], shape[2], tuple(steps))


def _constant(model: Any, tensor: Any) -> np.ndarray:
    """Returns the value of a tensor that is stored in the file."""
    if tensor.type not in _DTYPES:
        raise InputError("its weights are not of 32 bits; use the file that is not quantized")
    data, shape = model.buffers[tensor.buffer].data, tensor.shape
    if data is None:
        raise InputError("a weight is computed or missing; use the file that is not quantized")
    return np.array(data).view(_DTYPES[tensor.type]).reshape([] if shape is None else shape)


def _pad(options: Any, borders: np.ndarray) -> Pad:
    if borders.shape != (4, 2) or borders[[0, 3]].any():
        raise InputError(f"pads by {borders.tolist()}, not in time and bands")
    (before, after), (low, high) = borders[1:3].tolist()
    return Pad((before, after), (low, high))


def _convolve(options: Any, kernel: np.ndarray, bias: np.ndarray) -> Convolve:
    _check_plain(options)
    if options.dilationHFactor != 1 or options.dilationWFactor != 1:
        raise InputError("a convolution is dilated; only plain ones are supported")
    if kernel.dtype != np.float32 or bias.dtype != np.float32:
        raise InputError(
            f"weights are {kernel.dtype}, not float32; use the file from before quantization"
        )
    if kernel.ndim != 4 or bias.shape != kernel.shape[:1]:
        raise InputError(f"a convolution has weights {kernel.shape} and {bias.shape}")
    # [out, time, bands, in] in a file
    return Convolve(kernel.transpose(1, 2, 3, 0), bias, _strides(options), _padding(options))


def _leak(options: Any) -> Leak:
    return Leak(float(options.alpha))


def _floor(options: Any, least: np.ndarray) -> Floor:
    return Floor(float(least.reshape(())))


def _pool(options: Any) -> Pool:
    _check_plain(options)
    size = (options.filterHeight, options.filterWidth)
    return Pool(size, _strides(options), _padding(options))


def _check_plain(options: Any) -> None:
    if options.fusedActivationFunction != lite.ActivationFunctionType.NONE:
        raise InputError("an operator has a fused activation; only LEAKY_RELU is supported")


def _strides(options: Any) -> tuple[int, int]:
    return options.strideH, options.strideW


def _padding(options: Any) -> str:
    return "SAME" if options.padding == lite.Padding.SAME else "VALID"


_STEPS: dict[int, Callable[..., Step]] = {
    lite.BuiltinOperator.PAD: _pad,
    lite.BuiltinOperator.CONV_2D: _convolve,
    lite.BuiltinOperator.LEAKY_RELU: _leak,
    lite.BuiltinOperator.MAXIMUM: _floor,
    lite.BuiltinOperator.MAX_POOL_2D: _pool,
}
