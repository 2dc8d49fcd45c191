"""Whether a SavedModel holds nothing but ops that compute: looked at as data, nothing is run.

A SavedModel is a program. Its ops can read and write files with the rights of whoever loads it,
some of them while it is loaded.
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
# Forms that TensorFlow takes before that one, and that nobody has looked at here.
_OTHER_FORMS = ("saved_model.cpb", "saved_model.pbtxt")
_REMEDY = "load it only if you trust who made it"
_PARSED = "DecodeProtoV2"  # it reads the file of descriptors that its attribute names, if it does
_INLINE = b"bytes://"


class UntrustedExport(UserError):
    """An export that does, or may do, more than rank."""


def check_graph(folder: pathlib.Path, allow: Collection[str] = ()) -> None:
    """Nothing, if all ops of a SavedModel are on the list, and files are its checkpoint's alone.

    Args:
      folder: The SavedModel.
      allow: Names of further ops.

    Raises:
      UntrustedExport: It is not so, or the file is none.
    """
    for name in _OTHER_FORMS:
        if (folder / name).exists():
            raise UntrustedExport(f"{folder / name}: a form that is not checked; {_REMEDY}")
    file = folder / GRAPH
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(file.read_bytes())
    except (OSError, DecodeError) as error:
        raise UntrustedExport(f"{file}: no SavedModel: {one_line(error)}") from error
    allowed = ALLOWED_OPS | set(allow)
    for meta in model.meta_graphs:
        _check_meta(meta, allowed, file)


def _check_meta(meta: Any, allowed: Collection[str], file: pathlib.Path) -> None:
    graph = meta.graph_def
    functions = {f.signature.name: f for f in graph.library.function}
    nodes = {n.name: n for n in graph.node}
    # The nodes that save and load the model's own checkpoint. Only what they call may do so, and
    # nobody else may use it.
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
                f"{file}: the op {shown(node.op)}{inside} is not on the list of those that only "
                f"compute; {_REMEDY}, or allow this op by its name"
            )
        source = node.attr["descriptor_source"].s if node.op == _PARSED else _INLINE
        if not source.startswith(_INLINE):
            raise UntrustedExport(
                f"{file}: {_PARSED} reads {shown(source.decode(errors='replace'))}; {_REMEDY}"
            )


def _all_nodes(graph: Any) -> Iterator[tuple[str, Any]]:
    """Every node with the name of its function, empty outside of any."""
    for node in graph.node:
        yield "", node
    for function in graph.library.function:
        for node in function.node_def:
            yield function.signature.name, node


def _node(name: str) -> str:
    """The node of a tensor or of a control input."""
    return name.removeprefix("^").split(":")[0]


def _names_in(node: Any) -> Iterator[str]:
    """Functions that a node names in its attributes, and by its op."""
    yield node.op
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (f.name for f in value.list.func)


def _called(nodes: Iterable[Any], functions: Any) -> set[str]:
    """The functions that nodes call, and those that these call."""
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
    """The nodes that signatures give or take, those run while loading among them."""
    return {
        _node(tensor.name)
        for signature in meta.signature_def.values()
        for tensors in (signature.inputs, signature.outputs)
        for tensor in tensors.values()
    }


def _upstream(names: Iterable[str], nodes: Any) -> set[str]:
    """The nodes, and all that they need."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found and name in nodes:
            found.add(name)
            waiting += [_node(i) for i in nodes[name].input]
    return found
