"""Symmetric trees as arrays: what is kept of a model of CatBoost."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Forest:
    """The sum of T symmetric trees: all nodes of one level ask the same question.

    The answer to question d of a tree is bit d of the place of its leaf.

    Attributes:
      features: Which feature each level asks for, [T, D] int32.
      borders: Whether it is above this, [T, D] float32; infinite in levels that a tree lacks.
      leaves: What a tree says, [T, 2 ** D] float32.
      bias: What the forest says without trees.
    """

    features: np.ndarray
    borders: np.ndarray
    leaves: np.ndarray
    bias: float = 0.0

    def __post_init__(self) -> None:
        trees, depth = self.features.shape
        if self.borders.shape != (trees, depth) or self.leaves.shape != (trees, 2**depth):
            raise ValueError(
                f"features {self.features.shape}, borders {self.borders.shape} and leaves "
                f"{self.leaves.shape} do not make trees of one depth"
            )

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.features.nbytes + self.borders.nbytes + self.leaves.nbytes

    def scores(self, values: np.ndarray) -> np.ndarray:
        """Scores [N] float32 of rows of features [N, F] float32."""
        above = values[:, self.features] > self.borders  # [N, T, D]
        place = (above * (1 << np.arange(self.features.shape[1]))).sum(-1)
        said = self.leaves[np.arange(len(self.leaves)), place]
        return (said.sum(-1, dtype=np.float64) + self.bias).astype(np.float32)

    def state(self) -> dict[str, Any]:
        """The forest as JSON; a border that no value reaches is None."""
        borders = [[b if np.isfinite(b) else None for b in row] for row in self.borders.tolist()]
        return {
            "features": self.features.tolist(),
            "borders": borders,
            "leaves": self.leaves.tolist(),
            "bias": self.bias,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Forest:
        """The forest that `state` describes."""
        borders = [[np.inf if b is None else b for b in row] for row in state["borders"]]
        return cls(
            np.asarray(state["features"], np.int32),
            np.asarray(borders, np.float32),
            np.asarray(state["leaves"], np.float32),
            float(state["bias"]),
        )


def read_catboost(file: pathlib.Path) -> Forest:
    """The forest in a model of CatBoost that was saved as JSON, over features that are numbers.

    Raises:
      ValueError: A tree is not symmetric, or asks for more than numbers.
    """
    plain = json.loads(file.read_text(encoding="utf-8"))
    if "oblivious_trees" not in plain:
        raise ValueError(
            f"{file}: holds no symmetric trees; grow them with grow_policy SymmetricTree"
        )
    trees = plain["oblivious_trees"]
    depth = max((len(tree["splits"] or ()) for tree in trees), default=0)
    features = np.zeros([len(trees), depth], np.int32)
    borders = np.full([len(trees), depth], np.inf, np.float32)
    leaves = np.zeros([len(trees), 2**depth], np.float32)
    scale, (bias,) = plain["scale_and_bias"]
    for place, tree in enumerate(trees):
        splits = tree["splits"] or ()
        for level, split in enumerate(splits):
            if split["split_type"] != "FloatFeature":
                raise ValueError(f"{file}: a split of type {split['split_type']}, not of a number")
            features[place, level] = split["float_feature_index"]
            borders[place, level] = split["border"]
        values = scale * np.asarray(tree["leaf_values"], np.float64)
        # Levels that this tree lacks answer no, so that their bits are 0.
        leaves[place, : len(values)] = values
    return Forest(features, borders, leaves, float(bias))
