"""Imports TF-Ranking; no other module does."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator
from typing import Any


class _Estimator(types.ModuleType):
    """The names that TF-Ranking imports from `tensorflow.estimator`, removed in TensorFlow 2.16.

    TF-Ranking's Keras part, the only part used here, looks these names up but never uses them.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"TRAIN": "train", "EVAL": "eval", "PREDICT": "infer"})


@contextlib.contextmanager
def _with_estimator() -> Iterator[None]:
    """Provides `tensorflow.estimator` within the block, even if TensorFlow no longer has it."""
    import tensorflow

    if hasattr(tensorflow, "estimator"):
        yield
        return
    names = ("tensorflow.estimator", "tensorflow.compat.v1.estimator")
    owners = (tensorflow, tensorflow.compat.v1)
    for name, owner in zip(names, owners, strict=True):
        owner.estimator = sys.modules[name] = _Estimator(name)
    try:
        yield
    finally:
        # Later code that looks for it then gets TensorFlow's own error.
        for name, owner in zip(names, owners, strict=True):
            del owner.estimator, sys.modules[name]


with _with_estimator():
    import tensorflow_ranking

losses = tensorflow_ranking.keras.losses
metrics = tensorflow_ranking.keras.metrics
layers = tensorflow_ranking.keras.layers
parse_from_example_list = tensorflow_ranking.data.parse_from_example_list
models = tensorflow_ranking.keras.model
