"""Everything a ranker is compared with, in one run and on the same lists."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import pathlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mmrank.collaborative.scorers import SCORERS
from mmrank.data.tables import DataError, Dataset
from mmrank.evaluation.baselines import BASELINES, as_of_scores, baseline_scores, check_names
from mmrank.evaluation.costs import Cost, Tuning
from mmrank.evaluation.offline import label_grades, list_offsets
from mmrank.evaluation.peers import PEERS, TRIALS, Part, check_installed
from mmrank.evaluation.peers.base import Ndcg, Peer

if TYPE_CHECKING:
    from mmrank.build import Run

DENSE = "dense"
# Those that look at train and valid lists.
LEARNING = (*PEERS, DENSE)
LEARN, CHOOSE = "train", "valid"
METRICS_FILE = "metrics.json"
logger = logging.getLogger(__name__)


def known_names() -> tuple[str, ...]:
    """The names of all scorers that a ranker can be compared with."""
    return (*BASELINES, DENSE, *PEERS, *SCORERS)


def check_compared(names: Sequence[str]) -> None:
    """Checks that every name is known and that what it needs is installed.

    Raises:
      ValueError: The first that is not known, with the known names.
      MissingExtra: One needs a package that is not installed.
    """
    for name in names:
        if name not in known_names():
            raise ValueError(f"unknown baseline {name!r}; known: {', '.join(known_names())}")
        if name in PEERS:
            check_installed(name)
    check_names([name for name in names if name in {*BASELINES, *SCORERS}])


@dataclasses.dataclass(frozen=True)
class Compared:
    """The scores of several scorers on the same rows, and what each costs.

    Attributes:
      scores: [rows] float64 by name.
      costs: By name.
    """

    scores: dict[str, np.ndarray]
    costs: dict[str, Cost]


def compared_scores(
    run: Run,
    dataset: Dataset,
    rows: pd.DataFrame,
    names: Sequence[str],
    *,
    label: str = "grade",
    trials: int = TRIALS,
    seed: int = 0,
    dense: pathlib.Path | None = None,
    learned: Dataset | None = None,
) -> Compared:
    """The scores of baselines and peers, in the order of the names.

    Peers learn from the train lists and are tuned on the valid ones; no other list is looked at
    before they are done. So is the pair of texts chosen whose cosine is `dense`.

    Args:
      run: The ranker, whose features the peers read.
      dataset: The dataset of the rows.
      rows: The rows to score, a list's rows together.
      names: As `known_names` has them.
      label: What the peers learn to order by.
      trials: How many settings of each peer are tried.
      seed: Of all that is random.
      dense: A TF-Hub text encoder for `dense`; None for the run's own.
      learned: What the peers learn from; None for `dataset`.

    Raises:
      DataError: There are no lists to learn from or to choose by, or nothing that can be read.
    """
    source = dataset if learned is None else learned
    if learned is None and set(names) & set(PEERS) and (rows["_split"] != "test").any():
        logger.warning("peers learned from some of these lists: their figures flatter them")
    lists = _Lists(run, source, dataset, rows, label)
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
    label: str = "grade",
    trials: int = TRIALS,
    seed: int = 0,
) -> dict[str, Cost]:
    """What peers reach on the validation lists, and at what cost, by name; nothing else is scored.

    Arguments and errors as of `compared_scores`; every name is a peer's.
    """
    lists = _Lists(run, dataset, dataset, dataset.rows(CHOOSE), label)
    return {name: _cost(PEERS[name].fit(*lists.parts, trials, seed)) for name in names}


def run_cost(run: Run, score_seconds: float) -> Cost:
    """What the ranker itself costs.

    Its size is that of its weights and trees, without frozen encoders, which run ahead of it; its
    training time is what the run has kept.

    Args:
      run: The ranker.
      score_seconds: Time that scoring the rows took, its features included.
    """
    file, seconds = run.folder / METRICS_FILE, None
    if file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8")).get("seconds", {})
        seconds = kept.get("training")
    blend = run.model.blend
    size = 0 if blend is None else blend.forest.size
    if blend is None or blend.network:
        size += sum(w.shape.num_elements() * w.dtype.size for w in run.model.network.weights)
    return Cost(train_seconds=seconds, score_seconds=score_seconds, size=size)


class _Lists:
    """The lists to learn from, to choose by and to score, their features made when first needed."""

    def __init__(self, run: Run, source: Dataset, dataset: Dataset, rows: pd.DataFrame, label: str):
        self.run, self.source, self.dataset, self.rows = run, source, dataset, rows
        self.label = label

    def of(self, split: str) -> pd.DataFrame:
        """The rows to learn from or to choose by.

        Raises:
          DataError: There are none.
        """
        rows = self.source.rows(split)
        if rows.empty:
            raise DataError(
                f"{self.source.folder}: no list in split {split!r}, which peers need; leave them "
                "out, or add lists"
            )
        return rows

    def grades(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Grades [rows] and offsets [lists + 1] of rows to learn from or to choose by."""
        lists = self.source.schema.lists
        return label_grades(self.source, rows, self.label), list_offsets(rows[lists.list])

    @functools.cached_property
    def parts(self) -> tuple[Part, Part]:
        """What is learned from, and what is chosen by."""
        rows = [self.of(split) for split in (LEARN, CHOOSE)]
        train, valid = (self._part(of_split) for of_split in rows)
        if not Ndcg(valid.grades, valid.offsets).any:
            raise DataError(
                f"{self.source.folder}: no list of split {CHOOSE!r} has a relevant item, so that "
                "peers cannot be tuned; leave them out, or add lists"
            )
        return train, valid

    def _part(self, rows: pd.DataFrame) -> Part:
        names, features = self._plain(self.source, rows)
        if not names:
            raise DataError(
                f"{self.source.folder}: no numbers, categories or match features, so that peers "
                "have nothing to read; leave them out"
            )
        return Part(features, *self.grades(rows))

    def _plain(self, dataset: Dataset, rows: pd.DataFrame) -> tuple[tuple[str, ...], np.ndarray]:
        # It takes TensorFlow, which what needs no features does without.
        from mmrank.plain_features import plain_features

        logger.info("plain features of %s candidates", f"{len(rows):,}")
        return plain_features(self.run, dataset, rows)

    @functools.cached_property
    def scored(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Features and offsets of the rows to score, and the seconds it took."""
        began = time.monotonic()
        features = self._plain(self.dataset, self.rows)[1]
        offsets = list_offsets(self.rows[self.dataset.schema.lists.list])
        return features, offsets, time.monotonic() - began


def _peer(name: str, lists: _Lists, trials: int, seed: int) -> tuple[np.ndarray, Cost]:
    peer = PEERS[name].fit(*lists.parts, trials, seed)
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
    """What a peer cost to make."""
    return Cost(
        train_seconds=peer.trial_seconds,
        tune_seconds=peer.seconds,
        size=peer.size,
        tuning=Tuning(peer.trials, peer.space, peer.choice, peer.validation),
    )


def _dense(lists: _Lists, folder: pathlib.Path | None) -> tuple[np.ndarray, Cost]:
    """The cosine of the pair of texts that orders the validation lists best."""
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
