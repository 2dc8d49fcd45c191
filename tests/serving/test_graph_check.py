"""SavedModels that do more than compute are refused before any part of them is run."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from mmrank.serving.allowed_ops import ALLOWED_OPS
from mmrank.serving.graph_check import UntrustedExport, check_graph

SPEC = [tf.TensorSpec([], tf.string)]


class Model(tf.Module):
    """A model with one signature, a weight and a table."""

    def __init__(self, function: Callable[[tf.Tensor], tf.Tensor]):
        super().__init__()
        self.weight = tf.Variable(2.0)
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(tf.constant(["a"]), tf.constant([1.0])), 0.0
        )
        self.serve = tf.function(
            lambda text: {"scores": function(text) + self.weight + self.table.lookup(text)},
            input_signature=SPEC,
        )


def length(text: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.strings.length(text), tf.float32)


def saved(folder: pathlib.Path, function: Callable[[tf.Tensor], tf.Tensor]) -> pathlib.Path:
    model = Model(function)
    tf.saved_model.save(model, str(folder), signatures=model.serve)
    return folder


def reads(text: tf.Tensor) -> tf.Tensor:
    return length(tf.io.read_file("/etc/hostname"))


def writes(text: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([tf.io.write_file("/tmp/never", text)]):
        return length(text)


def calls_python(text: tf.Tensor) -> tf.Tensor:
    return length(tf.ensure_shape(tf.numpy_function(lambda t: t, [text], tf.string), []))


def hidden_in_a_branch(text: tf.Tensor) -> tf.Tensor:
    return tf.cond(text == "now", lambda: reads(text), lambda: 0.0)


def hidden_in_a_loop(text: tf.Tensor) -> tf.Tensor:
    return tf.while_loop(lambda n: n < 1.0, lambda n: n + 1.0 + 0.0 * reads(text), [0.0])[0]


def saves_a_checkpoint(text: tf.Tensor) -> tf.Tensor:
    save = tf.raw_ops.SaveV2(
        prefix="/tmp/never", tensor_names=["a"], shape_and_slices=[""], tensors=[text]
    )
    with tf.control_dependencies([save]):
        return length(text)


def loads_a_checkpoint(text: tf.Tensor) -> tf.Tensor:
    (value,) = tf.raw_ops.RestoreV2(
        prefix=text, tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.string]
    )
    return length(tf.reshape(value, []))


def maps_a_file(text: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.ImmutableConst(dtype=tf.float32, shape=[], memory_region_name="/etc/passwd")


def reads_descriptors(text: tf.Tensor) -> tf.Tensor:
    decoded = tf.raw_ops.DecodeProtoV2(
        bytes=text,
        message_type="tensorflow.Example",
        field_names=["features"],
        output_types=[tf.string],
        descriptor_source="/etc/passwd",
    )
    return tf.cast(tf.size(decoded.sizes), tf.float32)


def test_a_model_that_computes_passes(tmp_path: pathlib.Path) -> None:
    check_graph(saved(tmp_path / "model", length))


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (reads, "the op 'ReadFile'"),
        (writes, "the op 'WriteFile'"),
        (calls_python, "the op 'PyFunc'"),
        (hidden_in_a_branch, "the op 'ReadFile' in '.*true"),
        (hidden_in_a_loop, "the op 'ReadFile' in '.*body"),
        (saves_a_checkpoint, "the op 'SaveV2'"),
        (loads_a_checkpoint, "the op 'RestoreV2'"),
        (maps_a_file, "the op 'ImmutableConst'"),
        (reads_descriptors, "DecodeProtoV2 reads '/etc/passwd'"),
    ],
)
def test_a_graph_with_other_ops_is_refused_in_one_line(
    tmp_path: pathlib.Path, function: Callable[[tf.Tensor], tf.Tensor], problem: str
) -> None:
    with pytest.raises(UntrustedExport, match=problem) as raised:
        check_graph(saved(tmp_path / "model", function))
    assert "load it only if you trust who made it" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_op_can_be_allowed_by_name(tmp_path: pathlib.Path) -> None:
    check_graph(saved(tmp_path / "model", reads), allow=["ReadFile"])


def altered(folder: pathlib.Path, change: Callable[[saved_model_pb2.SavedModel], None]) -> None:
    file = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    change(model)
    file.write_bytes(model.SerializeToString())


def test_no_signature_may_save_or_load_other_files(tmp_path: pathlib.Path) -> None:
    """A signature that saves, and a loader that reads from or writes to other files."""

    def serves_the_saver(model: saved_model_pb2.SavedModel) -> None:
        meta = model.meta_graphs[0]
        meta.signature_def["serving_default"].outputs["path"].name = meta.saver_def.save_tensor_name

    def loads_from_elsewhere(model: saved_model_pb2.SavedModel) -> None:
        for function in model.meta_graphs[0].graph_def.library.function:
            for node in function.node_def:
                if node.op == "RestoreV2":
                    node.input[0] = "elsewhere:output:0"

    def saves_while_loading(model: saved_model_pb2.SavedModel) -> None:
        saver = model.meta_graphs[0].saver_def
        saver.restore_op_name = saver.save_tensor_name.split(":")[0]

    def is_called_by_name(model: saved_model_pb2.SavedModel) -> None:
        meta = model.meta_graphs[0]
        (name,) = (
            f.signature.name
            for f in meta.graph_def.library.function
            if any(n.op == "SaveV2" for n in f.node_def)
        )
        meta.object_graph_def.concrete_functions[name].SetInParent()

    for number, change in enumerate(
        (serves_the_saver, loads_from_elsewhere, saves_while_loading, is_called_by_name)
    ):
        folder = saved(tmp_path / str(number), length)
        check_graph(folder)
        altered(folder, change)
        with pytest.raises(UntrustedExport, match="checkpoints|SaveV2|RestoreV2|ShardedFilename"):
            check_graph(folder)


@pytest.mark.parametrize("name", ["saved_model.cpb", "saved_model.pbtxt"])
def test_other_forms_that_tensorflow_would_take_first_are_refused(
    tmp_path: pathlib.Path, name: str
) -> None:
    folder = saved(tmp_path / "model", length)
    (folder / name).touch()
    with pytest.raises(UntrustedExport, match="a form that cannot be checked"):
        check_graph(folder)


def test_a_file_that_is_not_a_savedmodel_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\xff" * 100)
    with pytest.raises(UntrustedExport, match="not a SavedModel"):
        check_graph(tmp_path)


def test_no_op_of_files_networks_or_python_is_on_the_list() -> None:
    outside = "ReadFile WriteFile MatchingFiles PyFunc PyFuncStateless EagerPyFunc PrintV2 Print"
    outside += " ImmutableConst InitializeTableFromTextFileV2 RemoteCall TextLineDataset Save Send"
    outside += " DebugIdentityV2 RestoreSlice SaveV2 RestoreV2 WriteSummary EncodeProto"
    assert not ALLOWED_OPS & set(outside.split())
    known = {name for name in ALLOWED_OPS if hasattr(tf.raw_ops, name)}
    of_tf_text = {n for n in ALLOWED_OPS - known if n.endswith(("Op", "Offsets", "OffsetsV2"))}
    of_tf_text |= {"CaseFoldUTF8", "NormalizeUTF8", "NormalizeUTF8WithOffsetsMap"}
    assert ALLOWED_OPS - known <= of_tf_text | {"SentencepieceGetPieceSize"}
