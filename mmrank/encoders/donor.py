"""Encoders reused from a finished run: its options, its vocabulary, its best weights.

The weights are found in the run's checkpoint by the structure and the shapes of the encoder that
needs them, so that nothing else of that run has to be built.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from mmrank.config import CONFIG_FILE, FEATURES_FILE, STATE_FILE, ConfigError, load_config
from mmrank.data.run_state import DAMAGED, read_state
from mmrank.outputs import read_json
from mmrank.schema import Feature, load_schema

_NOT_TAKEN = ("weights", "trainable", "handle")
_VALUE = "VARIABLE_VALUE"


def is_run(weights: str) -> bool:
    """Returns whether the option `weights` names the folder of a run."""
    return (pathlib.Path(weights) / STATE_FILE).is_file()


def best_weights(run: pathlib.Path) -> pathlib.Path:
    """Returns the prefix of the checkpoint with a run's best weights.

    Raises:
      ConfigError: The run has not finished an epoch yet.
    """
    state = read_state(run / STATE_FILE)
    if state.get("best_weights") is None:
        raise ConfigError(f"{run}: no epoch is finished yet, so no weights can be taken from it")
    return run / state["best_weights"]


def checkpoint_files(prefix: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files of a checkpoint."""
    return sorted(prefix.parent.glob(f"{prefix.name}.index")) + sorted(
        prefix.parent.glob(f"{prefix.name}.data-*")
    )


def donor_of(feature: Feature, run: pathlib.Path) -> tuple[Feature, dict[str, Any]]:
    """Returns the feature of a run whose encoder is reused, with its options in that run's config.

    It is the feature of the same name, or else the only one of the same kind.

    Raises:
      ConfigError: The run has neither a feature of that name nor exactly one of that kind.
    """
    config, schema = load_config(run / CONFIG_FILE), load_schema(run, data=False)
    able = [
        f
        for f in schema.side("item", "query", "user")
        if f.kind == feature.kind and f.name not in config.model.drop
    ]
    named = [f for f in able if f.name == feature.name] or able
    if len(named) != 1:
        has = ", ".join(f.name for f in able) or "none"
        raise ConfigError(
            f"feature {feature.name!r}: {run} has no {feature.kind} feature of this name and not "
            f"exactly one of this kind ({has}); give the feature the name of the one whose "
            "weights it takes"
        )
    donor, encoders = named[0], config.model.encoders
    return donor, {**(encoders.get(donor.kind) or {}), **(encoders.get(donor.name) or {})}


def taken_options(donor: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the donor's options (a dataclass) except `_NOT_TAKEN`, overridden by `options`."""
    taken = {n: v for n, v in vars(donor).items() if n not in _NOT_TAKEN}
    return {**taken, **options}


def fitted_state(run: pathlib.Path, name: str) -> dict[str, Any]:
    """Returns the fitted state of a feature of a run."""
    return read_json(run / FEATURES_FILE, DAMAGED)[name]


def take_weights(layer: tf.keras.layers.Layer, run: pathlib.Path, where: str) -> None:
    """Gives a built layer the weights of a run's encoder that has the same structure.

    Args:
      layer: The layer. Its structure and shapes identify the encoder in the run.
      run: The folder of a finished run.
      where: Start of an error message.

    Raises:
      ConfigError: No encoder of the run matches, or several do.
    """
    reader = tf.train.load_checkpoint(str(best_weights(run)))
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
        reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
    )
    found = {}
    for node in range(len(graph.nodes)):
        keys = _keys(layer, graph, node, reader.get_variable_to_shape_map())
        if keys is not None:
            found[tuple(sorted(keys.values()))] = keys
    if len(found) != 1:
        raise ConfigError(
            f"{where}: {len(found) or 'none'} of the trained encoders in {run} "
            f"{'have' if found else 'has'} this shape; use the options of that run's "
            f"{CONFIG_FILE}, or, if its encoder was frozen, the same weights as that run"
        )
    (keys,) = found.values()
    for weight in layer.weights:
        weight.assign(reader.get_tensor(keys[id(weight)]))


def _keys(
    layer: tf.keras.layers.Layer, graph: Any, node: int, shapes: Mapping[str, list[int]]
) -> dict[int, str] | None:
    """Returns checkpoint keys by the id() of the layer's weights; None if the node does not match.

    Only layers with weights are compared: their numbering does not depend on layers without
    weights, such as dropout.
    """
    keys: dict[int, str] = {}
    seen: dict[int, Any] = {}  # holds the objects too, so that no id() is reused
    pairs: list[tuple[Any, int]] = [(layer, node)]
    while pairs:
        own, other = pairs.pop()
        if id(own) in seen:
            continue
        seen[id(own)] = own
        if isinstance(own, tf.Variable):
            key = next(
                (a.checkpoint_key for a in graph.nodes[other].attributes if a.name == _VALUE), None
            )
            if key is None or shapes.get(key) != own.shape.as_list():
                return None
            keys[id(own)] = key
            continue
        children = {c.local_name: c.node_id for c in graph.nodes[other].children}
        for name, child in tf.train.TrackableView.children(own).items():
            if name.startswith("layer-") or name not in children:
                continue
            pairs.append((child, children[name]))
    return keys if all(id(w) in keys for w in layer.weights) else None
