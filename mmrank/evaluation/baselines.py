"""Scorers that need no training: what a ranker must beat to be worth serving."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import bm25s
import numpy as np
import pandas as pd

from mmrank.collaborative.options import CollaborativeOptions
from mmrank.collaborative.scorers import SCORERS, make_scorers
from mmrank.collaborative.snapshots import AsOfScores
from mmrank.data.as_of import count_before, list_times
from mmrank.data.attributes import attribute_lines
from mmrank.data.tables import DataError, Dataset
from mmrank.data.words import tokens
from mmrank.schema import Feature, Schema

logger = logging.getLogger(__name__)
WORDED = ("text", "tags", "category", "attributes")
Baseline = Callable[[Dataset, pd.DataFrame], np.ndarray]

# The first that applies: berries, dresses, watches, boxes; and the plain s, but not glass or lotus.
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
    """The scores of the named baselines, float64 [rows] each, in the order of the names.

    BM25 is left out, with a line that says why, where the schema has no words to match.

    Args:
      dataset: The dataset.
      rows: Candidate rows of it, say `dataset.rows("test")`.
      names: Names from `BASELINES` and from the collaborative `SCORERS`.
      as_of: Collaborative scores of the dataset; None to make them with the default options.

    Raises:
      ValueError: A name is not known.
      DataError: A collaborative scorer is asked for where there are no events or no shoppers.
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
            logger.warning("bm25: left out, since the schema has no text of side %s", side)
            continue
        scores[name] = BASELINES[name](dataset, rows)
    return scores


def _side_without_words(schema: Schema) -> str | None:
    """The first of query and item that has nothing for BM25 to read; None if both have."""
    if not any(f.kind == "text" for f in schema.side("query")):
        return "query"
    return None if any(f.kind in WORDED for f in schema.side("item")) else "item"


def check_names(names: Sequence[str]) -> None:
    """Checks that every name is a baseline's.

    Raises:
      ValueError: The first that is not, with the known names.
      MissingExtra: A collaborative one needs a package that is not installed.
    """
    for name in names:
        if name not in {*BASELINES, *SCORERS}:
            known = ", ".join([*BASELINES, *SCORERS])
            raise ValueError(f"unknown baseline {name!r}; known: {known}")
    if collaborative := [name for name in names if name in SCORERS]:
        make_scorers(collaborative, CollaborativeOptions())


def singular(word: str) -> str:
    """The word without its English plural ending: `kurtas` and `kurta` are one word to BM25.

    Shops write "Sandal" where shoppers ask for "sandals"; BM25 without this is a baseline too
    easily beaten. Words of fewer than four letters stay as they are.
    """
    if len(word) < 4:
        return word
    for ending, replacement in _PLURALS:
        if ending.search(word):
            return ending.sub(replacement, word)
    return word


def text_of(frame: pd.DataFrame, features: Iterable[Feature]) -> list[str]:
    """The values of these features as one text per row, "" where all are missing."""
    as_text = {"attributes": attribute_lines}
    columns = [[as_text.get(f.kind, _as_text)(v) for v in frame[f.column]] for f in features]
    if not columns:
        return [""] * len(frame)
    return [" ".join(filter(None, values)) for values in zip(*columns, strict=True)]


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple, np.ndarray)):
        return " ".join(_as_text(v) for v in value)
    return "" if pd.isna(value) else str(value)


def _random(dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """A fixed random score per row."""
    return np.random.default_rng(0).random(len(rows))


def _popularity(dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """How often the item met an event strictly before the list's time.

    A list without a time counts all training events. A shop without events counts the training
    rows in which the item was relevant (a positive grade).
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
    """The collaborative scores of a dataset, with the default options.

    Raises:
      DataError: There are no events or no shoppers.
    """
    if dataset.events is None or dataset.schema.lists.user is None:
        missing = "no events" if dataset.events is None else "no column lists.user"
        raise DataError(
            f"{dataset.folder}: the schema has {missing}, which a collaborative baseline "
            f"({', '.join(SCORERS)}) needs; leave these baselines out"
        )
    return AsOfScores(dataset, CollaborativeOptions())


def _with_popularity(
    as_of: AsOfScores | None, scores: np.ndarray, rows: pd.DataFrame
) -> np.ndarray:
    """The scores of some rows; where a list has no history, the item's events before its time."""
    assert as_of is not None
    at = as_of.places(rows)
    return np.where(as_of.user_events[at] > 0, scores[at], as_of.item_events[at])


def _bm25(dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """BM25 of the query's texts in all words of the item; 0 without a query.

    Its words are those of texts, tags, categories and attributes.

    Words are lower-cased and freed of the English plural, ideographs stand alone.

    Source: Robertson and Zaragoza 2009, in Lucene's form as kept by the package bm25s
      (k1 1.5, b 0.75); the document frequencies are those of the whole catalogue.
    """
    schema = dataset.schema
    worded = [f for f in schema.side("item") if f.kind in WORDED]
    corpus = [_terms(text) for text in text_of(dataset.catalog, worded)]
    scores = np.zeros(len(rows))
    if not any(corpus):
        return scores
    index = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    index.index(corpus, show_progress=False)
    queries = text_of(rows, [f for f in schema.side("query") if f.kind == "text"])
    items = rows["_item"].to_numpy()
    for query, places in pd.Series(np.arange(len(rows))).groupby(queries, sort=False):
        words = _terms(str(query))
        if words:
            at = places.to_numpy()
            scores[at] = index.get_scores(words)[items[at]]
    return scores


def _terms(text: str) -> list[str]:
    return [singular(word) for word in tokens(text)]


BASELINES: dict[str, Baseline] = {"random": _random, "popularity": _popularity, "bm25": _bm25}
