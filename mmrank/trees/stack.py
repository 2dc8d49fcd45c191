"""Trees whose score a network reads: several forests, each grown without one part of the lists.

For a training list the network reads the score of trees that never saw that list. Trees that saw it
score it better than they score any other list, and the network would learn to trust them too much.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import pathlib
from typing import Any

import numpy as np

from mmrank.outputs import UserError, write_whole
from mmrank.trees.forest import Forest, mean_forest
from mmrank.trees.grow import Figure, grow
from mmrank.trees.part import Part

CHUNK = 4_096  # rows that are scored at a time
SMALLEST = 1e-6  # lower bound of a spread
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Stack:
    """Forests, one for each part of the training lists.

    Attributes:
      forests: Forest k was grown without part k. On the validation lists the scores of each forest
        have mean 0, and standard deviation 1 within lists.
      names: Names of the numbers that the trees read, in their order.
      parts: The part of every training list, [lists].
      figures: The value of `training.select_metric` that each forest reaches on the validation
        lists.

    Example:
      >>> import numpy as np
      >>> one = Forest(np.array([[0]]), np.array([[0.5]]), np.array([[1.0, 3.0]], np.float32))
      >>> other = Forest(np.array([[0]]), np.array([[0.5]]), np.array([[5.0, 7.0]], np.float32))
      >>> stack = Stack((one, other), ("price",), parts=np.array([0, 1]), figures=(0.7, 0.6))
      >>> prices = np.array([[0.2], [0.9], [0.2]], np.float32)  # two rows of list 0, one of list 1
      >>> stack.out_of_fold(prices, offsets=np.array([0, 2, 3])).tolist()
      [1.0, 3.0, 5.0]
      >>> stack.forest.scores(prices).tolist()
      [3.0, 5.0, 3.0]
    """

    forests: tuple[Forest, ...]
    names: tuple[str, ...]
    parts: np.ndarray
    figures: tuple[float, ...]

    def __post_init__(self) -> None:
        asked = max(int(f.features.max(initial=-1)) + 1 for f in self.forests)
        if asked > len(self.names):
            raise ValueError(f"the trees read {asked} numbers, but {len(self.names)} are named")
        if self.parts.max(initial=0) >= len(self.forests):
            raise ValueError(f"part {self.parts.max()} has no forest")

    @property
    def forest(self) -> Forest:
        """The forest that scores lists outside the training: the mean of all forests."""
        return mean_forest(self.forests)

    def out_of_fold(self, features: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Scores [rows] float32 of the training lists, each by the forest that never saw the list.

        Args:
          features: The numbers that the trees read, [rows, F] float32.
          offsets: List i holds rows offsets[i] to offsets[i + 1].

        Raises:
          ValueError: The number of lists differs from that on which the trees were grown.
        """
        if len(offsets) - 1 != len(self.parts):
            raise ValueError(
                f"the trees were grown on {len(self.parts)} training lists, but there are "
                f"{len(offsets) - 1}"
            )
        of_rows = np.repeat(self.parts, np.diff(offsets))
        scores = np.zeros(len(features), np.float32)
        for part, forest in enumerate(self.forests):
            rows = np.flatnonzero(of_rows == part)
            scores[rows] = in_chunks(forest, features[rows])
        return scores

    def save(self, file: pathlib.Path) -> None:
        """Writes the forests as JSON, atomically."""
        plain = {
            "names": self.names,
            "parts": self.parts.tolist(),
            "figures": self.figures,
            "forests": [forest.state() for forest in self.forests],
        }
        write_whole(file, json.dumps(plain))

    @classmethod
    def load(cls, file: pathlib.Path) -> Stack:
        """The stack that `save` wrote.

        Raises:
          UserError: The file does not exist, or holds something else.
        """
        try:
            plain: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return cls(
                tuple(Forest.restored(state) for state in plain["forests"]),
                tuple(plain["names"]),
                np.asarray(plain["parts"], np.int64),
                tuple(map(float, plain["figures"])),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file}: holds no trees of a stacked run ({error})") from error


def grow_stack(
    train: Part,
    valid: Part,
    figure: Figure,
    names: tuple[str, ...],
    parts: np.ndarray,
    **options: Any,
) -> Stack:
    """Grows forests, each without one part of the training lists.

    Loss, depth and number of trees are chosen for each forest separately, on the validation lists,
    where its scale is also measured. If anything were chosen for all forests together, or by the
    lists that were left out, a list's labels would influence its own score.

    Args:
      train: The lists that the trees learn from.
      valid: The lists by which loss, depth and number of trees are chosen.
      figure: Scores of the rows of `valid` → the quality of their order; higher is better.
      names: Names of the features.
      parts: The part of every training list, [lists]; see `deal`.
      options: Further arguments of `grow`.

    Raises:
      MissingExtra, UserError: As `grow` does.

    Example:
      Four lists of two candidates, of which the one with the larger number is relevant:

      >>> import numpy as np
      >>> numbers, grades = np.tile([[1.0], [0.0]], (4, 1)), np.tile([1.0, 0.0], 4)
      >>> train = Part(numbers.astype(np.float32), grades, offsets=np.arange(0, 9, 2))
      >>> stack = grow_stack(
      ...     train,
      ...     valid=train,
      ...     figure=lambda scores: float((scores[::2] > scores[1::2]).mean()),
      ...     names=("price",),
      ...     parts=np.array([0, 0, 1, 1]),
      ...     losses=["YetiRank"],
      ...     depths=[1],
      ...     rounds=5,
      ...     learning_rate=0.5,
      ...     patience=5,
      ... )
      >>> len(stack.forests), stack.figures
      (2, (1.0, 1.0))
    """
    forests, figures = [], []
    lengths = np.diff(valid.offsets)
    count = int(parts.max()) + 1
    for part in range(count):
        grown = grow(train.taken(parts != part), valid, figure, **options)
        scores = in_chunks(grown.forest, valid.features).astype(np.float64)
        means = np.add.reduceat(scores, valid.offsets[:-1]) / lengths
        spread = float((scores - np.repeat(means, lengths)).std())
        forests.append(grown.forest.rescaled(float(scores.mean()), max(spread, SMALLEST)))
        figures.append(grown.figure)
        logger.info(
            "forest %d of %d, without %d of %d training lists: %s, depth %d, %d trees, "
            "validation %.4f",
            part + 1,
            count,
            (parts == part).sum(),
            len(parts),
            grown.loss,
            grown.depth,
            len(grown.forest.leaves),
            grown.figure,
        )
    return Stack(tuple(forests), names, parts, tuple(figures))


def assign_folds(queries: np.ndarray, lengths: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The part of every list, [lists] int64.

    Lists of one query are in one part, and parts have about equally many rows.

    Args:
      queries: A value that identifies the query of each list, [lists].
      lengths: Rows of each list, [lists].
      folds: How many parts.
      seed: Seed of the order in which queries of equal length are assigned.

    Raises:
      ValueError: There are fewer queries than parts.

    Example:
      >>> import numpy as np
      >>> queries, lengths = np.array(["mug", "red", "mug", "hat"]), np.array([2, 4, 2, 4])
      >>> parts = assign_folds(queries, lengths, folds=3, seed=0)
      >>> bool(parts[0] == parts[2]), sorted(set(parts.tolist()))
      (True, [0, 1, 2])
    """
    names, of_lists = np.unique(queries, return_inverse=True)
    if len(names) < folds:
        raise ValueError(f"{len(names)} distinct queries cannot be split into {folds} parts")
    rows = np.bincount(of_lists, lengths)
    order = np.random.default_rng(seed).permutation(len(names))
    held, part = np.zeros(folds), np.zeros(len(names), np.int64)
    for query in order[np.argsort(-rows[order], kind="stable")]:
        part[query] = held.argmin()
        held[part[query]] += rows[query]
    return part[of_lists]


def in_chunks(forest: Forest, features: np.ndarray) -> np.ndarray:
    """Scores [N] float32 of rows of features [N, F], chunk by chunk to save memory."""
    starts = range(0, len(features), CHUNK)
    parts = [forest.scores(features[at : at + CHUNK]) for at in starts]
    return np.concatenate([np.zeros(0, np.float32), *parts])
