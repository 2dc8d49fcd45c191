"""The listwise head: candidate vectors of a list → scores, by one of several rank models."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from mmrank.ranking._library import layers
from mmrank.ranking.member_tower import MemberTower
from mmrank.ranking.multitask import make_towers
from mmrank.ranking.rank_models import RANK_MODELS
from mmrank.ranking.shared_tower import SharedTower
from mmrank.registry import Entry, Registry

# What the towers of several members share.
SHARINGS = Registry(
    "sharing",
    {
        "none": Entry(MemberTower),
        "batch_ensemble": Entry(SharedTower),
        "first_adapter": Entry(functools.partial(SharedTower, first_alone=True)),
    },
)


class ListwiseHead(tf.keras.layers.Layer):
    """Scores [B, L] float32 of candidate vectors [B, L, F]; [B, L, K] with K members.

    Masking: attention and GRU ignore padding. Scores of padding are 0 and mean nothing.

    Saving: a `.keras` file leaves out the weights of TF-Ranking's attention, which keeps them in
    tuples; a SavedModel and a TensorFlow checkpoint have them.

    Args:
      hidden: Widths of the hidden layers of the scoring tower.
      dropout: Share of units dropped in training.
      rank_model: A name in `RANK_MODELS`; none scores each candidate alone.
      attention_layers, attention_heads, attention_width: As in `AttentionOptions`.
      gru_units, gru_top, gru_bidirectional: As in `GruOptions`.
      members: K parallel towers; 1 for a plain tower.
      sharing: For several members, a name in `SHARINGS`: with none each member has its own weights,
        see `MemberTower`; otherwise members share weights, see `SharedTower`.
      linear: Whether a linear function of the vectors is added to the score of each tower.
      tasks: Names of several tasks; the scores are then a mapping from task to [B, L]. If there is
        a GRU, each task has its own.
      multitask, multitask_options: How tasks share the tower, as `make_towers` takes it.

    Raises:
      ValueError: The rank model or the way of sharing is unknown, a number is below 1, or options
        cannot be combined.

    Source: Pasumarthi et al. 2020, "Permutation equivariant document interaction network";
    Qin et al. 2021, "Are neural rankers still outperformed by gradient boosted decision trees?";
    for the GRU see `ListContext`.

    Example:
      >>> import tensorflow as tf
      >>> head = ListwiseHead(hidden=(8,), dropout=0.1, rank_model="attention")
      >>> vectors = tf.random.stateless_normal([2, 3, 5], seed=[0, 1])  # 2 lists of 3 slots
      >>> scores = head((vectors, tf.constant([[True, True, True], [True, False, False]])))
      >>> scores.shape, scores[1, 1:].numpy().tolist()
      (TensorShape([2, 3]), [0.0, 0.0])
    """

    def __init__(
        self,
        *,
        hidden: tuple[int, ...],
        dropout: float,
        rank_model: str = "none",
        attention_layers: int = 1,
        attention_heads: int = 2,
        attention_width: int = 64,
        gru_units: int = 64,
        gru_top: int | None = None,
        gru_bidirectional: bool = False,
        members: int = 1,
        sharing: str = "none",
        linear: bool = False,
        tasks: tuple[str, ...] = (),
        multitask: str = "shared_bottom",
        multitask_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._tasks, self._members = tuple(tasks), members
        self.arguments = {
            "hidden": tuple(hidden),
            "dropout": dropout,
            "rank_model": rank_model,
            "attention_layers": attention_layers,
            "attention_heads": attention_heads,
            "attention_width": attention_width,
            "gru_units": gru_units,
            "gru_top": gru_top,
            "gru_bidirectional": gru_bidirectional,
            "members": members,
            "sharing": sharing,
            "linear": linear,
            "tasks": tuple(tasks),
            "multitask": multitask,
            "multitask_options": dict(multitask_options or {}),
        }
        parts = RANK_MODELS.make(rank_model, RANK_MODELS.pick(rank_model, self.arguments))
        if members < 1:
            raise ValueError(f"members: expected 1 or more, got {members}")
        if members > 1 and (tasks or parts.reads):
            what = "several tasks" if tasks else f"rank_model {rank_model}"
            raise ValueError(f"members: {members} cannot be combined with {what}; set it to 1")
        SHARINGS.entry(sharing)
        if members == 1 and sharing != "none":
            raise ValueError(f"sharing: {sharing} is for several members; give members 2 or more")
        self.context = None
        self.attention = parts.make_attention(dropout)
        self.contexts: dict[str, tf.keras.layers.Layer] = {}
        # Its kernel begins at zero, so that at first the scores are those of the towers alone.
        self.linear = (
            tf.keras.layers.Dense(
                members, use_bias=False, kernel_initializer="zeros", name="linear"
            )
            if linear
            else None
        )
        if tasks and linear:
            raise ValueError("linear: is for one score; leave it out with several tasks")
        if tasks:
            self.tower = make_towers(multitask, multitask_options or {}, tasks, hidden, dropout)
            if parts.reads:
                self.contexts = {
                    task: parts.make_context(dropout, f"list_context_{task}") for task in tasks
                }
            return
        if members > 1:
            self.tower = SHARINGS.make(sharing, {}, members, hidden, dropout, name="member_tower")
            return
        self.tower = layers.create_tower(
            list(hidden),
            output_units=1,
            activation=tf.nn.relu,
            use_batch_norm=False,
            dropout=dropout,
        )
        self.context = parts.make_context(dropout, "list_context")

    def call(
        self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool | None = None
    ) -> tf.Tensor | dict[str, tf.Tensor]:
        """Args: vectors [B, L, F]; mask [B, L] bool."""
        vectors, mask = inputs
        if self.attention is not None:
            seen = self.attention((vectors, mask), training=bool(training))
            vectors = tf.concat([vectors, tf.cast(seen, vectors.dtype)], -1)
        if self.arguments["tasks"]:
            by_task = self.tower(vectors, training=training)
            for task, context in self.contexts.items():
                by_task[task] += context((vectors, by_task[task], mask), training=training)
            return {task: tf.where(mask, scores, 0.0) for task, scores in by_task.items()}
        scores = tf.cast(self.tower(vectors, training=training), tf.float32)
        if self.linear is not None:
            scores += tf.cast(self.linear(vectors), tf.float32)
        if self.members > 1:
            return tf.where(mask[..., None], scores, 0.0)
        scores = scores[..., 0]
        if self.context is not None:
            scores += self.context((vectors, scores, mask), training=training)
        return tf.where(mask, scores, 0.0)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of several tasks; empty if each candidate has one score."""
        return self._tasks

    @property
    def members(self) -> int:
        """How many scores of a candidate are averaged into one score."""
        return self._members

    def last_layers(self) -> list[tf.keras.layers.Layer]:
        """The layers that give the scores, one per task in the tasks' order; each has a kernel."""
        if self.members > 1:
            return [self.tower.last]
        towers = self.tower.towers.values() if self.arguments["tasks"] else [self.tower]
        return [tower.layers[-1] for tower in towers]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.arguments
