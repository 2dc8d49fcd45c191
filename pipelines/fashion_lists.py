"""Lists of products for attribute phrases: a few matches, half near misses, the rest random."""

from __future__ import annotations

import numpy as np
import pandas as pd
from tqdm import tqdm

from pipelines.fashion_queries import Phrase, phrases

CANDIDATES = 60
MOST_PERFECT = 5
SHELF_LISTS = 64
# Share of the near misses with grade 2; the rest have grade 1.
OF_TYPE = 0.4
# How often each kind of phrase is drawn.
KINDS = {"colour": 0.7, "usage": 0.15, "both": 0.15}


def make_lists(
    items: pd.DataFrame,
    split: str,
    number: int,
    rng: np.random.Generator,
    shelf: int | None = None,
) -> pd.DataFrame:
    """The lists of one split over one pool of products.

    With shelves, each group of 64 consecutive lists draws its candidates from one random part of
    the pool, because the pages of a real log show the same products repeatedly: a batch then has
    few products that many lists show.

    If a pool or shelf has fewer than 120 products, its lists are shorter and have half of them.

    Args:
      items: The products of the pool.
      split: Its name, for the list ids and the `split` column.
      number: How many lists.
      rng: The source of randomness.
      shelf: Products of a shelf; None to draw from the whole pool.

    Returns:
      `list_id`, `query`, `item_id`, `grade`, `split`; empty if no phrase has enough near misses.
    """
    frames = [pd.DataFrame(columns=["list_id", "query", "item_id", "grade", "split"])]
    step = number if shelf is None else SHELF_LISTS
    with tqdm(total=number, desc=f"{split} lists", unit="list", disable=None) as bar:
        for first in range(0, number, step):
            part = items
            if shelf is not None and shelf < len(items):
                part = items.iloc[rng.choice(len(items), shelf, replace=False)]
            count = min(step, number - first)
            frames += _lists_over(part, split, range(first, first + count), rng)
            bar.update(count)
    return pd.concat(frames[1:] or frames, ignore_index=True)


def _lists_over(
    items: pd.DataFrame, split: str, numbers: range, rng: np.random.Generator
) -> list[pd.DataFrame]:
    """Lists of these numbers over some products; none if no phrase has enough near misses."""
    ids = items["product_id"].to_numpy(dtype=object)
    size = min(CANDIDATES, len(items) // 2)
    by_grade = {
        kind: {p: (n, [np.flatnonzero(g == k) for k in range(4)], g) for p, n, g in usable}
        for kind, usable in _usable_phrases(items, size).items()
    }
    kinds = [kind for kind in KINDS if by_grade.get(kind)]
    if not kinds:
        return []
    share = np.array([KINDS[kind] for kind in kinds])
    weights = {
        kind: _normalised(np.sqrt([n for n, _, _ in by_grade[kind].values()])) for kind in kinds
    }
    asked = {kind: list(by_grade[kind]) for kind in kinds}
    frames = []
    for i in numbers:
        kind = kinds[rng.choice(len(kinds), p=_normalised(share))]
        phrase = asked[kind][rng.choice(len(asked[kind]), p=weights[kind])]
        _, graded, grades = by_grade[kind][phrase]
        chosen = draw_candidates(graded, size, rng)
        frames.append(
            pd.DataFrame(
                {
                    "list_id": f"{split}-{i:06d}",
                    "query": str(rng.choice(phrase.wordings())),
                    "item_id": ids[chosen],
                    "grade": grades[chosen],
                    "split": split,
                }
            )
        )
    return frames


def _usable_phrases(
    items: pd.DataFrame, size: int
) -> dict[str, list[tuple[Phrase, int, np.ndarray]]]:
    """The phrases with enough near misses for such lists: (phrase, perfect matches, grades)."""
    usable: dict[str, list[tuple[Phrase, int, np.ndarray]]] = {}
    for kind, counts in phrases(items).items():
        graded = ((phrase, n, phrase.grades(items)) for phrase, n in counts.items())
        usable[kind] = [
            (phrase, n, grades)
            for phrase, n, grades in graded
            if np.isin(grades, (1, 2)).sum() >= size // 2 > 0
        ]
    return usable


def draw_candidates(graded: list[np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray:
    """[size] int: distinct products for one list, in random order.

    Args:
      graded: The products of grade 0, 1, 2 and 3; together the whole pool.
      size: Number of products; at most half of the pool.
      rng: The source of randomness.
    """
    near = size // 2
    number = max(1, min(MOST_PERFECT, len(graded[3]), size // 4))
    perfect = rng.choice(graded[3], number, replace=False)
    of_type = min(len(graded[2]), max(round(OF_TYPE * near), near - len(graded[1])))
    twos = rng.choice(graded[2], of_type, replace=False)
    ones = rng.choice(graded[1], near - of_type, replace=False)
    picked = np.concatenate([perfect, twos, ones])
    # At most `len(picked)` of `size` distinct draws are already picked, so enough remain.
    drawn = rng.choice(sum(map(len, graded)), size, replace=False)
    others = drawn[~np.isin(drawn, picked)][: size - len(picked)]
    return rng.permutation(np.concatenate([picked, others]))


def _normalised(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum()
