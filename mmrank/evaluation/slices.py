"""Slices: parts of an evaluation that are reported separately.

A **list slice** selects whole lists (short queries, new users). An **item slice** restricts every
list to the candidates of the slice (cold items, items without a photo). It measures how well these
candidates are ordered among themselves. An item slice drops a list that is left with fewer than two
candidates or without a positive grade.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from mmrank.data.as_of import count_before, list_times
from mmrank.data.blank import BLANK
from mmrank.data.frequency import counts_at_lists, training_counts
from mmrank.data.kinds import kind_of
from mmrank.data.media import MediaStore, open_media
from mmrank.data.tables import Dataset
from mmrank.data.words import tokens
from mmrank.evaluation.baselines import text_of

HEAD_SHARE, TAIL_SHARE = 0.2, 0.5
RARE_EVENTS = 5
SHORT_QUERY = 2
NEW_USER_EVENTS = 3
ALWAYS = ("head items", "middle items", "tail items", "cold items")


@dataclasses.dataclass(frozen=True)
class Slice:
    """A part of the candidate rows.

    Attributes:
      name: Short name, shown in reports.
      description: What exactly the slice contains.
      of: `items` for an item slice, `lists` for a list slice.
      rows: Whether each row belongs to the slice, bool [rows]. In a list slice the value is the
        same for all rows of a list.

    Example:
      >>> import numpy as np
      >>> rows = np.array([True, True, False])
      >>> short = Slice("short queries", "queries of at most 2 words", of="lists", rows=rows)
      >>> short.of, int(short.rows.sum())
      ('lists', 2)
    """

    name: str
    description: str
    of: str
    rows: np.ndarray


def find_slices(dataset: Dataset, rows: pd.DataFrame) -> tuple[Slice, ...]:
    """Returns the slices that the dataset's schema allows and that hold at least one of the rows.

    The slices of head, middle, tail and cold items are always included, even without a row.

    Args:
      dataset: The dataset.
      rows: Candidate rows of the dataset, for example `dataset.rows("test")`.

    Raises:
      DataError: The schema has media features, and the media folder or archive cannot be read.

    Example:
      >>> from mmrank.data.simulator import simulate
      >>> from mmrank.data.tables import load_dataset
      >>> _ = simulate("shop", items=60, queries=20, users=5)
      >>> dataset = load_dataset("shop")
      >>> slices = find_slices(dataset, dataset.rows("test"))
      >>> [part.name for part in slices][:4]
      ['head items', 'middle items', 'tail items', 'cold items']
    """
    found = (
        *_by_popularity(dataset, rows),
        *_by_absence(dataset, rows),
        *_by_query(dataset, rows),
        *_by_user(dataset, rows),
    )
    return tuple(part for part in found if part.name in ALWAYS or part.rows.any())


def _by_popularity(dataset: Dataset, rows: pd.DataFrame) -> tuple[Slice, ...]:
    """Returns head, middle, tail and cold items, then rare and, with events, unseen items.

    The first four slices partition the candidates.
    """
    counts = training_counts(dataset)
    known = np.sort(counts[counts > 0])
    head = int(known[-int(np.ceil(HEAD_SHARE * len(known)))]) if len(known) else 1
    tail = int(known[int(np.ceil(TAIL_SHARE * len(known))) - 1]) if len(known) else 0
    tail = min(tail, head - 1)
    seen = counts_at_lists(dataset, rows)
    of_lists = dataset.events is None
    what = "rows in training lists" if of_lists else "training events before the list's time"
    parts = [
        Slice(
            "head items",
            f"items with {head} or more {what}: reached by the most frequent {HEAD_SHARE:.0%} of "
            "the items with any, by the end of training",
            "items",
            seen >= head,
        ),
        Slice(
            "middle items",
            f"items with {tail + 1} to {head - 1} {what}: neither head nor tail",
            "items",
            (seen > tail) & (seen < head),
        ),
        Slice(
            "tail items",
            f"items with 1 to {tail} {what}: reached by the least frequent {TAIL_SHARE:.0%} of the "
            "items with any, by the end of training, without head items",
            "items",
            (seen > 0) & (seen <= tail),
        ),
        Slice("cold items", f"items without {what}", "items", seen == 0),
        Slice(
            "rare items", f"items with at most {RARE_EVENTS} {what}", "items", seen <= RARE_EVENTS
        ),
    ]
    if not of_lists:
        listed = np.zeros(len(counts), dtype=bool)
        listed[dataset.rows("train")["_item"].to_numpy()] = True
        new = (counts == 0) & ~listed
        parts.append(
            Slice(
                "unseen items",
                "items without an event by the end of training and in no training list",
                "items",
                new[rows["_item"].to_numpy()],
            )
        )
    return tuple(parts)


def _by_absence(dataset: Dataset, rows: pd.DataFrame) -> list[Slice]:
    """Returns a slice per item feature and per media feature of the query.

    A slice holds the items, or the lists, that lack the feature.
    """
    features = [
        f for f in dataset.schema.side("item", "query") if f.side == "item" or kind_of(f.kind).media
    ]
    media = open_media(dataset) if any(kind_of(f.kind).media for f in features) else None
    parts = []
    for feature in features:
        of_item = feature.side == "item"
        column = (dataset.catalog if of_item else rows)[feature.column]
        if kind_of(feature.kind).media:
            assert media is not None
            missing = _without_file(column, media)
            what = f"whose {feature.column} is empty or names a missing file"
        else:
            missing = np.array([_is_blank(value) for value in column], dtype=bool)
            what = f"whose {feature.column} is empty"
        parts.append(
            Slice(
                f"no {feature.name}",
                f"items {what}" if of_item else f"lists {what}",
                "items" if of_item else "lists",
                missing[rows["_item"].to_numpy()] if of_item else missing,
            )
        )
    if media is not None:
        media.close()
    return parts


def _without_file(column: pd.Series, media: MediaStore) -> np.ndarray:
    codes, names = pd.factorize(column)  # a query's photo is repeated in all its rows
    problem = [
        not isinstance(name, str) or not name or media.problem(name) is not None for name in names
    ]
    return np.array([*problem, True])[codes]  # code −1, a missing name, selects the last value


def _is_blank(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip(BLANK)
    if isinstance(value, (list, tuple, np.ndarray, dict)):
        return len(value) == 0
    return bool(pd.isna(value))


def _by_query(dataset: Dataset, rows: pd.DataFrame) -> list[Slice]:
    worded = [f for f in dataset.schema.side("query") if kind_of(f.kind).typed]
    if not worded:
        return []
    texts = text_of(rows, worded)
    lengths_of = {text: query_length(text) for text in set(texts)}
    length = np.array([lengths_of[text] for text in texts], dtype=np.float64)
    with_query = length > 0
    short = with_query & (length <= SHORT_QUERY)
    unit = f"{SHORT_QUERY} words ({2 * SHORT_QUERY} Chinese characters)"
    parts = [
        Slice("short queries", f"lists whose query has at most {unit}", "lists", short),
        Slice(
            "long queries", f"lists whose query has more than {unit}", "lists", with_query & ~short
        ),
    ]
    if not with_query.all() and with_query.any():
        parts += [
            Slice("with query", "lists with a text query", "lists", with_query),
            Slice("without query", "lists without a text query", "lists", ~with_query),
        ]
    return parts


def query_length(text: str) -> float:
    """Returns the query's length in words; a Chinese or Japanese character counts half a word.

    Example:
      >>> query_length("red dress"), query_length("red 裙子")
      (2.0, 2.0)
    """
    return sum(0.5 if len(t) == 1 and t >= "\u3040" else 1.0 for t in tokens(text))


def _by_user(dataset: Dataset, rows: pd.DataFrame) -> list[Slice]:
    lists, events = dataset.schema.lists, dataset.schema.events
    if dataset.events is None or events is None or lists.user is None:
        return []
    codes, _ = pd.factorize(pd.concat([rows[lists.user], dataset.events[events.user]]))
    asked = codes[: len(rows)].astype(np.int64)
    known = codes[len(rows) :].astype(np.int64)
    times = dataset.events["_time"].to_numpy(dtype=np.float64)
    counts = count_before(known, times, asked, list_times(dataset, rows))
    return [
        Slice(
            "new shoppers",
            f"lists of a known user id with fewer than {NEW_USER_EVENTS} events before the "
            "list's time",
            "lists",
            (asked >= 0) & (counts < NEW_USER_EVENTS),
        )
    ]
