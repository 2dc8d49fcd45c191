"""Training from DataFrames: the same job as for a dataset folder, without files of the caller's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.frames.estimator import RankerEstimator
    from mmrank.frames.fitted import FittedRanker
    from mmrank.frames.learn import fit

__all__ = [
    "FittedRanker",
    "RankerEstimator",
    "fit",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.frames.estimator": ["RankerEstimator"],
        "mmrank.frames.fitted": ["FittedRanker"],
        "mmrank.frames.learn": ["fit"],
    },
)
