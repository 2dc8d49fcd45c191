"""The listwise head: candidate vectors of a list → scores, by one of several rank models."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from mmrank.ranking._library import layers
from mmrank.ranking.list_context import ListContext
from mmrank.ranking.member_tower import MemberTower
from mmrank.ranking.multitask import make_towers
from mmrank.schema import did_you_mean


@dataclasses.dataclass(frozen=True)
class RankModel:
    """How the candidates of a list reach one another's scores.

    Attributes:
      attends: By attention across the candidates, before they are scored.
      reads: By a GRU down the order of their scores, which moves these.
    """

    attends: bool
    reads: bool


RANK_MODELS = {
    "none": RankModel(attends=False, reads=False),
    "attention": RankModel(attends=True, reads=False),
    "gru": RankModel(attends=False, reads=True),
    "attention_gru": RankModel(attends=True, reads=True),
}


def find_rank_model(name: str) -> RankModel:
    """The rank model of that name.

    Raises:
      ValueError: There is none.
    """
    if name not in RANK_MODELS:
        raise ValueError(f"unknown rank model {name!r}{did_you_mean(name, RANK_MODELS)}")
    return RANK_MODELS[name]


class ListwiseHead(tf.keras.layers.Layer):
    """Scores [B, L] float32 of candidate vectors [B, L, F]; [B, L, K] of K members.

    Masking: padding is attended to by nobody, and no GRU reads it. Scores of padding are 0 and
    mean nothing.

    Saving: a `.keras` file leaves out the weights of TF-Ranking's attention, which keeps them in
    tuples; a SavedModel and a TensorFlow checkpoint have them.

    Args:
      hidden: Widths of the hidden layers of the scoring tower.
      dropout: Share of units dropped in training.
      rank_model: A name in `RANK_MODELS`; none scores each candidate alone.
      attention_layers: Layers of TF-Ranking's attention across candidates, 1 or more.
      attention_heads, attention_width: Its shape.
      gru_units, gru_top, gru_bidirectional: As `ListContext` takes them.
      members: K towers side by side, see `MemberTower`; 1 for the plain tower.
      linear: Whether the score of each tower has a linear function of its vectors added.
      tasks: Names of several tasks; the scores are then a mapping from task to [B, L]. With a GRU
        each task has its own.
      multitask, multitask_options: How tasks share the tower, as `make_towers` takes it.

    Raises:
      ValueError: An unknown rank model or way of sharing, or a number below 1.

    Source: Pasumarthi et al. 2020, "Permutation equivariant document interaction network";
    Qin et al. 2021, "Are neural rankers still outperformed by gradient boosted decision trees?";
    for the GRU see `ListContext`.
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
            "linear": linear,
            "tasks": tuple(tasks),
            "multitask": multitask,
            "multitask_options": dict(multitask_options or {}),
        }
        parts = find_rank_model(rank_model)
        if members < 1:
            raise ValueError(f"members: expected 1 or more, got {members}")
        if members > 1 and (tasks or parts.reads):
            what = "several tasks" if tasks else f"rank_model {rank_model}"
            raise ValueError(f"members: {members} of them do not go with {what}; give it 1")
        self.attention = self.context = None
        if parts.attends:
            if attention_layers < 1:
                raise ValueError(f"attention_layers: expected 1 or more, got {attention_layers}")
            self.attention = layers.DocumentInteractionAttention(
                num_heads=attention_heads,
                head_size=attention_width,
                num_layers=attention_layers,
                dropout=dropout,
            )
        self.contexts: dict[str, ListContext] = {}
        # Begins at nothing, so that the towers' scores are as they would be without.
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
                    task: ListContext(
                        gru_units, gru_top, gru_bidirectional, dropout, name=f"list_context_{task}"
                    )
                    for task in tasks
                }
            return
        if members > 1:
            self.tower = MemberTower(members, hidden, dropout, name="member_tower")
            return
        self.tower = layers.create_tower(
            list(hidden),
            output_units=1,
            activation=tf.nn.relu,
            use_batch_norm=False,
            dropout=dropout,
        )
        if parts.reads:
            self.context = ListContext(
                gru_units, gru_top, gru_bidirectional, dropout, name="list_context"
            )

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
        """Names of several tasks; none if there is one score a candidate."""
        return self._tasks

    @property
    def members(self) -> int:
        """How many scores a candidate has that are one score by their mean."""
        return self._members

    def last_layers(self) -> list[tf.keras.layers.Layer]:
        """The layers that give the scores, one for each task in their order; each has a kernel."""
        if self.members > 1:
            return [self.tower.last]
        towers = self.tower.towers.values() if self.arguments["tasks"] else [self.tower]
        return [tower.layers[-1] for tower in towers]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.arguments
