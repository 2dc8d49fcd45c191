"""Saves a module for serving: signatures without what only training through them needs."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from mmrank.serving.graph_check import GRAPH

__all__ = ["save_for_serving"]

_GRADIENT = "_gradient_op_type"
_FINGERPRINT = "fingerprint.pb"


def save_for_serving(
    module: tf.Module, folder: pathlib.Path, signatures: Mapping[str, Any] | None = None
) -> None:
    """Writes a SavedModel without the gradient functions of its ops.

    Ops such as swish have a gradient of their own, and TensorFlow stores a function for each.
    Serving never calls them, yet they make a graph larger. Worse, TensorFlow keeps each such
    function, and with it the whole loaded model, for the rest of a process that loads it, so that a
    process that loads a new version every day would grow by a model every day. A gradient through
    the saved ops still has the same value: it passes through the ops that compute them.

    Args:
      module: What is saved.
      folder: The folder of the SavedModel.
      signatures: Concrete functions by signature; by default those of `module`.

    Example:
      >>> import pathlib
      >>> import tensorflow as tf
      >>> module = tf.Module()
      >>> module.active = tf.function(tf.nn.silu, input_signature=[tf.TensorSpec([None])])
      >>> save_for_serving(module, pathlib.Path("saved"), {"active": module.active})
      >>> served = tf.saved_model.load("saved").signatures["active"]
      >>> served(tf.constant([0.0]))["output_0"].numpy()
      array([0.], dtype=float32)
    """
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(folder), signatures=signatures, options=options)
    saved = saved_model_pb2.SavedModel.FromString((folder / GRAPH).read_bytes())
    for meta_graph in saved.meta_graphs:
        graph = meta_graph.graph_def
        for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
            for node in nodes:
                # The name of a function that was not saved: loading would warn about each of them.
                node.attr.pop(_GRADIENT, None)
    (folder / GRAPH).write_bytes(saved.SerializeToString(deterministic=True))
    # A hash of the file as it was before; TensorFlow does not need it to load.
    (folder / _FINGERPRINT).unlink(missing_ok=True)
