"""Lists of candidates made from ratings and from tags."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np
import pandas as pd

from pipelines.movielens_source import rating_class

TEST_SHARE = 0.2
VALID_SHARE = 0.1
WINDOW = 10


@dataclasses.dataclass(frozen=True)
class Negatives:
    """Number of candidates without a label per list: more in training, to draw from."""

    train: int = 200
    other: int = 100

    def of(self, split: str) -> int:
        """The number for lists of this split."""
        return self.train if split == "train" else self.other


def rating_lists(
    ratings: pd.DataFrame, n_items: int, negatives: Negatives, rng: np.random.Generator
) -> pd.DataFrame:
    """Lists of the movies that a user rated in a period, among movies the user never rated.

    A list's time is that of its first rating. Lists without a relevant movie are excluded.

    Args:
      ratings: `user_id`, `_item`, `rating`, `time`, `held_out` (True: of the test file), one row
        per rating. Without any held-out row the last fifth of each user is the test list.
      n_items: Number of movies in the catalogue.
      negatives: Number of unrated movies to add.
      rng: The source of randomness.

    Returns:
      `list_id`, `_item`, `grade`, `user_id`, `time`, `split`; candidates in random order.
    """
    ordered = ratings.sort_values(["user_id", "time", "_item"], kind="stable")
    own_test = not ordered["held_out"].any()
    frames = []
    for user, rows in ordered.groupby("user_id", sort=True):
        items = rows["_item"].to_numpy()
        times = rows["time"].to_numpy()
        grades = rating_class(rows["rating"])
        unrated = np.setdiff1d(np.arange(n_items), items)
        cold_start = _digit(str(user)) % 2 == 0
        windows = user_windows(times, rows["held_out"].to_numpy(), own_test, cold_start)
        for number, (split, window) in enumerate(windows):
            if not grades[window].any():
                continue
            of_list = {
                "list_id": f"{split}-user-{user}-{number}",
                "user_id": user,
                "time": times[window[0]],
                "split": split,
            }
            drawn = _draw(unrated, negatives.of(split), rng)
            frames.append(_frame(items[window], grades[window], drawn, of_list, rng))
    return _concat(frames)


def user_windows(
    times: np.ndarray, held_out: np.ndarray, own_test: bool, cold_start: bool
) -> list[tuple[str, np.ndarray]]:
    """The periods of one user's ratings that become lists: (split, indices).

    The held-out ratings, or else the last fifth, are the test period; the tenth before it is the
    valid period; the rest is divided into train periods of about ten ratings. Ratings of the
    training file that are later than the first held-out one are in no list, because the history of
    that list would have test ratings.

    Args:
      times: [ratings] int seconds, ascending.
      held_out: [ratings] bool, True for a rating of the test file.
      own_test: Whether to take the test period from the end of the ratings.
      cold_start: Whether the period that starts with the user's first rating, and so has no
        history, is kept in training.
    """
    known, test = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    if len(test):
        known = known[times[known] <= times[test[0]]]
    elif own_test:
        cut = len(known) - max(1, round(TEST_SHARE * len(known)))
        known, test = known[:cut], known[cut:]
    valid_size = min(len(known), max(1, round(VALID_SHARE * (len(known) + own_test * len(test)))))
    valid, train = known[len(known) - valid_size :], known[: len(known) - valid_size]
    stretches = np.array_split(train, max(1, round(len(train) / WINDOW))) if len(train) else []
    kept = [s for s in stretches if cold_start or times[s[0]] > times[0]]
    windows = [("train", stretch) for stretch in kept]
    windows += [(name, part) for name, part in (("valid", valid), ("test", test)) if len(part)]
    return windows


def tag_lists(
    tags: pd.DataFrame,
    test_tags: pd.DataFrame | None,
    n_items: int,
    negatives: Negatives,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Lists of the movies that have a tag among movies that do not, with the tag as query.

    Grade 3 if two users or more gave the tag, else 2.

    Args:
      tags: `tag`, `_item`, `users`; split by a hash of the tag, 80/10/10, or 90/10 into train and
        valid if the test tags are given.
      test_tags: The same for the test lists; None to take them from `tags`.
      n_items: Number of movies in the catalogue.
      negatives: Number of movies without the tag to add.
      rng: The source of randomness.

    Returns:
      `list_id`, `_item`, `grade`, `query`, `split`; candidates in random order.
    """
    sources = [(tags.assign(split=tags["tag"].map(lambda t: tag_split(t, test_tags is None))))]
    if test_tags is not None:
        sources.append(test_tags.assign(split="test"))
    together = pd.concat(sources, ignore_index=True)
    bearers = together.groupby("tag")["_item"].agg(set).to_dict()
    frames = []
    for number, ((split, tag), rows) in enumerate(together.groupby(["split", "tag"], sort=True)):
        without = np.setdiff1d(np.arange(n_items), list(bearers[tag]))
        drawn = _draw(without, negatives.of(split), rng)
        grades = np.where(rows["users"].to_numpy() >= 2, 3, 2)
        of_list = {"list_id": f"{split}-tag-{number}", "query": tag, "split": split}
        frames.append(_frame(rows["_item"].to_numpy(), grades, drawn, of_list, rng))
    return _concat(frames)


def tag_split(tag: str, with_test: bool) -> str:
    """The split of a tag by its text: digit 8 of ten is valid, 9 is test, or train without one."""
    digit = _digit(tag)
    if digit == 8:
        return "valid"
    return "test" if digit == 9 and with_test else "train"


def _digit(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % 10


def _draw(items: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(items, min(number, len(items)), replace=False)


def _frame(
    labelled: np.ndarray,
    grades: np.ndarray,
    unlabelled: np.ndarray,
    of_list: dict[str, Any],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """One list in random order, with the list's values in every row; unlabelled means grade 0."""
    items = np.concatenate([labelled, unlabelled])
    all_grades = np.concatenate([grades, np.zeros(len(unlabelled), dtype=grades.dtype)])
    order = rng.permutation(len(items))
    return pd.DataFrame({"_item": items[order], "grade": all_grades[order], **of_list})


def _concat(frames: list[pd.DataFrame]) -> pd.DataFrame:
    if not frames:
        return pd.DataFrame(columns=["list_id", "_item", "grade", "split"])
    return pd.concat(frames, ignore_index=True)
