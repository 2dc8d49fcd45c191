"""The graph that joins towers and scorer for training."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from mmrank.data.batches import label_name
from mmrank.ranking.entire_space import EntireSpace
from mmrank.ranking.position_tower import PositionTower
from mmrank.ranking.uncertainty import TaskUncertainty
from mmrank.scorer_graph import QUERY_MATCH
from mmrank.towers import MASK, MATCH, Tensors

SLOTS = "slots"


def history_names(history: str) -> dict[str, str]:
    """The names of a history's inputs by role: slots, types, ages and mask."""
    return {role: f"{history}_{role}" for role in ("slots", "types", "ages", "mask")}


def training_graph(
    item_tower: tf.keras.Model,
    context_tower: tf.keras.Model,
    towers: Callable[[Tensors], tuple[Tensors, Tensors]],
    scorer: tf.keras.Model,
    history: str | None,
    finish: EntireSpace | None,
    uncertainty: TaskUncertainty | None,
    position_towers: Mapping[str, PositionTower],
) -> tf.keras.Model:
    """The training graph: every unique item is encoded once and gathered wherever it is shown.

    Args:
      item_tower, context_tower, scorer: As of `RankingModel`; the scorer before `finish`.
      towers: This graph's inputs → the outputs of both towers.
      history, position_towers: As of `ranking_model`.
      finish: The layer that multiplies the probabilities of chained tasks, or None.
      uncertainty: The layer with the learned weights of the tasks, or None.
    """
    inputs = _renewed(item_tower.input) | _renewed(context_tower.input)
    inputs[SLOTS] = tf.keras.Input((None,), dtype=tf.int32, name=SLOTS)
    own = ("tokens", "present", "contexts", "contexts_present", MATCH, QUERY_MATCH, MASK)
    inputs |= _renewed(
        {n: t for n, t in scorer.input.items() if n not in own and not n.startswith("history_")}
    )
    if history is not None:
        roles = history_names(history)
        dtypes = {"slots": tf.int32, "types": tf.int32, "ages": tf.float32, "mask": tf.bool}
        inputs |= {n: tf.keras.Input((None,), dtype=dtypes[r], name=n) for r, n in roles.items()}

    items, context = towers(inputs)
    scores = scorer(gathered_inputs(scorer, items, context_inputs(context), inputs, history))
    if position_towers:
        name = label_name("position")
        inputs[name] = tf.keras.Input((None,), dtype=tf.float32, name=name)
        if isinstance(scores, dict):
            biased = {n: t((scores[n], inputs[name])) for n, t in position_towers.items()}
            scores = scores | biased
        else:
            (tower,) = position_towers.values()
            scores = tower((scores, inputs[name]))
    if finish is not None:
        scores = finish((scores, inputs[MASK]))
    if uncertainty is not None:
        scores = uncertainty(scores)
    if isinstance(scores, dict):
        # Keras names the metrics of an output after its last layer.
        keep = tf.keras.layers.Activation
        scores = {
            n: keep("linear", dtype=tf.float32, name=f"task_{n}")(s) for n, s in scores.items()
        }
    return tf.keras.Model(inputs, scores, name="ranker")


def context_inputs(context: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The scorer's inputs of query and user.

    Args:
      context: The outputs of the context tower.

    Returns:
      contexts [B, C, D], contexts_present [B, C] and possibly query_match [B, V].
    """
    named = {"contexts": context["contexts"], "contexts_present": context["present"]}
    return named | ({QUERY_MATCH: context[MATCH]} if MATCH in context else {})


def gathered_inputs(
    scorer: tf.keras.Model,
    items: Mapping[str, tf.Tensor],
    contexts: Mapping[str, tf.Tensor],
    batch: Mapping[str, tf.Tensor],
    history: str | None,
) -> dict[str, tf.Tensor]:
    """The scorer's inputs, with items gathered from a table wherever a list shows them.

    Args:
      scorer: The scorer, whose inputs are named.
      items: The item tower's outputs: tokens [U, M, D], present [U, M] and possibly match [U, W].
      contexts: As `context_inputs` returns them.
      batch: Inputs of the network; slots are indices into `items`.
      history: Name of the history feature, or None.
    """
    fed = dict(contexts) | {
        "tokens": tf.gather(items["tokens"], batch[SLOTS]),
        "present": tf.gather(items["present"], batch[SLOTS]),
    }
    if MATCH in items:
        fed[MATCH] = tf.gather(items[MATCH], batch[SLOTS])
    if history is not None:
        roles = history_names(history)
        fed["history_tokens"] = tf.gather(items["tokens"], batch[roles["slots"]])
        fed |= {f"history_{role}": batch[roles[role]] for role in ("types", "ages", "mask")}
    return fed | {n: batch[n] for n in scorer.input if n not in fed}


def _renewed(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """New inputs with the same names, shapes and dtypes."""
    return {n: tf.keras.Input(t.shape[1:], dtype=t.dtype, name=n) for n, t in inputs.items()}
