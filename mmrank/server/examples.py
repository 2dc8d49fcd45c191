"""Classify and regress: lists of tf.Example in, classes or one value for each example out."""

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
# Most bytes of all copies of a context, one for each example. A short request can name many
# examples.
CONTEXT_BYTES = 1 << 26


def check_signature(method: str, signature: Signature) -> None:
    """Checks that a signature fits a method.

    The signature's method name is not checked, as in TensorFlow Serving by default.

    Raises:
      ServingError: The signature does not have exactly one input, of serialized examples, and the
        outputs of the method.
    """
    kinds = [info.dtype for info in signature.inputs.values()]
    outputs = set(signature.outputs)
    fit = outputs == {OUTPUTS} if method == REGRESS else outputs and outputs <= {CLASSES, SCORES}
    if kinds != [tf.string] or not fit:
        raise ServingError(
            FAILED_PRECONDITION,
            f"signature {signature.name} has the inputs {','.join(signature.inputs)} and the "
            f"outputs {','.join(outputs)}, which {method} cannot use",
        )


def read_examples(
    method: str, request: Mapping[str, Any], signature: Signature
) -> dict[str, np.ndarray]:
    """Returns the input of a classify or regress request in JSON: serialized examples [N].

    Args:
      method: `CLASSIFY` or `REGRESS`.
      request: Holds "examples", a list of features by name, and optionally "context", the features
        that all examples share.
      signature: The signature that will be run.

    Raises:
      ServingError: The request does not have that form, or the signature does not fit the method.
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
    """Returns the signature's input for tf.Example messages, [N] of bytes, by its name."""
    array = np.empty(len(examples), object)
    array[:] = [example.SerializeToString() for example in examples]
    return {next(iter(signature.inputs)): array}


def examples_of(message: Any) -> list[Any]:
    """Returns the tf.Example messages of an Input message, each with the context's features.

    Raises:
      ServingError: There are no examples, or the context is too large for that many examples.
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
    """Returns the regressed value of each of `count` examples.

    Raises:
      ServingError: The output's shape is not [count] or [count, 1].
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
    """Returns the classes and scores of each of `count` examples.

    Raises:
      ServingError: An output's shape is not [count, classes].
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
    """Returns the JSON reply to a classify or regress request with `count` examples."""
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
        f'feature {name}: expected integers, decimal numbers, or texts and {{"{BASE64}": "..."}}, '
        "all of one type"
    )


def _example(features: Mapping[str, tf.train.Feature]) -> tf.train.Example:
    return tf.train.Example(features=tf.train.Features(feature=features))


def _wrong(message: str) -> ServingError:
    return ServingError(INVALID_ARGUMENT, message)
