"""Checks that a SavedModel holds only ops that compute.

The file is parsed as data; nothing in it is run. A SavedModel is a program: its ops can read and
write files with the rights of the user who loads it, and some of them run during loading.
"""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from mmrank.outputs import UserError, one_line, shown
from mmrank.serving.allowed_ops import ALLOWED_OPS, LOADS, SAVER_OPS

GRAPH = "saved_model.pb"
# File forms that TensorFlow prefers to `GRAPH`, and that this module does not check.
_OTHER_FORMS = ("saved_model.cpb", "saved_model.pbtxt")
_REMEDY = "load it only if you trust who made it"
_PARSED = "DecodeProtoV2"  # reads a file of descriptors if its attribute names one
_INLINE = b"bytes://"


class UntrustedExport(UserError):
    """Raised for an export that does, or may do, more than rank.

    Example:
      >>> import pathlib
      >>> check_graph(pathlib.Path("."))  # an empty folder
      Traceback (most recent call last):
      mmrank.serving.graph_check.UntrustedExport: saved_model.pb: not a SavedModel: ...
    """


def check_graph(folder: pathlib.Path, allow: Collection[str] = ()) -> None:
    """Checks that all ops of a SavedModel are allowed, and access only its own checkpoint.

    Args:
      folder: The SavedModel.
      allow: Names of further allowed ops.

    Raises:
      UntrustedExport: An op is not allowed or reads or writes another file, or the file is not a
        SavedModel.

    Example:
      >>> import pathlib
      >>> from tensorflow.core.protobuf import saved_model_pb2
      >>> model = saved_model_pb2.SavedModel()
      >>> _ = model.meta_graphs.add().graph_def.node.add(name="file", op="ReadFile")
      >>> _ = pathlib.Path("saved_model.pb").write_bytes(model.SerializeToString())
      >>> check_graph(pathlib.Path("."))
      Traceback (most recent call last):
      mmrank.serving.graph_check.UntrustedExport: saved_model.pb: the op 'ReadFile' is not on ...
      >>> check_graph(pathlib.Path("."), allow=["ReadFile"])
    """
    for name in _OTHER_FORMS:
        if (folder / name).exists():
            raise UntrustedExport(
                f"{folder / name}: a SavedModel in a form that cannot be checked; {_REMEDY}"
            )
    file = folder / GRAPH
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(file.read_bytes())
    except (OSError, DecodeError) as error:
        raise UntrustedExport(f"{file}: not a SavedModel: {one_line(error)}") from error
    allowed = ALLOWED_OPS | set(allow)
    for meta in model.meta_graphs:
        _check_meta(meta, allowed, file)


def _check_meta(meta: Any, allowed: Collection[str], file: pathlib.Path) -> None:
    graph = meta.graph_def
    functions = {f.signature.name: f for f in graph.library.function}
    nodes = {n.name: n for n in graph.node}
    # The nodes that save and load the model's own checkpoint. Only the functions that they call
    # may contain saver ops, and nothing else may call these functions.
    saver, loader = _node(meta.saver_def.save_tensor_name), _node(meta.saver_def.restore_op_name)
    saving, loading = (
        _called([nodes[n]] if n in nodes else [], functions) for n in (saver, loader)
    )
    other = [n for n in graph.node if n.name not in (saver, loader)]
    elsewhere = _called(other, functions)
    elsewhere |= _called_by_name(meta.object_graph_def.concrete_functions, functions)
    if {saver, loader} & _upstream(_signature_nodes(meta), nodes):
        raise UntrustedExport(
            f"{file}: a signature reads or writes checkpoints, which only loading and saving the "
            f"model should; {_REMEDY}"
        )
    for where, node in _all_nodes(graph):
        kept = False
        if node.op in SAVER_OPS and where not in elsewhere:
            kept = where in saving - loading
            if node.op == LOADS:
                given = {a.name for a in functions[where].signature.input_arg} if where else set()
                kept = where in loading - saving and node.input[0] in given
        if node.op not in allowed and node.op not in functions and not kept:
            inside = f" in {shown(where)}" if where else ""
            raise UntrustedExport(
                f"{file}: the op {shown(node.op)}{inside} is not on the list of ops that only "
                f"compute; {_REMEDY}, or allow this op by its name"
            )
        source = node.attr["descriptor_source"].s if node.op == _PARSED else _INLINE
        if not source.startswith(_INLINE):
            raise UntrustedExport(
                f"{file}: {_PARSED} reads {shown(source.decode(errors='replace'))}; {_REMEDY}"
            )


def _all_nodes(graph: Any) -> Iterator[tuple[str, Any]]:
    """Yields every node with the name of its function, empty outside of functions."""
    for node in graph.node:
        yield "", node
    for function in graph.library.function:
        for node in function.node_def:
            yield function.signature.name, node


def _node(name: str) -> str:
    """Returns the name of the node of a tensor or of a control input."""
    return name.removeprefix("^").split(":")[0]


def _names_in(node: Any) -> Iterator[str]:
    """Yields the names of the functions that a node may call: its op and those in attributes."""
    yield node.op
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (f.name for f in value.list.func)


def _called(nodes: Iterable[Any], functions: Any) -> set[str]:
    """Returns the names of the functions that nodes call, directly or through other functions."""
    return _called_by_name((n for node in nodes for n in _names_in(node)), functions)


def _called_by_name(names: Iterable[str], functions: Any) -> set[str]:
    found: set[str] = set()
    waiting = [n for n in names if n in functions]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            body = functions[name].node_def
            waiting += [n for node in body for n in _names_in(node) if n in functions]
    return found


def _signature_nodes(meta: Any) -> set[str]:
    """Returns the input and output nodes of all signatures, including those run on loading."""
    return {
        _node(tensor.name)
        for signature in meta.signature_def.values()
        for tensors in (signature.inputs, signature.outputs)
        for tensor in tensors.values()
    }


def _upstream(names: Iterable[str], nodes: Any) -> set[str]:
    """Returns the nodes and all nodes that they depend on."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found and name in nodes:
            found.add(name)
            waiting += [_node(i) for i in nodes[name].input]
    return found
