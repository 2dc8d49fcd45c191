"""Scores everything that a ranker is compared with, in one run and on the same lists."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import pathlib
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mmrank.collaborative.scorers import SCORERS
from mmrank.config import METRICS_FILE
from mmrank.data.checks import as_numbers
from mmrank.data.tables import DataError, Dataset
from mmrank.evaluation.baselines import BASELINES, as_of_scores, baseline_scores, check_names
from mmrank.evaluation.costs import Cost, Tuning
from mmrank.evaluation.offline import label_grades, learned_label, list_offsets
from mmrank.evaluation.peers import PEERS, TRIALS, Part
from mmrank.evaluation.peers.base import Ndcg, Peer
from mmrank.registry import check_known

if TYPE_CHECKING:
    from mmrank.trained_run import Run

DENSE = "dense"
LEARN, CHOOSE = "train", "valid"
logger = logging.getLogger(__name__)


def known_names() -> tuple[str, ...]:
    """Returns the names of all scorers that a ranker can be compared with."""
    return (*BASELINES, DENSE, *PEERS, *SCORERS)


def any_learns(names: Iterable[str]) -> bool:
    """Returns whether any of the scorers uses train and valid lists."""
    return any(name in PEERS or name == DENSE for name in names)


def check_compared(names: Sequence[str]) -> None:
    """Checks that every name is known and that the packages it needs are installed.

    Raises:
      ConfigError: A name is unknown. The message gives the nearest name, or all of them.
      MissingExtra: A scorer needs a package that is not installed.
    """
    for name in names:
        check_known("baseline", name, known_names())
        if name in PEERS:
            PEERS.check_installed(name)
    check_names([name for name in names if name in {*BASELINES, *SCORERS}])


@dataclasses.dataclass(frozen=True)
class Compared:
    """The scores of several scorers on the same rows, and the cost of each.

    Attributes:
      scores: Scores by scorer name, [rows] float64.
      costs: Costs by scorer name.

    Example:
      >>> import numpy as np
      >>> from mmrank.evaluation.costs import Cost
      >>> found = Compared({"bm25": np.array([2.0, 0.5])}, {"bm25": Cost(score_seconds=0.1)})
      >>> int(found.scores["bm25"].argmax()), found.costs["bm25"].score_seconds
      (0, 0.1)
    """

    scores: dict[str, np.ndarray]
    costs: dict[str, Cost]


def compared_scores(
    run: Run,
    dataset: Dataset,
    rows: pd.DataFrame,
    names: Sequence[str],
    *,
    trials: int = TRIALS,
    seed: int = 0,
    dense: pathlib.Path | None = None,
    learned: Dataset | None = None,
) -> Compared:
    """Returns the scores of baselines and peers, in the order of the names.

    Peers are trained on the train lists with the label that the ranker learned, and are tuned by
    this label on the valid lists. They see no other list before they are finished. The pair of
    texts for `dense` is chosen by the same label on the valid lists.

    Args:
      run: The ranker, whose features the peers read.
      dataset: The dataset of the rows.
      rows: The rows to score; the rows of a list are consecutive.
      names: Names from `known_names`.
      trials: How many settings of each peer are tried.
      seed: Seed of everything random.
      dense: A TF-Hub text encoder for `dense`; None for the run's own.
      learned: The dataset that peers learn from; None for `dataset`.

    Raises:
      DataError: There are no train or valid lists, or no feature that the scorer can read.
    """
    source = dataset if learned is None else learned
    if learned is None and set(names) & set(PEERS) and (rows["_split"] != "test").any():
        logger.warning("peers learned from some of these lists, so their figures are too high")
    lists = _Lists(run, source, dataset, rows)
    as_of = run.fitted.as_of(dataset)
    if as_of is None and any(name in SCORERS for name in names):
        as_of = as_of_scores(dataset)
    scores: dict[str, np.ndarray] = {}
    costs: dict[str, Cost] = {}
    for name in names:
        if name in PEERS:
            scores[name], costs[name] = _peer(name, lists, trials, seed)
        elif name == DENSE:
            scores[name], costs[name] = _dense(lists, dense)
        else:
            began = time.monotonic()
            scores |= baseline_scores(dataset, rows, [name], as_of)
            if name in scores:
                costs[name] = Cost(score_seconds=time.monotonic() - began)
    return Compared(scores, costs)


def tuned_peers(
    run: Run,
    dataset: Dataset,
    names: Sequence[str],
    *,
    trials: int = TRIALS,
    seed: int = 0,
) -> dict[str, Cost]:
    """Tunes peers on the validation lists and returns their costs by name.

    A cost includes the NDCG@10 that the peer reaches on the validation lists. Nothing else is
    scored. Arguments and errors are those of `compared_scores`; every name is that of a peer.
    """
    lists = _Lists(run, dataset, dataset, dataset.rows(CHOOSE))
    return {name: _cost(PEERS.make(name)(*lists.parts, trials, seed)) for name in names}


def run_cost(run: Run, score_seconds: float) -> Cost:
    """Returns the cost of the ranker itself.

    Its size is that of its weights and trees. Frozen encoders are excluded, since they run before
    the ranker. Its training time is read from the run's metrics file.

    Args:
      run: The ranker.
      score_seconds: Time taken to score the rows, including the time to make their features.
    """
    file, seconds = run.folder / METRICS_FILE, None
    if file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8")).get("seconds", {})
        seconds = kept.get("training")
    blend, stack = run.model.blend, run.model.stack
    size = 0 if blend is None else blend.forest.size
    size += 0 if stack is None else stack.forest.size
    if blend is None or blend.network:
        size += sum(w.shape.num_elements() * w.dtype.size for w in run.model.network.weights)
    return Cost(train_seconds=seconds, score_seconds=score_seconds, size=size)


class _Lists:
    """The lists to train on, to validate on and to score.

    Their features are made when they are first needed.
    """

    def __init__(self, run: Run, source: Dataset, dataset: Dataset, rows: pd.DataFrame):
        self.run, self.source, self.dataset, self.rows = run, source, dataset, rows
        self.label = learned_label(run.config)

    def of(self, split: str) -> pd.DataFrame:
        """Returns the rows of a split to train or validate on.

        Raises:
          DataError: The split has no rows.
        """
        rows = self.source.rows(split)
        if rows.empty:
            raise DataError(
                f"{self.source.folder}: the split {split!r} has no lists, which peers need; add "
                "lists, or remove the peers"
            )
        return rows

    def grades(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Returns grades [rows] and offsets [lists + 1] of rows to train or validate on."""
        lists = self.source.schema.lists
        return label_grades(self.source, rows, self.label), list_offsets(rows[lists.list])

    @functools.cached_property
    def parts(self) -> tuple[Part, Part]:
        """The training lists and the validation lists, as peers read them."""
        rows = [self.of(split) for split in (LEARN, CHOOSE)]
        train, valid = (self._part(of_split) for of_split in rows)
        if not Ndcg(valid.grades, valid.offsets).any:
            raise DataError(
                f"{self.source.folder}: no list of split {CHOOSE!r} has a relevant item, so peers "
                "cannot be tuned; add such lists, or remove the peers"
            )
        return train, valid

    def _part(self, rows: pd.DataFrame) -> Part:
        names, features = self._plain(self.source, rows)
        if not names:
            raise DataError(
                f"{self.source.folder}: no numbers, categories or match features, so peers "
                "have nothing to read; remove the peers"
            )
        return Part(features, *self.grades(rows), self._positions(rows))

    def _positions(self, rows: pd.DataFrame) -> np.ndarray | None:
        """Returns the position of each row on its page when it got its label.

        Returns None if the label is a grade, if the schema has no label `position`, or if a row has
        no position.
        """
        column = self.source.schema.label("position")
        if self.label == "grade" or column is None:
            return None
        positions = as_numbers(rows[column.column])
        return positions.astype(np.int64) if np.isfinite(positions).all() else None

    def _plain(self, dataset: Dataset, rows: pd.DataFrame) -> tuple[tuple[str, ...], np.ndarray]:
        # Imported here, since it loads TensorFlow, which scorers without features do not need.
        from mmrank.plain_features import plain_features

        logger.info("plain features of %s candidates", f"{len(rows):,}")
        return plain_features(self.run, dataset, rows)

    @functools.cached_property
    def scored(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Features and offsets of the rows to score, and the seconds taken to make them."""
        began = time.monotonic()
        features = self._plain(self.dataset, self.rows)[1]
        offsets = list_offsets(self.rows[self.dataset.schema.lists.list])
        return features, offsets, time.monotonic() - began


def _peer(name: str, lists: _Lists, trials: int, seed: int) -> tuple[np.ndarray, Cost]:
    peer = PEERS.make(name)(*lists.parts, trials, seed)
    features, offsets, feature_seconds = lists.scored
    began = time.monotonic()
    scores = peer.predict(features, offsets)
    cost = dataclasses.replace(
        _cost(peer),
        score_seconds=time.monotonic() - began,
        feature_seconds=feature_seconds,
    )
    return scores, cost


def _cost(peer: Peer) -> Cost:
    """Returns the cost of training and tuning a peer."""
    return Cost(
        train_seconds=peer.trial_seconds,
        tune_seconds=peer.seconds,
        size=peer.size,
        tuning=Tuning(peer.trials, peer.space, peer.choice, peer.validation),
    )


def _dense(lists: _Lists, folder: pathlib.Path | None) -> tuple[np.ndarray, Cost]:
    """Returns the cosine of the pair of texts that orders the validation lists best."""
    from mmrank.evaluation.dense import cosines

    tuning: Tuning | None = None
    began = time.monotonic()
    found = cosines(lists.run, lists.dataset, lists.rows, folder)
    seconds = time.monotonic() - began
    names = tuple(found)
    name = names[0]
    if len(names) > 1:
        rows = lists.of(CHOOSE)
        ndcg = Ndcg(*lists.grades(rows))
        held = cosines(lists.run, lists.source, rows, folder)
        figures = {n: ndcg(held[n]) for n in names}
        name = max(names, key=lambda n: figures[n])
        tuning = Tuning(len(names), {"texts": names}, {"texts": name}, figures[name])
    return found[name], Cost(score_seconds=seconds, tuning=tuning)
