"""What is saved for serving loads, gives its values and gradients, and can be forgotten."""

from __future__ import annotations

import gc
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from mmrank.serving.saved import save_for_serving


class Active(tf.Module):
    """Swish, whose gradient is a function of its own, within a conditional function too."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec([None], name="x")])
    def active(self, x: tf.Tensor) -> tf.Tensor:
        swished = tf.nn.silu(x * self.scale)
        return tf.cond(tf.size(x) > 1, lambda: tf.nn.silu(swished), lambda: swished)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("saved")
    module = Active()
    save_for_serving(module, folder, {"active": module.active})
    return folder


def swish(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


@pytest.mark.parametrize("x", [[0.5], [-1.0, 3.0]])
def test_values_and_gradients(saved: pathlib.Path, x: list[float]) -> None:
    loaded = tf.saved_model.load(str(saved))

    def expected(values: np.ndarray) -> np.ndarray:
        return swish(swish(2 * values)) if len(x) > 1 else swish(2 * values)

    given = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(given)
        active = loaded.active(given)
    np.testing.assert_allclose(active, expected(np.array(x)), rtol=1e-6)
    step = 1e-6
    slope = (expected(np.array(x) + step) - expected(np.array(x) - step)) / (2 * step)
    np.testing.assert_allclose(tape.gradient(active, given), slope, rtol=1e-4)


def test_no_gradient_function_is_saved(saved: pathlib.Path, tmp_path: pathlib.Path) -> None:
    def parts(folder: pathlib.Path) -> tuple[int, int]:
        model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        library = model.meta_graphs[0].graph_def.library
        nodes = [node for function in library.function for node in function.node_def]
        own = sum("_gradient_op_type" in node.attr for node in nodes)
        return own, len(library.registered_gradients)

    tf.saved_model.save(Active(), str(tmp_path))
    assert min(parts(tmp_path)) > 0
    assert parts(saved) == (0, 0)


def test_a_deleted_model_leaves_no_function(saved: pathlib.Path) -> None:
    from tensorflow.python.eager import context

    def functions() -> int:
        gc.collect()
        return len([n for n in context.context().list_function_names() if "wrapped" not in n])

    before = functions()
    loaded = tf.saved_model.load(str(saved))
    loaded.active(tf.constant([1.0, 2.0]))
    assert functions() > before
    del loaded
    assert functions() == before


def test_loading_warns_of_nothing(saved: pathlib.Path) -> None:
    code = f"import tensorflow as tf; tf.saved_model.load({str(saved)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "gradient" not in done.stderr
