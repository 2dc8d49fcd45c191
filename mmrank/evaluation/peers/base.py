"""Types that all peers share, and the search over their settings."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from mmrank.evaluation.metrics import rank
from mmrank.trees.part import Part

logger = logging.getLogger(__name__)
TRIALS = 12
CUTOFF = 10
METRIC = f"ndcg@{CUTOFF}"

Settings = Mapping[str, Any]
Space = Mapping[str, Sequence[Any]]
Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Grown:
    """The result of one trial.

    Attributes:
      predict: Features [rows, F] and offsets [lists + 1] → scores [rows] float64.
      size: Bytes of the trained model as its library stores it.
      learned: What training chose itself, such as the number of rounds.
    """

    predict: Predict
    size: int
    learned: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Peer:
    """A tuned peer: the best of all trials by NDCG@10 on the validation lists.

    Attributes:
      predict: Features [rows, F] and offsets [lists + 1] → scores [rows] float64.
      size: Bytes of the trained model as its library stores it.
      choice: The chosen settings, and what training chose itself.
      validation: NDCG@10 on the validation lists. Lists without a relevant item are left out.
      trials: How many settings were tried.
      space: The values that the settings were drawn from.
      seconds: Time of all trials together, including their validation.
      trial_seconds: Training time of the chosen trial.

    Example:
      >>> import numpy as np
      >>> peer = Peer(
      ...     predict=lambda features, offsets: -features[:, 0],
      ...     size=100,
      ...     choice={"leaves": 8},
      ...     validation=0.7,
      ...     trials=2,
      ...     space={"leaves": (8, 16)},
      ...     seconds=3.0,
      ...     trial_seconds=1.0,
      ... )
      >>> peer.predict(np.array([[5.0], [2.0]]), np.array([0, 2])).tolist()
      [-5.0, -2.0]
    """

    predict: Predict
    size: int
    choice: Mapping[str, Any]
    validation: float
    trials: int
    space: Space
    seconds: float
    trial_seconds: float


class Fit(Protocol):
    """Trains and tunes one peer.

    Example:
      >>> import numpy as np
      >>> def by_one_feature(train: Part, valid: Part, trials: int, seed: int) -> Peer:
      ...     def grow(settings, seed):
      ...         return Grown(lambda features, offsets: settings["sign"] * features[:, 0], 0, {})
      ...
      ...     return tuned("one feature", {"sign": (1, -1)}, valid, trials, seed, grow)
      >>> lists = Part(np.array([[5.0], [2.0]]), grades=np.array([0, 1]), offsets=np.array([0, 2]))
      >>> peer = by_one_feature(lists, lists, trials=2, seed=0)
      >>> peer.choice, peer.validation  # the cheaper candidate is the relevant one
      ({'sign': -1}, 1.0)
    """

    def __call__(self, train: Part, valid: Part, trials: int, seed: int) -> Peer: ...


class Ndcg:
    """Computes NDCG@10 for many scorings of the same lists, reusing what depends only on the lists.

    The value is that of `metrics.per_list`, except that ties have another random order. Lists
    without a positive grade are left out of the mean.

    Args:
      grades: [rows].
      offsets: [lists + 1].

    Attributes:
      any: Whether at least one list has a positive grade.
    """

    def __init__(self, grades: np.ndarray, offsets: np.ndarray):
        lengths = np.diff(offsets)
        width = int(lengths.max(initial=1))
        # The rows of each list are put in a random order, in which a stable sort leaves ties.
        ranked = rank(np.zeros(len(grades)), grades, offsets)
        self._row = np.zeros([len(lengths), width], np.int64)
        self._mask = np.arange(width) < lengths[:, None]
        self._row[self._mask] = ranked.row
        gains = np.where(self._mask, np.exp2(np.asarray(grades)[self._row]) - 1.0, 0.0)
        top = min(CUTOFF, width)
        self._discount = 1.0 / np.log2(np.arange(2, top + 2))
        ideal = -np.sort(-gains, axis=1)[:, :top] @ self._discount
        self._lists = np.flatnonzero(ideal > 0)
        self._gains, self._ideal = gains[self._lists], ideal[self._lists]
        self._row, self._mask = self._row[self._lists], self._mask[self._lists]
        self.any = len(self._lists) > 0

    def __call__(self, scores: np.ndarray) -> float:
        """Returns the mean NDCG@10 over lists for scores [rows]."""
        padded = np.where(self._mask, -np.asarray(scores, np.float64)[self._row], np.inf)
        best = np.argsort(padded, axis=1, kind="stable")[:, : len(self._discount)]
        gained = np.take_along_axis(self._gains, best, axis=1) @ self._discount
        return float((gained / self._ideal).mean())


def tuned(
    name: str,
    space: Space,
    valid: Part,
    trials: int,
    seed: int,
    grow: Callable[[Settings, int], Grown],
) -> Peer:
    """Trains a peer with several settings and returns the best by NDCG@10 on the validation lists.

    The first trial uses the first value of every setting. The other trials are drawn at random,
    without repetition.

    Args:
      name: The peer's name, for the log.
      space: The values of every setting.
      valid: The validation lists.
      trials: How many settings to try, at least 1; fewer if the space has fewer combinations.
      seed: Seed of the draws and of each training.
      grow: Trains a model, given settings and a seed.
    """
    ndcg = Ndcg(valid.grades, valid.offsets)
    began = time.monotonic()
    best: tuple[float, Settings, Grown, float] | None = None
    drawn = draws(space, trials, seed)
    for number, settings in enumerate(drawn):
        started = time.monotonic()
        grown = grow(settings, seed)
        took = time.monotonic() - started
        figure = ndcg(grown.predict(valid.features, valid.offsets))
        logger.info(
            "%s, trial %d of %d: validation %s %.4f in %.0f s",
            name, number + 1, len(drawn), METRIC, figure, took,
        )  # fmt: skip
        if best is None or figure > best[0]:
            best = figure, settings, grown, took
    assert best is not None
    figure, settings, grown, took = best
    return Peer(
        predict=grown.predict,
        size=grown.size,
        choice={**settings, **grown.learned},
        validation=figure,
        trials=len(drawn),
        space=space,
        seconds=time.monotonic() - began,
        trial_seconds=took,
    )


def threads() -> int:
    """Returns the number of threads for training trees: `OMP_NUM_THREADS`, or all cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else os.cpu_count() or 1


def draws(space: Space, trials: int, seed: int) -> list[Settings]:
    """Returns distinct settings of a space: the first value of every setting, then random ones.

    Args:
      space: The values of every setting.
      trials: How many settings, at least 1. If the space has fewer combinations, all are returned.
      seed: Seed of the draws.

    Raises:
      ValueError: `trials` is below 1.
    """
    if trials < 1:
        raise ValueError(f"trials: expected 1 or more, got {trials}")
    sizes = [len(values) for values in space.values()]
    whole = int(np.prod(sizes))
    random = np.random.default_rng(seed)
    chosen = [0]
    while len(chosen) < min(trials, whole):
        index = int(random.integers(whole))
        if index not in chosen:
            chosen.append(index)
    indices = np.unravel_index(chosen, sizes)
    return [
        {name: values[at[i]] for (name, values), at in zip(space.items(), indices, strict=True)}
        for i in range(len(chosen))
    ]
