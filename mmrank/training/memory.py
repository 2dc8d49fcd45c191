"""Estimates how much memory a training step will take, before it runs."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from mmrank.data.batches import Batch
from mmrank.matching.cross_encoder import CrossEncoder
from mmrank.matching.pieces import MARKS
from mmrank.matching.rows import MatchRows
from mmrank.models import FeatureEncoder, RankingModel
from mmrank.tracing import traced

GIB = 2**30
MEMINFO = pathlib.Path("/proc/meminfo")


def estimate_step_bytes(
    model: RankingModel, encoders: Sequence[FeatureEncoder], batch: Batch
) -> int:
    """Returns an upper estimate of a training step's memory in bytes.

    The estimate counts the weights four times (value, gradient, two moments), the batch, and every
    tensor that the encoders and the scorer compute in the forward pass, since the backward pass may
    need all of them.

    Args:
      model: The ranker.
      encoders: The ranker's feature encoders.
      batch: The largest batch.
    """
    weights = sum(_bytes(w.shape, w.dtype) for w in model.network.weights)
    fed = sum(a.nbytes for a in batch.values() if a.dtype != object)
    computed = 0
    for feature in encoders:
        rows = batch[feature.name].shape
        count = rows[0] if feature.side != "pair" else rows[0] * rows[1]
        spec = tf.TensorSpec([count, *feature.spec.shape[1:]], feature.spec.dtype)
        computed += _computed_bytes(functools.partial(feature.encoder, training=True), spec)
    lists, length = batch["mask"].shape
    specs = {}
    for name, tensor in model.scorer.input.items():
        shape = [lists, *tensor.shape[1:]]
        if len(shape) > 1 and shape[1] is None:
            past = name.startswith("history_") and model.history is not None
            shape[1] = batch[model.history_input("mask")].shape[1] if past else length
        specs[name] = tf.TensorSpec([lists if s is None else s for s in shape], tensor.dtype)
    computed += _computed_bytes(functools.partial(model.scorer, training=True), specs)
    if model.cross is not None and model.rows is not None:
        computed += _cross_bytes(model.cross, model.rows, lists * length)
    return 4 * weights + fed + computed


def _cross_bytes(cross: CrossEncoder, rows: MatchRows, pairs: int) -> int:
    """Returns the bytes that a cross-encoder computes for some pairs of query and candidate.

    If it recomputes activations in the backward pass, only one sub-batch of pairs counts.
    """
    read = min(pairs, cross.sub_batch) if cross.recompute else pairs
    longest = MARKS + sum(rows.query_pieces.values()) + sum(rows.item_pieces.values())
    spec = tf.TensorSpec([read, longest], tf.int32)
    return _computed_bytes(lambda pair: cross.read(*pair), (spec, spec))


def available_bytes(meminfo: pathlib.Path = MEMINFO) -> int | None:
    """Returns the available memory of this machine in bytes; None where it cannot be read.

    Linux reports it and includes file caches that it can free.

    Args:
      meminfo: The file in which Linux reports it.
    """
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kibibytes = [int(li.split()[1]) for li in lines if li.startswith("MemAvailable:")]
    return kibibytes[0] * 1024 if kibibytes else None


def _computed_bytes(function: Callable[[Any], tf.Tensor], specs: Any) -> int:
    """Returns the bytes of all tensors of known shape that a function computes on such inputs."""
    graph = traced(function).get_concrete_function(specs).graph
    total = 0
    for operation in graph.get_operations():
        if operation.type in ("Placeholder", "ReadVariableOp", "Const", "Identity"):
            continue
        total += sum(_bytes(t.shape, t.dtype) for t in operation.outputs)
    return total


def _bytes(shape: tf.TensorShape, dtype: tf.DType) -> int:
    count = shape.num_elements()
    if count is None or dtype in (tf.string, tf.resource, tf.variant):
        return 0
    return count * dtype.size
