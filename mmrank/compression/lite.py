"""Writes the towers and the scorer for TensorFlow Lite, with weights of 8 bits, and runs them.

The three files hold the three graphs of `mmrank.models.RankingModel`, without preprocessing:

    items.tflite      encoder inputs of items [N, ...]           → tokens [N, M, D], present [N, M]
    contexts.tflite   encoder inputs of query and user [B, ...]  → contexts, contexts_present
    scores.tflite     contexts, tokens of candidates and history → scores [B, L], or one by task
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.models import RankingModel
from mmrank.outputs import UserError
from mmrank.scoring import by_name, encoded_contexts, scorer_inputs
from mmrank.tracing import traced
from mmrank.versions import CLASSIC, VersionSet, version_set_of

ITEMS, CONTEXTS, SCORES = "items", "contexts", "scores"
SUFFIX = ".tflite"
FOLDER = pathlib.PurePath("assets.extra", "lite")
Tensors = Mapping[str, tf.Tensor]


class LiteError(UserError):
    """Raised for a ranker that TensorFlow Lite cannot convert."""


def check_interpreter(version_set: VersionSet | None = None) -> None:
    """Checks that files for TensorFlow Lite can be run here, to measure and compare their scores.

    Args:
      version_set: The library versions; None for those of this Python.

    Raises:
      LiteError: TensorFlow's interpreter lacks the `select TF ops`, as 2.21's does.
    """
    version_set = version_set or version_set_of()
    if version_set is not CLASSIC:
        raise LiteError(
            f"dynamic_range: TensorFlow {version_set.bounds['tensorflow'].lstrip('=')} cannot run "
            "files for TensorFlow Lite that need `select TF ops`, so they could not be checked; "
            "export the run with Python 3.11, or leave dynamic_range out"
        )


def write_lite(model: RankingModel, folder: pathlib.Path) -> None:
    """Writes the three files, with weights quantised by dynamic range.

    Weight matrices are stored as int8. Activations are quantised at run time where this is faster.
    Operations that TensorFlow Lite lacks need its `select TF ops`, which the Python interpreter of
    TensorFlow 2.15 has built in.

    Args:
      model: The ranker.
      folder: The folder for the files; it is made, and must not exist.

    Raises:
      LiteError: TensorFlow Lite cannot convert a graph, such as one that takes texts, or cannot
        run it with this Python.
    """
    check_interpreter()
    parts: dict[str, tuple[tf.keras.Model, Callable[[Tensors], Tensors]]] = {
        ITEMS: (model.item_tower, lambda x: model.item_tower(x, training=False)),
        CONTEXTS: (model.context_tower, lambda x: encoded_contexts(model, x)),
        SCORES: (model.scorer, lambda x: by_name(model, model.scorer(x, training=False))),
    }
    folder.mkdir(parents=True)
    for name, (keras_model, function) in parts.items():
        (folder / f"{name}{SUFFIX}").write_bytes(_converted(name, keras_model, function))


def _converted(
    name: str, keras_model: tf.keras.Model, function: Callable[[Tensors], Tensors]
) -> bytes:
    """Returns the TensorFlow Lite model of a function of a Keras model's inputs."""
    specs = {n: tf.TensorSpec(t.shape, t.dtype, n) for n, t in keras_model.input.items()}
    texts = [n for n, spec in specs.items() if spec.dtype == tf.string]
    if texts:
        raise LiteError(
            f"dynamic_range: the encoder of {', '.join(texts)} takes texts, which TensorFlow Lite "
            "does not support; leave dynamic_range out, or train with "
            "model.encoders.text.encoder bert"
        )
    graph = traced(lambda **inputs: function(inputs)).get_concrete_function(**specs)
    # With the Keras model itself, the converter would trace every call of every layer again.
    holder = tf.Module()
    holder.weights = list(keras_model.weights)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph], holder)
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS,
        tf.lite.OpsSet.SELECT_TF_OPS,
    ]
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    try:
        return converter.convert()
    except Exception as error:  # the converter raises several kinds, RuntimeError among them
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise LiteError(
            f"dynamic_range: TensorFlow Lite cannot convert the graph of {name}: {reason[0]}; "
            "leave dynamic_range out"
        ) from error


class LiteRanker:
    """Runs the three files: `mmrank.scoring.ListScorer` takes its `encode` and `score`.

    Args:
      model: The ranker that the files were written from; only its names are read.
      folder: The folder that `write_lite` made.
      threads: Number of threads of each interpreter.
    """

    def __init__(self, model: RankingModel, folder: pathlib.Path, threads: int = 1):
        self._model = model
        self._run = {
            n: _Runner(folder / f"{n}{SUFFIX}", threads) for n in (ITEMS, CONTEXTS, SCORES)
        }

    def encode(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """Returns tokens [N, M, D] and present [N, M] for items' encoder inputs [N, ...]."""
        return self._run[ITEMS](inputs)

    def score(self, table: Tensors, batch: Tensors) -> dict[str, tf.Tensor]:
        """Returns scores [B, L] by task; arguments as for `mmrank.scoring.score_with_table`."""
        contexts = self._run[CONTEXTS](batch)
        return self._run[SCORES](scorer_inputs(self._model, table, batch, contexts))


class _Runner:
    """One file as a function of named tensors of any size.

    Args:
      file: The TensorFlow Lite model.
      threads: Number of threads of the interpreter.
    """

    def __init__(self, file: pathlib.Path, threads: int):
        self._interpreter = tf.lite.Interpreter(str(file), num_threads=threads)
        self._function: Any = self._interpreter.get_signature_runner()
        self._names = self._function.get_input_details()

    def __call__(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        given = self._function(**{n: np.asarray(inputs[n]) for n in self._names})
        return {n: tf.constant(v) for n, v in given.items()}
