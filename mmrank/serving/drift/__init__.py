"""Whether requests look like the training data: population stability by feature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.serving.drift.bins import Bins, fit_bins
    from mmrank.serving.drift.reference import Reference
    from mmrank.serving.drift.report import Shift
    from mmrank.serving.drift.stability import stability_index
    from mmrank.serving.drift.training import training_reference

__all__ = [
    "Bins",
    "Reference",
    "Shift",
    "fit_bins",
    "stability_index",
    "training_reference",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.serving.drift.bins": ["Bins", "fit_bins"],
        "mmrank.serving.drift.reference": ["Reference"],
        "mmrank.serving.drift.report": ["Shift"],
        "mmrank.serving.drift.stability": ["stability_index"],
        "mmrank.serving.drift.training": ["training_reference"],
    },
)
