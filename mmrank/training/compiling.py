"""Compiles a network for training: its optimizer, the losses of its tasks, its metric."""

from __future__ import annotations

from collections.abc import Mapping

from mmrank.config import Config, FineTune
from mmrank.models import RankingModel
from mmrank.objectives import build_task_losses
from mmrank.ranking.metrics import make_metric
from mmrank.tracing import as_written
from mmrank.training.averages import Averages
from mmrank.training.fine_tune import cross_paces, fine_tune
from mmrank.training.optimizer import make_optimizer


def compile_network(
    config: Config, model: RankingModel, settings: Mapping[str, FineTune], steps: int
) -> Averages | None:
    """Compiles a ranker's network and returns the averages of its weights, if there are any.

    Args:
      config: The config.
      model: The ranker, built in the scope of the strategy that this runs in. Encoders that do not
        learn become untrainable.
      settings: How each encoder learns, by feature.
      steps: Steps per epoch.
    """
    paces = fine_tune(model.encoders, settings, steps, config.training.epochs)
    paces += cross_paces(config, model, steps)
    optimizer = make_optimizer(
        learning_rate=config.training.learning_rate,
        steps=steps * config.training.epochs,
        warmup=config.training.warmup,
        weight_decay=config.training.weight_decay,
        clip_norm=config.training.clip_norm,
        paces=paces,
        ema=config.training.ema,
    )
    optimizer.build(model.network.trainable_variables)
    averages = (
        Averages(optimizer, model.network.trainable_variables) if config.training.ema else None
    )
    # Keras converts layers inside its own loop; these are all that the loop runs of ours.
    model.network.train_step = as_written(model.network.train_step)
    model.network.test_step = as_written(model.network.test_step)
    model.network.compile(
        optimizer,
        loss=build_task_losses(config, model),
        loss_weights={n: t.weight for n, t in config.training.tasks.items()}
        if len(config.training.tasks) > 1
        else None,
        metrics=[make_metric("ndcg@10")] if _gives_scores(model) else None,
    )
    return averages


def _gives_scores(model: RankingModel) -> bool:
    """Returns whether the network outputs one score per candidate.

    Otherwise it has several tasks, or several logits per candidate for `mixture_em_loss`.
    """
    output = model.network.output
    return not isinstance(output, dict) and output.shape.rank == 2
