"""Classify and regress: lists of tf.Example in, classes or one value for each of them out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import tensorflow as tf

from mmrank.server.errors import FAILED_PRECONDITION, INVALID_ARGUMENT, ServingError
from mmrank.server.json_tensors import BASE64, decoded
from mmrank.server.signature import Signature

CLASSIFY, REGRESS = "classify", "regress"
CLASSES, SCORES, OUTPUTS = "classes", "scores", "outputs"
# What a context may come to when every example has its own; a few bytes can ask for any number.
CONTEXT_BYTES = 1 << 26


def check_signature(method: str, signature: Signature) -> None:
    """Nothing, if a signature is made for a method.

    Raises:
      ServingError: It has not one input of serialized examples and the outputs of the method. Its
        method's name is not looked at, as TensorFlow Serving does not unless told to.
    """
    kinds = [info.dtype for info in signature.inputs.values()]
    outputs = set(signature.outputs)
    fit = outputs == {OUTPUTS} if method == REGRESS else outputs and outputs <= {CLASSES, SCORES}
    if kinds != [tf.string] or not fit:
        raise ServingError(
            FAILED_PRECONDITION,
            f"signature {signature.name} takes {','.join(signature.inputs)} and gives "
            f"{','.join(outputs)}, which {method} cannot use",
        )


def read_examples(
    method: str, request: Mapping[str, Any], signature: Signature
) -> dict[str, np.ndarray]:
    """The input of a classify or regress request in JSON: examples [N], serialized.

    Args:
      method: `CLASSIFY` or `REGRESS`.
      request: With "examples", a list of features by name, and "context", those they share.
      signature: What will be run.

    Raises:
      ServingError: The request is not of that form, or the signature is not for the method.
    """
    check_signature(method, signature)
    examples = request.get("examples")
    if not isinstance(examples, list) or not examples:
        raise _wrong(f"When method is {method}, key 'examples' is expected to be a filled list")
    context = _features(request.get("context", {}))
    _check_context(_example(context), len(examples))
    made = [context | _features(example) for example in examples]
    return serialized([_example(features) for features in made], signature)


def serialized(examples: list[Any], signature: Signature) -> dict[str, np.ndarray]:
    """The signature's input of tf.Example messages."""
    array = np.empty(len(examples), object)
    array[:] = [example.SerializeToString() for example in examples]
    return {next(iter(signature.inputs)): array}


def examples_of(message: Any) -> list[Any]:
    """The tf.Example messages of an Input message, each with the context's features.

    Raises:
      ServingError: There is none, or the context is too large for that many.
    """
    kind = message.WhichOneof("kind")
    if kind == "example_list_with_context":
        given = message.example_list_with_context
        _check_context(given.context, len(given.examples))
        made = []
        for example in given.examples:
            merged = tf.train.Example()
            merged.CopyFrom(given.context)
            merged.MergeFrom(example)
            made.append(merged)
    else:
        made = list(message.example_list.examples)
    if not made:
        raise _wrong("Input is empty.")
    return made


def values_of(outputs: Mapping[str, np.ndarray], count: int) -> list[float]:
    """The regressed value of each of `count` examples.

    Raises:
      ServingError: The output is not [count] or [count, 1].
    """
    array = outputs[OUTPUTS]
    if array.shape not in ((count,), (count, 1)):
        raise ServingError(
            FAILED_PRECONDITION,
            f"Expected output Tensor shape to be either [{count}] or [{count}, 1], "
            f"got {list(array.shape)}",
        )
    return [float(v) for v in array.reshape(count)]


def classes_of(outputs: Mapping[str, np.ndarray], count: int) -> list[list[tuple[str, float]]]:
    """The classes and scores of each of `count` examples.

    Raises:
      ServingError: An output is not [count, classes].
    """
    for name, array in outputs.items():
        if array.ndim != 2 or len(array) != count:
            raise ServingError(
                FAILED_PRECONDITION, f"{name}: expected [{count}, classes], got {list(array.shape)}"
            )
    shape = next(iter(outputs.values())).shape
    labels = outputs.get(CLASSES, np.full(shape, b"", object)).tolist()
    scores = outputs.get(SCORES, np.zeros(shape)).tolist()
    return [
        [(label.decode("utf-8", "replace"), float(s)) for label, s in zip(*pair, strict=True)]
        for pair in zip(labels, scores, strict=True)
    ]


def write_results(method: str, outputs: Mapping[str, np.ndarray], count: int) -> bytes:
    """The JSON reply to a classify or regress request of `count` examples."""
    results: Any
    if method == REGRESS:
        results = values_of(outputs, count)
    else:
        results = classes_of(outputs, count)
    return orjson.dumps({"results": results})


def _check_context(context: Any, count: int) -> None:
    if context.ByteSize() * count > CONTEXT_BYTES:
        raise _wrong(
            f"a context of {context.ByteSize():,} bytes for each of {count:,} examples is more "
            f"than {CONTEXT_BYTES:,}; send fewer at once"
        )


def _features(given: Any) -> dict[str, tf.train.Feature]:
    if not isinstance(given, dict):
        raise _wrong("Example must be JSON object")
    return {name: _feature(name, value) for name, value in given.items()}


def _feature(name: str, value: Any) -> tf.train.Feature:
    values = value if isinstance(value, list) else [value]
    types = set(map(type, values))
    try:
        if types <= {int, bool}:
            return tf.train.Feature(int64_list=tf.train.Int64List(value=map(int, values)))
        if types == {float}:
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        if types <= {str, dict}:
            raw = [v.encode() if isinstance(v, str) else decoded(name, v) for v in values]
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=raw))
    except ValueError as error:
        raise _wrong(f"feature {name}: {error}") from None
    raise _wrong(
        f'feature {name}: expected whole numbers, numbers with a point, or texts and {{"{BASE64}": '
        '"..."}, of one sort'
    )


def _example(features: Mapping[str, tf.train.Feature]) -> tf.train.Example:
    return tf.train.Example(features=tf.train.Features(feature=features))


def _wrong(message: str) -> ServingError:
    return ServingError(INVALID_ARGUMENT, message)
