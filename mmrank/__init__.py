"""Multimodal learning to rank: text, photos, numbers and behaviour in one listwise model.

Importing this package is light: TensorFlow is loaded only by the modules that need it, and `Ranker`
only when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mmrank.lane import check_lane

if TYPE_CHECKING:
    from mmrank.serving.ranker import Ranker

__version__ = "0.1.0"
__all__ = ["Ranker", "__version__"]

check_lane()


def __getattr__(name: str) -> Any:
    if name == "Ranker":
        return importlib.import_module("mmrank.serving.ranker").Ranker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
