"""Functions as TensorFlow graphs, traced as they are written.

AutoGraph rewrites Python's `if` and `for` over tensors before a function is traced. No layer here
needs that: they use `tf.where`, `tf.cond` and the like. Rewriting every layer took a third of the
time that a small training needed to begin, so it is switched off where graphs begin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf

Function = TypeVar("Function", bound=Callable[..., Any])


def as_written(function: Function) -> Function:
    """Returns the function with AutoGraph off for it and all that it calls.

    A function below it that is a `tf.function` of its own is still converted.

    Args:
      function: Any function of tensors.

    Example:
      >>> import tensorflow as tf
      >>> half = tf.function(as_written(lambda x: tf.where(x > 0, x / 2, x)))
      >>> half(tf.constant([4.0, -4.0])).numpy().tolist()
      [2.0, -4.0]
    """
    return tf.autograph.experimental.do_not_convert(function)


def traced(function: Callable[..., Any], signature: Any = None, **options: Any) -> Any:
    """Returns the function as a `tf.function` that is traced as it is written.

    Args:
      function: A function of tensors.
      signature: `input_signature` of `tf.function`; None for one trace per kind of input.
      **options: Further options of `tf.function`.

    Example:
      >>> import tensorflow as tf
      >>> double = traced(lambda x: x * 2, [tf.TensorSpec([None], tf.int32)])
      >>> double(tf.constant([1, 2])).numpy().tolist()
      [2, 4]
    """
    return tf.function(as_written(function), input_signature=signature, autograph=False, **options)
