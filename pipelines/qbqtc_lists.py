"""Lists of titles for search queries: the judged titles and titles of other queries."""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping

import bm25s
import numpy as np
import pandas as pd
from tqdm import tqdm

from mmrank.data.words import tokens

SHELF_LISTS = 64
# Number of titles with the highest BM25 from which hard negatives are drawn.
NEAREST = 50
COLUMNS = [
    "list_id", "query", "item_id", "grade", "label", "overlap", "title_overlap", "split"
]  # fmt: skip


def make_lists(
    pairs: pd.DataFrame,
    split: str,
    candidates: int,
    weights: Mapping[str, float],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """A list for every query of one split over the titles of that split.

    Half of the unjudged candidates are hard: drawn from the 50 titles nearest to the query by BM25.
    The others are titles of the 63 neighbouring lists, so that a batch of neighbours has few titles
    to encode. Both have grade 0; a judged title's grade is its label.

    Args:
      pairs: `query`, `item_id`, `title`, `label`; each pair of query and title once.
      split: Name of the split, for the list ids and the `split` column.
      candidates: Candidates per list; fewer if the split has fewer titles.
      weights: The result of `term_weights`.
      rng: The source of randomness.

    Returns:
      `list_id`, `query`, `item_id`, `grade`, `label` (missing if not judged), `overlap` and
      `title_overlap` from `shared`, `split`; lists and candidates in random order.
    """
    titles = pairs.drop_duplicates("item_id").reset_index(drop=True)
    number = pd.Series(np.arange(len(titles)), index=titles["item_id"])
    own = {
        query: (number[rows["item_id"]].to_numpy(), rows["label"].to_numpy())
        for query, rows in pairs.groupby("query", sort=False)
    }
    title_terms = [frozenset(terms(title)) for title in titles["title"]]
    queries = rng.permutation(np.array(list(own), dtype=object))
    nearest = nearest_titles(list(queries), titles["title"].tolist())
    frames = [pd.DataFrame(columns=COLUMNS)]
    for i, query in enumerate(tqdm(queries, desc=f"{split} lists", unit="list", disable=None)):
        first = i - i % SHELF_LISTS
        shelf = np.concatenate([own[q][0] for q in queries[first : first + SHELF_LISTS]])
        judged, labels = own[query]
        others = unjudged(
            judged, nearest[i], shelf, len(titles), max(0, candidates - len(judged)), rng
        )
        chosen = np.concatenate([judged, others])
        label = np.concatenate([labels, np.full(len(others), np.nan)])
        order = rng.permutation(len(chosen))
        asked = frozenset(terms(query))
        overlap = np.array([shared(asked, title_terms[c], weights) for c in chosen[order]])
        frames.append(
            pd.DataFrame(
                {
                    "list_id": f"{split}-{i:06d}",
                    "query": query,
                    "item_id": titles["item_id"].to_numpy()[chosen[order]],
                    "grade": np.nan_to_num(label[order]),
                    "label": label[order],
                    "overlap": overlap[:, 0],
                    "title_overlap": overlap[:, 1],
                    "split": split,
                }
            )
        )
    return pd.concat(frames[1:] or frames, ignore_index=True)


def unjudged(
    judged: np.ndarray,
    nearest: np.ndarray,
    shelf: np.ndarray,
    size: int,
    number: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Distinct titles that nobody judged for a query: half hard, half of its shelf.

    Args:
      judged: The query's own titles.
      nearest: Titles near to the query.
      shelf: Titles of the neighbouring lists.
      size: Titles in all; if the shelf has too few, any others are drawn.
      number: Titles to draw; fewer if there are no more.
      rng: The source of randomness.
    """
    near = np.setdiff1d(nearest, judged)
    hard = rng.permutation(near)[: number // 2]
    easy = rng.permutation(np.setdiff1d(shelf, np.union1d(judged, hard)))[: number - len(hard)]
    picked = np.concatenate([hard, easy])
    if len(picked) == number:
        return picked
    rest = np.setdiff1d(np.arange(size), np.union1d(judged, picked))
    return np.concatenate([picked, rng.permutation(rest)[: number - len(picked)]])


def nearest_titles(queries: list[str], titles: list[str], count: int = NEAREST) -> np.ndarray:
    """The titles nearest to each query by BM25, [queries, count or all titles] int.

    Terms are words, Chinese characters and pairs of neighbours: so Chinese needs no segmenter.

    Source: Robertson and Zaragoza 2009, in Lucene's form as kept by the package bm25s.
    """
    index = bm25s.BM25(method="lucene")
    index.index([terms(title) for title in titles], show_progress=False)
    found, _ = index.retrieve(
        [terms(query) for query in queries],
        k=min(count, len(titles)),
        show_progress=False,
        leave_progress=False,
    )
    return np.asarray(found)


def term_weights(titles: list[str]) -> dict[str, float]:
    """The weight of every term of some titles, log(N / n) for one in n of N; "" for all others."""
    counts = collections.Counter(term for title in titles for term in set(terms(title)))
    weights = {term: math.log(len(titles) / count) for term, count in counts.items()}
    return weights | {"": math.log(len(titles))}


def shared(
    query: frozenset[str], title: frozenset[str], weights: Mapping[str, float]
) -> tuple[float, float]:
    """The weighted part of the query's terms that the title has, and vice versa."""

    def weight(some: frozenset[str]) -> float:
        # In a fixed order, because a sum in the order of a set would differ between runs.
        return sum(weights.get(term, weights[""]) for term in sorted(some))

    both = weight(query & title)
    return both / max(weight(query), 1e-9), both / max(weight(title), 1e-9)


def terms(text: str) -> list[str]:
    """The words and Chinese characters of a text, and each pair of neighbours joined."""
    single = tokens(text)
    return single + [a + b for a, b in zip(single, single[1:], strict=False)]
