"""Symmetric trees as arrays: the stored form of a CatBoost model."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Forest:
    """The sum of T symmetric trees: all nodes of one level ask the same question.

    The answer to question d of a tree is bit d of the index of its leaf.

    Attributes:
      features: The feature that each level compares, [T, D] int32.
      borders: The value that the feature must exceed, [T, D] float32; infinite in levels that a
        tree lacks.
      leaves: The trees' values, [T, 2 ** D] float32.
      bias: A constant that is added to the sum.

    Example:
      A tree with one question, whether feature 0 is above 0.5:

      >>> import numpy as np
      >>> forest = Forest(
      ...     features=np.array([[0]], np.int32),
      ...     borders=np.array([[0.5]], np.float32),
      ...     leaves=np.array([[1.0, 3.0]], np.float32),
      ... )
      >>> forest.scores(np.array([[0.2], [0.9]], np.float32)).tolist()
      [1.0, 3.0]
      >>> forest.rescaled(centre=2.0, spread=2.0).scores(np.array([[0.9]], np.float32)).tolist()
      [0.5]
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

    def rescaled(self, centre: float, spread: float) -> Forest:
        """The forest whose scores are (score − centre) / spread."""
        leaves = (self.leaves / spread).astype(np.float32)
        return dataclasses.replace(self, leaves=leaves, bias=(self.bias - centre) / spread)

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.features.nbytes + self.borders.nbytes + self.leaves.nbytes

    def scores(self, values: np.ndarray) -> np.ndarray:
        """Scores [N] float32 of rows of features [N, F] float32."""
        above = values[:, self.features] > self.borders  # [N, T, D]
        leaf = (above * (1 << np.arange(self.features.shape[1]))).sum(-1)
        leaf_values = self.leaves[np.arange(len(self.leaves)), leaf]
        return (leaf_values.sum(-1, dtype=np.float64) + self.bias).astype(np.float32)

    def state(self) -> dict[str, Any]:
        """The forest as JSON; an infinite border is None."""
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


def mean_forest(forests: Sequence[Forest]) -> Forest:
    """The forest of all trees of some forests; its score is the mean of their scores.

    Example:
      >>> import numpy as np
      >>> one = Forest(np.array([[0]]), np.array([[0.5]]), np.array([[1.0, 3.0]]))
      >>> other = Forest(np.array([[0]]), np.array([[0.5]]), np.array([[3.0, 5.0]]))
      >>> mean_forest([one, other]).scores(np.array([[0.0], [1.0]])).tolist()
      [2.0, 4.0]
    """
    depth = max(forest.features.shape[1] for forest in forests)

    def deeper(values: np.ndarray, width: int, fill: float) -> np.ndarray:
        more = ((0, 0), (0, width - values.shape[1]))
        return np.pad(values, more, constant_values=fill)

    # A level that a tree lacks always answers no, so that its leaves keep their indices.
    return Forest(
        np.concatenate([deeper(f.features, depth, 0) for f in forests]),
        np.concatenate([deeper(f.borders, depth, np.inf) for f in forests]),
        np.concatenate([deeper(f.leaves, 2**depth, 0) for f in forests]) / np.float32(len(forests)),
        float(np.mean([f.bias for f in forests])),
    )


def read_catboost(file: pathlib.Path) -> Forest:
    """The forest in a CatBoost model that was saved as JSON, over numeric features.

    Raises:
      ValueError: The trees are not symmetric, or a split is not on a number.

    Example:
      >>> import json
      >>> import pathlib
      >>> import numpy as np
      >>> split = {"split_type": "FloatFeature", "float_feature_index": 0, "border": 0.5}
      >>> tree = {"splits": [split], "leaf_values": [1.0, 3.0]}
      >>> model = {"oblivious_trees": [tree], "scale_and_bias": [1.0, [0.5]]}
      >>> _ = pathlib.Path("model.json").write_text(json.dumps(model))
      >>> forest = read_catboost(pathlib.Path("model.json"))
      >>> forest.scores(np.array([[0.2], [0.9]], np.float32)).tolist()
      [1.5, 3.5]
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
    for index, tree in enumerate(trees):
        splits = tree["splits"] or ()
        for level, split in enumerate(splits):
            if split["split_type"] != "FloatFeature":
                raise ValueError(f"{file}: a split of type {split['split_type']}, not of a number")
            features[index, level] = split["float_feature_index"]
            borders[index, level] = split["border"]
        values = scale * np.asarray(tree["leaf_values"], np.float64)
        # Levels that this tree lacks always answer no, so that their bits are 0.
        leaves[index, : len(values)] = values
    return Forest(features, borders, leaves, float(bias))
