"""Losses, metrics and heads over lists, from TF-Ranking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.ranking.canned import canned_model
    from mmrank.ranking.entire_space import EntireSpace
    from mmrank.ranking.heads import SHARINGS, ListwiseHead
    from mmrank.ranking.labels import masked_labels, task_labels
    from mmrank.ranking.lambda_weights import LAMBDA_WEIGHTS
    from mmrank.ranking.list_context import ListContext
    from mmrank.ranking.list_loss import ListLoss
    from mmrank.ranking.losses import LOSSES, LossEntry, loss_names, make_loss
    from mmrank.ranking.metrics import make_metric
    from mmrank.ranking.order import Order, parse_order
    from mmrank.ranking.position_tower import PositionTower
    from mmrank.ranking.rank_models import RANK_MODELS
    from mmrank.ranking.task_outputs import TaskOutputs
    from mmrank.ranking.tasks import TaskSpec
    from mmrank.ranking.uncertainty import TaskUncertainty, UncertainLoss

__all__ = [
    "LAMBDA_WEIGHTS",
    "LOSSES",
    "RANK_MODELS",
    "SHARINGS",
    "EntireSpace",
    "ListContext",
    "ListLoss",
    "ListwiseHead",
    "LossEntry",
    "Order",
    "PositionTower",
    "TaskOutputs",
    "TaskSpec",
    "TaskUncertainty",
    "UncertainLoss",
    "canned_model",
    "loss_names",
    "make_loss",
    "make_metric",
    "masked_labels",
    "parse_order",
    "task_labels",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.ranking.canned": ["canned_model"],
        "mmrank.ranking.entire_space": ["EntireSpace"],
        "mmrank.ranking.heads": ["SHARINGS", "ListwiseHead"],
        "mmrank.ranking.labels": ["masked_labels", "task_labels"],
        "mmrank.ranking.lambda_weights": ["LAMBDA_WEIGHTS"],
        "mmrank.ranking.list_context": ["ListContext"],
        "mmrank.ranking.list_loss": ["ListLoss"],
        "mmrank.ranking.losses": ["LOSSES", "LossEntry", "loss_names", "make_loss"],
        "mmrank.ranking.metrics": ["make_metric"],
        "mmrank.ranking.order": ["Order", "parse_order"],
        "mmrank.ranking.position_tower": ["PositionTower"],
        "mmrank.ranking.rank_models": ["RANK_MODELS"],
        "mmrank.ranking.task_outputs": ["TaskOutputs"],
        "mmrank.ranking.tasks": ["TaskSpec"],
        "mmrank.ranking.uncertainty": ["TaskUncertainty", "UncertainLoss"],
    },
)
