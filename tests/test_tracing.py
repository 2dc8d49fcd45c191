"""Functions are traced as they are written: AutoGraph converts nothing below them."""

from __future__ import annotations

import pytest
import tensorflow as tf

from mmrank.tracing import as_written, traced

SPEC = [tf.TensorSpec([], tf.float32)]


class Branching(tf.keras.layers.Layer):
    """A layer that only AutoGraph can trace."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        if x > 0:
            return x
        return -x


def branching(x: tf.Tensor) -> tf.Tensor:
    return Branching()(x)


def test_autograph_would_convert_the_layer() -> None:
    assert tf.function(branching)(tf.constant(-2.0)).numpy() == 2.0


@pytest.mark.parametrize("function", [traced(branching), tf.function(as_written(branching))])
def test_a_traced_function_converts_nothing_below_it(function) -> None:
    with pytest.raises(Exception, match="symbolic `tf.Tensor` as a Python `bool`"):
        function(tf.constant(-2.0))


def test_a_function_of_its_own_is_still_converted() -> None:
    own = tf.function(branching)
    assert traced(lambda x: own(x) + 1.0, SPEC)(tf.constant(-2.0)).numpy() == 3.0


def test_signature_and_options_reach_tensorflow() -> None:
    graph = traced(
        lambda x: x * 2.0, SPEC, experimental_attributes={"_noinline": True}
    ).get_concrete_function()
    assert graph.function_def.attr["_noinline"].b
    assert graph(tf.constant(4.0)).numpy() == 8.0
    assert graph.structured_input_signature[0] == (tf.TensorSpec([], tf.float32, name="x"),)


def test_a_network_is_built_and_trained_without_autograph(run) -> None:
    """The layers of a ranker are Keras layers, which AutoGraph would convert when called."""
    from tensorflow.python.autograph.impl import api

    from mmrank.build import build_model

    with pytest.MonkeyPatch.context() as patched:
        converted: list[str] = []
        patched.setattr(
            api, "_convert_actual", lambda entity, ctx: converted.append(entity.__qualname__)
        )
        build_model(run.config, run.fitted)
    assert converted == []
