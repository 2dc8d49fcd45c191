"""Gradient-boosted trees: grown by CatBoost, stored as arrays, run as TensorFlow ops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.trees.blend import Blend
    from mmrank.trees.forest import Forest, mean_forest, read_catboost
    from mmrank.trees.layer import ForestScores
    from mmrank.trees.part import Part
    from mmrank.trees.stack import Stack, grow_stack

__all__ = [
    "Blend",
    "Forest",
    "ForestScores",
    "Part",
    "Stack",
    "grow_stack",
    "mean_forest",
    "read_catboost",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.trees.blend": ["Blend"],
        "mmrank.trees.forest": ["Forest", "mean_forest", "read_catboost"],
        "mmrank.trees.layer": ["ForestScores"],
        "mmrank.trees.part": ["Part"],
        "mmrank.trees.stack": ["Stack", "grow_stack"],
    },
)
