from __future__ import annotations

import numpy as np
import tensorflow as tf

from mmrank.encoders.norm import layer_norm


def test_every_row_has_mean_0_and_deviation_1():
    x = np.random.default_rng(0).normal(3.0, 2.0, (4, 5, 6)).astype(np.float32)
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(layer_norm()(x), expected, rtol=0, atol=1e-5)


def test_no_kernel_shared_by_threads_is_run():
    norm = layer_norm("norm")
    graph = tf.function(norm).get_concrete_function(tf.TensorSpec([None, None, 6])).graph
    assert norm.name == "norm"
    assert not [op.type for op in graph.get_operations() if op.type.startswith("FusedBatchNorm")]
