"""Trees beside a network, or in its place: how both make one score."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence

import tensorflow as tf

from mmrank.outputs import UserError, write_whole
from mmrank.trees.forest import Forest
from mmrank.trees.layer import ForestScores


@dataclasses.dataclass(frozen=True)
class Blend:
    """A score of two: `network` × that of the network + `trees` × that of the trees.

    Attributes:
      forest: The trees.
      names: Of the numbers that they read, in their order.
      network: Factor on the network's score; 0 for trees alone.
      trees: Factor on the trees' score.
      figure: What both reach together on the validation lists, by `training.select_metric`.
    """

    forest: Forest
    names: tuple[str, ...]
    network: float
    trees: float
    figure: float

    def __post_init__(self) -> None:
        asked = int(self.forest.features.max(initial=-1)) + 1
        if asked > len(self.names):
            raise ValueError(f"trees ask for {asked} numbers, and {len(self.names)} are named")

    def model(
        self, scorer: tf.keras.Model, plain: tf.keras.Model, names: Sequence[str]
    ) -> tf.keras.Model:
        """The scorer of both: the scorer's inputs → scores [B, L].

        With trees alone, the graph leaves out what only the network needs.

        Args:
          scorer: That of the network.
          plain: The same inputs → numbers [B, L, F].
          names: Of these numbers, [F]; there may be more than the trees read.
        """
        numbers = plain.output
        if tuple(names) != self.names:
            numbers = tf.gather(numbers, [names.index(name) for name in self.names], axis=-1)
        scores = self.trees * ForestScores(self.forest, name="forest")(numbers)
        if self.network:
            scores += self.network * tf.cast(scorer.output, tf.float32)
        return tf.keras.Model(scorer.input, scores, name="blended")

    def save(self, file: pathlib.Path) -> None:
        """Writes the blend as JSON, whole or not at all."""
        plain = {
            "names": self.names,
            "network": self.network,
            "trees": self.trees,
            "figure": self.figure,
            "forest": self.forest.state(),
        }
        write_whole(file, json.dumps(plain))

    @classmethod
    def load(cls, file: pathlib.Path) -> Blend:
        """What `save` wrote.

        Raises:
          UserError: The file holds something else.
        """
        try:
            plain = json.loads(file.read_text(encoding="utf-8"))
            return cls(
                Forest.restored(plain["forest"]),
                tuple(plain["names"]),
                float(plain["network"]),
                float(plain["trees"]),
                float(plain["figure"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file}: holds no trees of a run ({error})") from error
