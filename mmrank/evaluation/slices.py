"""Parts of an evaluation that are looked at on their own.

A **list slice** selects whole lists (short queries, new shoppers). An **item slice** restricts
every list to the candidates of the slice (cold items, items without a photo): it asks how well
these are ordered among themselves. A list left with fewer than two candidates or with no
relevant one is dropped from an item slice.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from mmrank.data.as_of import count_before, list_times
from mmrank.data.blank import BLANK
from mmrank.data.frequency import counts_at_lists, training_counts
from mmrank.data.media import MediaStore, open_media
from mmrank.data.probes import PROBES
from mmrank.data.tables import Dataset
from mmrank.data.words import tokens
from mmrank.evaluation.baselines import text_of

HEAD_SHARE, TAIL_SHARE = 0.2, 0.5
RARE_EVENTS = 5
SHORT_QUERY = 2
NEW_SHOPPER_EVENTS = 3
ALWAYS = ("head items", "middle items", "tail items", "cold items")


@dataclasses.dataclass(frozen=True)
class Slice:
    """A part of the candidate rows.

    Attributes:
      name: Short name, shown in reports.
      description: What exactly is in it.
      of: `items` for an item slice, `lists` for a list slice.
      rows: Whether a row belongs to it, bool [rows]; for a list slice equal within a list.
    """

    name: str
    description: str
    of: str
    rows: np.ndarray


def find_slices(dataset: Dataset, rows: pd.DataFrame) -> tuple[Slice, ...]:
    """The slices that this dataset's schema knows of and that hold at least one of the rows.

    Head, middle, tail and cold items are always among them, also without a row.

    Args:
      dataset: The dataset.
      rows: Candidate rows of it, say `dataset.rows("test")`.

    Raises:
      DataError: There are images, and the media folder or archive cannot be read.
    """
    found = (
        *_by_popularity(dataset, rows),
        *_by_absence(dataset, rows),
        *_by_query(dataset, rows),
        *_by_shopper(dataset, rows),
    )
    return tuple(part for part in found if part.name in ALWAYS or part.rows.any())


def _by_popularity(dataset: Dataset, rows: pd.DataFrame) -> tuple[Slice, ...]:
    """Head, middle, tail and cold items, which part the candidates, and two more."""
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
            f"items with {head} or more {what}: what the most frequent {HEAD_SHARE:.0%} of the "
            "items with any have by the end of training",
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
            f"items with 1 to {tail} {what}: what the least frequent {TAIL_SHARE:.0%} of the items "
            "with any have by the end of training, head items left out",
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
                "items with no event by the end of training and in no training list",
                "items",
                new[rows["_item"].to_numpy()],
            )
        )
    return tuple(parts)


def _by_absence(dataset: Dataset, rows: pd.DataFrame) -> list[Slice]:
    """Items without each of their features, and lists whose query lacks a medium."""
    features = [
        f for f in dataset.schema.side("item", "query") if f.side == "item" or f.kind in PROBES
    ]
    media = open_media(dataset) if any(f.kind in PROBES for f in features) else None
    parts = []
    for feature in features:
        of_item = feature.side == "item"
        column = (dataset.catalog if of_item else rows)[feature.column]
        if feature.kind in PROBES:
            assert media is not None
            missing = _without_file(column, media)
            what = f"whose {feature.column} is empty or names a file that is not there"
        else:
            missing = np.array([_says_nothing(value) for value in column], dtype=bool)
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
    codes, names = pd.factorize(column)  # the photo of a query stands in all its rows
    problem = [
        not isinstance(name, str) or not name or media.problem(name) is not None for name in names
    ]
    return np.array([*problem, True])[codes]  # −1, the last, is no name at all


def _says_nothing(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip(BLANK)
    if isinstance(value, (list, tuple, np.ndarray, dict)):
        return len(value) == 0
    return bool(pd.isna(value))


def _by_query(dataset: Dataset, rows: pd.DataFrame) -> list[Slice]:
    worded = [f for f in dataset.schema.side("query") if f.kind == "text"]
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
    """The length of a query in words; a Chinese or Japanese character counts half a word."""
    return sum(0.5 if len(t) == 1 and t >= "\u3040" else 1.0 for t in tokens(text))


def _by_shopper(dataset: Dataset, rows: pd.DataFrame) -> list[Slice]:
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
            f"lists of a named shopper with fewer than {NEW_SHOPPER_EVENTS} events before the "
            "list's time",
            "lists",
            (asked >= 0) & (counts < NEW_SHOPPER_EVENTS),
        )
    ]
