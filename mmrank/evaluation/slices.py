"""Parts of an evaluation that are looked at on their own.

A **list slice** selects whole lists (short queries, new shoppers). An **item slice** restricts
every list to the candidates of the slice (cold items, items without a photo): it asks how well
these are ordered among themselves. A list left with fewer than two candidates or with no
relevant one is dropped from an item slice.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from mmrank.data.media import open_media
from mmrank.data.tables import Dataset
from mmrank.evaluation.baselines import count_before, list_times, text_of, tokens, training_end

HEAD_SHARE = 0.2
SHORT_QUERY = 2
NEW_SHOPPER_EVENTS = 3


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

    Args:
      dataset: The dataset.
      rows: Candidate rows of it, say `dataset.rows("test")`.

    Raises:
      DataError: There are images, and the media folder or archive cannot be read.
    """
    found = (
        *_by_popularity(dataset, rows),
        *_by_image(dataset, rows),
        *_by_query(dataset, rows),
        *_by_shopper(dataset, rows),
    )
    return tuple(part for part in found if part.rows.any())


def training_counts(dataset: Dataset) -> np.ndarray:
    """How often each item was seen in training, int64 [items].

    Events until the end of training; for a shop without events, rows of training lists.
    """
    if dataset.events is None:
        seen = dataset.rows("train")["_item"]
    else:
        known = (dataset.events["_item"] >= 0) & (dataset.events["_time"] < training_end(dataset))
        seen = dataset.events["_item"][known]
    return np.bincount(seen, minlength=len(dataset.catalog))


def _by_popularity(dataset: Dataset, rows: pd.DataFrame) -> tuple[Slice, ...]:
    counts = training_counts(dataset)
    listed = np.zeros(len(counts), dtype=bool)
    listed[dataset.rows("train")["_item"].to_numpy()] = True
    cold = (counts == 0) & ~listed
    seen = np.sort(counts[counts > 0])[::-1]
    threshold = seen[int(np.ceil(HEAD_SHARE * len(seen))) - 1] if len(seen) else 1
    items = rows["_item"].to_numpy()
    what = "training rows" if dataset.events is None else "events in the training period"
    return (
        Slice(
            "head items",
            f"items with {threshold} or more {what}: the most frequent {HEAD_SHARE:.0%} of the "
            "items that have any, with their ties",
            "items",
            (counts >= threshold)[items],
        ),
        Slice(
            "tail items",
            f"items with 1 to {threshold - 1} {what}: those with any that are not head items",
            "items",
            ((counts > 0) & (counts < threshold))[items],
        ),
        Slice(
            "cold items",
            "items with no event in the training period and in no training list",
            "items",
            cold[items],
        ),
    )


def _by_image(dataset: Dataset, rows: pd.DataFrame) -> list[Slice]:
    images = [f for f in dataset.schema.side("item", "query") if f.kind == "image"]
    if not images:
        return []
    media = open_media(dataset)
    parts = []
    for feature in images:
        of_item = feature.side == "item"
        column = (dataset.catalog if of_item else rows)[feature.column]
        codes, names = pd.factorize(column)  # the photo of a query stands in all its rows
        problem = [
            not isinstance(name, str) or not name or media.problem(name) is not None
            for name in names
        ]
        missing = np.array([*problem, True])[codes]  # −1, the last, is no name at all
        what = f"whose {feature.column} is empty or names a file that is not there"
        parts.append(
            Slice(
                f"no {feature.name}",
                f"items {what}" if of_item else f"lists {what}",
                "items" if of_item else "lists",
                missing[rows["_item"].to_numpy()] if of_item else missing,
            )
        )
    media.close()
    return parts


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
