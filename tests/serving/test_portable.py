"""An export of this package's own encoders has only TensorFlow's ops, so every server loads it."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import Any

import pytest
import tensorflow as tf
import tensorflow_text
from tensorflow.core.protobuf import saved_model_pb2

# The loader of TensorFlow Serving, by its C interface. TensorFlow's Python, which could register
# ops of other packages, does not run.
LOADER = """
import ctypes, importlib.util, pathlib, sys
folder = pathlib.Path(importlib.util.find_spec("tensorflow").submodule_search_locations[0])
ctypes.CDLL(str(folder / "libtensorflow_framework.so.2"), ctypes.RTLD_GLOBAL)
library = ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"))
def made(name):
    function = getattr(library, name)
    function.restype = ctypes.c_void_p
    return ctypes.c_void_p(function())
library.TF_Message.restype = ctypes.c_char_p
library.TF_LoadSessionFromSavedModel.restype = ctypes.c_void_p
status = made("TF_NewStatus")
session = library.TF_LoadSessionFromSavedModel(
    made("TF_NewSessionOptions"), None, sys.argv[1].encode(),
    (ctypes.c_char_p * 1)(b"serve"), 1, made("TF_NewGraph"), None, status,
)
assert not [name for name in sys.modules if name.startswith("tensorflow")]
print(library.TF_GetCode(status), library.TF_Message(status).decode())
raise SystemExit(0 if session else 3)
"""


def loaded(folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """The C loader's result for a SavedModel: exit code 0 or 3."""
    command = [sys.executable, "-I", "-c", LOADER, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_an_export_loads_through_the_c_interface_alone(exported: pathlib.Path) -> None:
    said = loaded(exported)
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stdout.startswith("0 ")


def test_the_c_interface_refuses_what_needs_tf_text(tmp_path: pathlib.Path) -> None:
    module = tf.Module()

    def normal(texts: tf.Tensor) -> tf.Tensor:
        return tensorflow_text.normalize_utf8(texts, "NFKC")

    module.normal = tf.function(normal, input_signature=[tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"normal": module.normal})
    said = loaded(tmp_path / "1")
    assert said.returncode == 3
    assert "NormalizeUTF8" in said.stdout


@pytest.fixture(scope="module")
def nodes(exported: pathlib.Path) -> tuple[list[Any], set[str]]:
    """Every node of an export's graph and of its functions, and the names of the functions."""
    model = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0].graph_def
    functions = {f.signature.name for f in graph.library.function}
    return [*graph.node, *(n for f in graph.library.function for n in f.node_def)], functions


def test_every_op_is_part_of_tensorflow(nodes: tuple[list[Any], set[str]]) -> None:
    assert {n.op for n in nodes[0]} - nodes[1] <= set(dir(tf.raw_ops))


def test_no_fused_kernel_computes_batch_statistics(
    nodes: tuple[list[Any], set[str]],
) -> None:
    fused = [n for n in nodes[0] if n.op.startswith("FusedBatchNorm")]
    assert fused  # in the tower of the photos
    assert not [n.name for n in fused if n.attr["is_training"].b]
