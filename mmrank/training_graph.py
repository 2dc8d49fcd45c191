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
    """The training graph: every unique item is encoded once and gathered where it is shown.

    Args:
      item_tower, context_tower, scorer: As of `RankingModel`; the scorer before `finish`.
      towers: What both towers give of the inputs of this graph.
      history, position_towers: As of `ranking_model`.
      finish: What chains the tasks, or None.
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
    fed = {
        "tokens": tf.gather(items["tokens"], inputs[SLOTS]),
        "present": tf.gather(items["present"], inputs[SLOTS]),
        "contexts": context["contexts"],
        "contexts_present": context["present"],
    }
    if MATCH in items:
        fed[MATCH] = tf.gather(items[MATCH], inputs[SLOTS])
    if MATCH in context:
        fed[QUERY_MATCH] = context[MATCH]
    if history is not None:
        fed |= {
            "history_tokens": tf.gather(items["tokens"], inputs[roles["slots"]]),
            "history_types": inputs[roles["types"]],
            "history_ages": inputs[roles["ages"]],
            "history_mask": inputs[roles["mask"]],
        }
    fed |= {n: inputs[n] for n in scorer.input if n not in fed}
    scores = scorer(fed)
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
        # Keras names the figures of an output by its last layer.
        keep = tf.keras.layers.Activation
        scores = {
            n: keep("linear", dtype=tf.float32, name=f"task_{n}")(s) for n, s in scores.items()
        }
    return tf.keras.Model(inputs, scores, name="ranker")


def _renewed(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Fresh inputs of the same names, shapes and dtypes."""
    return {n: tf.keras.Input(t.shape[1:], dtype=t.dtype, name=n) for n, t in inputs.items()}
