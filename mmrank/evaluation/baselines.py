"""Scorers that need no training. A ranker must beat them to be worth serving."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Iterable, Sequence

import bm25s
import numpy as np
import pandas as pd

from mmrank.collaborative.options import CollaborativeOptions
from mmrank.collaborative.scorers import SCORERS, make_scorers
from mmrank.collaborative.snapshots import AsOfScores
from mmrank.data.as_of import count_before, list_times
from mmrank.data.kinds import kind_of
from mmrank.data.tables import DataError, Dataset
from mmrank.data.words import tokens
from mmrank.ranges import Share, Weight
from mmrank.registry import Entry, Registry, check_known
from mmrank.schema import Feature, Schema

logger = logging.getLogger(__name__)
Baseline = Callable[[Dataset, pd.DataFrame], np.ndarray]

# Only the first rule that matches is applied: berries, dresses, watches, boxes, then a plain s. The
# last rule excludes words such as glass and lotus.
_PLURALS = (
    (re.compile("(?<=..)ies$"), "y"),
    (re.compile("(?<=ss|sh|ch)es$|(?<=[xz])es$"), ""),
    (re.compile("(?<![sui])s$"), ""),
)


def baseline_scores(
    dataset: Dataset,
    rows: pd.DataFrame,
    names: Sequence[str],
    as_of: AsOfScores | None = None,
) -> dict[str, np.ndarray]:
    """Returns the scores of the named baselines, float64 [rows] each, in the order of the names.

    BM25 is left out, with a warning that gives the reason, if the schema has no text to match.

    Args:
      dataset: The dataset.
      rows: Candidate rows of the dataset, for example `dataset.rows("test")`.
      names: Names from `BASELINES` and from the collaborative `SCORERS`.
      as_of: Collaborative scores of the dataset; None computes them with the default options.

    Raises:
      ConfigError: A name is not known.
      DataError: A collaborative scorer is requested, but the dataset has no events or no users.

    Example:
      >>> from mmrank.data.simulator import simulate
      >>> from mmrank.data.tables import load_dataset
      >>> _ = simulate("shop", items=60, queries=20, users=5)
      >>> dataset = load_dataset("shop")
      >>> scores = baseline_scores(dataset, dataset.rows("test"), ["popularity", "bm25"])
      >>> list(scores), len(scores["bm25"]) == len(dataset.rows("test"))
      (['popularity', 'bm25'], True)
    """
    check_names(names)
    scores = {}
    collaborative = [name for name in names if name in SCORERS]
    if collaborative:
        if as_of is None:
            as_of = as_of_scores(dataset)
        together = as_of.scores(collaborative)
    for name in names:
        if name in SCORERS:
            scores[name] = _with_popularity(as_of, together[name], rows)
            continue
        if name == "bm25" and (side := _side_without_words(dataset.schema)):
            logger.warning("bm25: skipped, because the schema has no text of side %s", side)
            continue
        scores[name] = BASELINES.make(name)(dataset, rows)
    return scores


def _side_without_words(schema: Schema) -> str | None:
    """Returns the first of query and item without text for BM25; None if both have text."""
    if not any(kind_of(f.kind).typed for f in schema.side("query")):
        return "query"
    return None if any(kind_of(f.kind).matched_by for f in schema.side("item")) else "item"


def check_names(names: Sequence[str]) -> None:
    """Checks that every name is that of a baseline.

    Raises:
      ConfigError: A name is unknown. The message gives the nearest name, or all of them.
      MissingExtra: A collaborative baseline needs a package that is not installed.
    """
    for name in names:
        check_known("baseline", name, (*BASELINES, *SCORERS))
    if collaborative := [name for name in names if name in SCORERS]:
        make_scorers(collaborative, CollaborativeOptions())


def singular(word: str) -> str:
    """Returns the word without its English plural ending, so that `kurtas` matches `kurta` in BM25.

    Shops write "Sandal" where users search for "sandals". Without this step BM25 would be too weak
    a baseline. Words of fewer than four letters are not changed.
    """
    if len(word) < 4:
        return word
    for ending, replacement in _PLURALS:
        if ending.search(word):
            return ending.sub(replacement, word)
    return word


def text_of(frame: pd.DataFrame, features: Iterable[Feature]) -> list[str]:
    """Returns the values of these features as one text per row, "" where all are missing."""
    columns = [list(map(kind_of(f.kind).text, frame[f.column])) for f in features]
    if not columns:
        return [""] * len(frame)
    return [" ".join(filter(None, values)) for values in zip(*columns, strict=True)]


def _random(dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """Returns a fixed random score per row, float64 [rows]."""
    return np.random.default_rng(0).random(len(rows))


def _popularity(dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """Returns the number of the item's events strictly before the list's time, float64 [rows].

    For a list without a time, all training events count. In a dataset without events, the score is
    the number of training rows in which the item was relevant (a positive grade).
    """
    items = rows["_item"].to_numpy(dtype=np.int64)
    if dataset.events is None:
        train = dataset.rows("train")
        relevant = train[dataset.schema.feature("grade").column].to_numpy(dtype=np.float64) > 0
        counts = np.bincount(train["_item"][relevant], minlength=len(dataset.catalog))
        return counts[items].astype(np.float64)
    known = dataset.events["_item"].to_numpy(dtype=np.int64)
    times = dataset.events["_time"].to_numpy(dtype=np.float64)
    return count_before(known, times, items, list_times(dataset, rows)).astype(np.float64)


def as_of_scores(dataset: Dataset) -> AsOfScores:
    """Returns the collaborative scores of a dataset, with the default options.

    Raises:
      DataError: The dataset has no events or no users.
    """
    if dataset.events is None or dataset.schema.lists.user is None:
        missing = "no events" if dataset.events is None else "no column lists.user"
        raise DataError(
            f"{dataset.folder}: the schema has {missing}, which collaborative baselines "
            f"({', '.join(SCORERS)}) need; remove these baselines"
        )
    return AsOfScores(dataset, CollaborativeOptions())


def _with_popularity(
    as_of: AsOfScores | None, scores: np.ndarray, rows: pd.DataFrame
) -> np.ndarray:
    """Returns the scores of some rows.

    A row of a list whose user has no history gets the item's event count before the list's time.
    """
    assert as_of is not None
    at = as_of.indices(rows)
    return np.where(as_of.user_events[at] > 0, scores[at], as_of.item_events[at])


@dataclasses.dataclass(frozen=True)
class Bm25Options:
    """Options of BM25.

    Attributes:
      k1: How much further occurrences of a word count.
      b: How much the score is divided by the item's length.
    """

    k1: Weight = 1.5
    b: Share = 0.75


def _bm25(
    dataset: Dataset,
    rows: pd.DataFrame,
    *,
    k1: float = Bm25Options.k1,
    b: float = Bm25Options.b,
) -> np.ndarray:
    """Returns BM25 of the query's texts against all words of the item; 0 without a query.

    The words of an item are those of its texts, tags, categories and attributes.

    Words are lower-cased and lose their English plural ending. Each ideograph is a word of its own.

    Source: Robertson and Zaragoza 2009, in Lucene's form as implemented by the package
      bm25s. The document frequencies are those of the whole catalogue.
    """
    schema = dataset.schema
    worded = [f for f in schema.side("item") if kind_of(f.kind).matched_by]
    corpus = [_terms(text) for text in text_of(dataset.catalog, worded)]
    scores = np.zeros(len(rows))
    if not any(corpus):
        return scores
    index = bm25s.BM25(method="lucene", k1=k1, b=b)
    index.index(corpus, show_progress=False)
    queries = text_of(rows, [f for f in schema.side("query") if kind_of(f.kind).typed])
    items = rows["_item"].to_numpy()
    for query, row_numbers in pd.Series(np.arange(len(rows))).groupby(queries, sort=False):
        words = _terms(str(query))
        if words:
            at = row_numbers.to_numpy()
            scores[at] = index.get_scores(words)[items[at]]
    return scores


def _terms(text: str) -> list[str]:
    return [singular(word) for word in tokens(text)]


# Each entry makes a function `Baseline`.
BASELINES = Registry(
    "baseline",
    {
        "random": Entry.function(_random),
        "popularity": Entry.function(_popularity),
        "bm25": Entry.function(_bm25, Bm25Options),
    },
)
