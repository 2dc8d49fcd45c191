"""Scorers that need no training: what a ranker must beat to be worth serving."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import bm25s
import numpy as np
import pandas as pd

from mmrank.data.tables import Dataset
from mmrank.data.words import tokens
from mmrank.schema import Feature, Schema

logger = logging.getLogger(__name__)
WORDED = ("text", "tags", "category")
Baseline = Callable[[Dataset, pd.DataFrame], np.ndarray]

# The first that applies: berries, dresses, watches, boxes; and the plain s, but not glass or lotus.
_PLURALS = (
    (re.compile("(?<=..)ies$"), "y"),
    (re.compile("(?<=ss|sh|ch)es$|(?<=[xz])es$"), ""),
    (re.compile("(?<![sui])s$"), ""),
)


def baseline_scores(
    dataset: Dataset, rows: pd.DataFrame, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """The scores of the named baselines, float64 [rows] each, in the order of the names.

    BM25 is left out, with a line that says why, where the schema has no words to match.

    Args:
      dataset: The dataset.
      rows: Candidate rows of it, say `dataset.rows("test")`.
      names: Names from `BASELINES`.

    Raises:
      ValueError: A name is not among `BASELINES`.
    """
    check_names(names)
    scores = {}
    for name in names:
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
    """
    for name in names:
        if name not in BASELINES:
            raise ValueError(f"unknown baseline {name!r}; known: {', '.join(BASELINES)}")


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
    columns = [[_as_text(v) for v in frame[f.column]] for f in features]
    if not columns:
        return [""] * len(frame)
    return [" ".join(filter(None, values)) for values in zip(*columns, strict=True)]


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple, np.ndarray)):
        return " ".join(_as_text(v) for v in value)
    return "" if pd.isna(value) else str(value)


def count_before(
    keys: np.ndarray, times: np.ndarray, at_keys: np.ndarray, at_times: np.ndarray
) -> np.ndarray:
    """How many events of a key lie strictly before a time.

    Args:
      keys: The events' keys, int64 [events].
      times: The events' times in seconds, [events].
      at_keys: The keys asked about, int64 [queries].
      at_times: The times asked about in seconds, [queries]; infinity counts all events.

    Returns:
      int64 [queries].
    """
    key = np.concatenate([at_keys, keys])
    time = np.concatenate([at_times, times])
    is_event = np.repeat([False, True], [len(at_keys), len(keys)])
    # At the same time a question stands before the events, so that it does not count them.
    order = np.lexsort((is_event, time, key))
    running = np.cumsum(is_event[order])
    starts = np.flatnonzero(np.r_[True, np.diff(key[order]) != 0]) if len(order) else order
    before_key = np.repeat(
        running[starts] - is_event[order][starts], np.diff(np.r_[starts, len(order)])
    )
    counts = np.empty(len(order), dtype=np.int64)
    counts[order] = running - before_key
    return counts[: len(at_keys)]


def training_end(dataset: Dataset) -> float:
    """The time in seconds from which on an event is no training event; infinity if all are.

    It is just after the last training list. Without training lists, as in a catalogue that the
    model never saw, it is the time of the first list, and without times there is no end.
    """
    if dataset.schema.lists.time is None:
        return np.inf
    train = dataset.rows("train")["_time"].dropna()
    if len(train):
        return float(np.nextafter(train.max(), np.inf))
    times = dataset.lists["_time"].dropna()
    return float(times.min()) if len(times) else np.inf


def list_times(dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """Up to when events are known to each row's list, float64 seconds [rows].

    A list's own time where it has one; otherwise the end of training.
    """
    if dataset.schema.lists.time is None:
        return np.full(len(rows), np.inf)
    times = rows["_time"].to_numpy(dtype=np.float64)
    return np.where(np.isnan(times), training_end(dataset), times)


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


def _bm25(dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """BM25 of the query's texts in the item's texts, tags and categories; 0 without a query.

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
