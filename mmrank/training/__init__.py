"""Training: strategy, optimizer, callbacks and the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.training.loop import train_run
    from mmrank.training.optimizer import Pace, PacedAdamW, make_optimizer
    from mmrank.training.sources import TrainingBatches, TrainingLists
    from mmrank.training.state import TrainingError
    from mmrank.training.strategy import make_strategy

__all__ = [
    "Pace",
    "PacedAdamW",
    "TrainingBatches",
    "TrainingError",
    "TrainingLists",
    "make_optimizer",
    "make_strategy",
    "train_run",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.training.loop": ["train_run"],
        "mmrank.training.optimizer": ["Pace", "PacedAdamW", "make_optimizer"],
        "mmrank.training.sources": ["TrainingBatches", "TrainingLists"],
        "mmrank.training.state": ["TrainingError"],
        "mmrank.training.strategy": ["make_strategy"],
    },
)
