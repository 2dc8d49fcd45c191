"""Trees in addition to a network, or in its place: how one score is made of both."""

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
    """A combined score: `network` × the network's score + `trees` × the trees' score.

    Attributes:
      forest: The trees.
      names: Names of the numbers that the trees read, in their order.
      network: Factor on the network's score; 0 for trees alone.
      trees: Factor on the trees' score.
      figure: The value of `training.select_metric` that both reach on the validation lists.

    Example:
      >>> import numpy as np
      >>> import tensorflow as tf
      >>> forest = Forest(np.array([[0]]), np.array([[0.5]]), np.array([[1.0, 3.0]], np.float32))
      >>> blend = Blend(forest, ("price",), network=10.0, trees=2.0, figure=0.7)
      >>> prices = tf.keras.Input([None, 1])
      >>> scorer, plain = tf.keras.Model(prices, prices[..., 0]), tf.keras.Model(prices, prices)
      >>> blended = blend.model(scorer, plain, ["price"])
      >>> blended(tf.constant([[[0.0], [1.0]]])).numpy().tolist()  # 10 · 1 + 2 · 3 = 16
      [[2.0, 16.0]]
    """

    forest: Forest
    names: tuple[str, ...]
    network: float
    trees: float
    figure: float

    def __post_init__(self) -> None:
        asked = int(self.forest.features.max(initial=-1)) + 1
        if asked > len(self.names):
            raise ValueError(f"the trees read {asked} numbers, but {len(self.names)} are named")

    def model(
        self, scorer: tf.keras.Model, plain: tf.keras.Model, names: Sequence[str]
    ) -> tf.keras.Model:
        """The combined scorer: the scorer's inputs → scores [B, L].

        With trees alone, the graph leaves out what only the network needs.

        Args:
          scorer: The network's scorer.
          plain: The same inputs → numbers [B, L, F].
          names: Names of these numbers, [F]; there may be more than the trees read.
        """
        numbers = plain.output
        if tuple(names) != self.names:
            numbers = tf.gather(numbers, [names.index(name) for name in self.names], axis=-1)
        scores = self.trees * ForestScores(self.forest, name="forest")(numbers)
        if self.network:
            scores += self.network * tf.cast(scorer.output, tf.float32)
        return tf.keras.Model(scorer.input, scores, name="blended")

    def save(self, file: pathlib.Path) -> None:
        """Writes the blend as JSON, atomically."""
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
        """The blend that `save` wrote.

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
