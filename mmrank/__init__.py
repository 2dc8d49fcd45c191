"""Multimodal learning to rank: text, photos, numbers and behaviour in one listwise model.

Importing this package is light: TensorFlow is loaded only by the modules that need it, and what is
named here only when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mmrank.lane import check_lane

if TYPE_CHECKING:
    from mmrank.frames.estimator import RankerEstimator
    from mmrank.frames.learn import fit
    from mmrank.serving.ranker import Ranker

__version__ = "0.1.0"
__all__ = ["Ranker", "RankerEstimator", "__version__", "fit"]
# None is called as a module of the package, which it would hide.
_HOMES = {
    "Ranker": "mmrank.serving.ranker",
    "RankerEstimator": "mmrank.frames.estimator",
    "fit": "mmrank.frames.learn",
}

check_lane()


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
