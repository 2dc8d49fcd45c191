"""Pages of a trained ranker: the top of each list of a dataset, as a policy sees it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.data.cells import as_ids
from mmrank.data.tables import Dataset
from mmrank.reranking.columns import PageColumns
from mmrank.reranking.page import Page
from mmrank.reranking.shop_truth import ShopTruth
from mmrank.trained_run import Run

__all__ = ["item_groups", "item_prices", "ranked_pages", "seen_page", "unit_vectors"]


def ranked_pages(
    run: Run,
    dataset: Dataset,
    rows: pd.DataFrame,
    columns: PageColumns,
    size: int,
    truth: ShopTruth | None = None,
) -> list[Page]:
    """Returns the first candidates of each list in the ranker's order, a page for each list.

    Args:
      run: The ranker.
      dataset: A dataset of its schema.
      rows: Rows of `dataset.lists`; each list's rows are adjacent.
      columns: What the policy sees, as `PageColumns.of_ranker` returned it.
      size: Most candidates of a page; shorter lists give shorter pages.
      truth: What users know of the candidates; without it, what the ranker predicts is the truth.
    """
    scorer = run.lists_scorer()
    arrays = run.arrays(dataset, rows)
    raw = scorer.raw(arrays)
    scores = scorer.scores(raw)
    tasks: dict[str, np.ndarray] = {}
    if run.outputs is not None:
        given = run.outputs.predictions({n: tf.constant(v) for n, v in raw.items()})
        tasks = {n: v.numpy() for n, v in given.items()}
    used = np.unique(arrays.candidates)
    encoded = scorer.encode(arrays, used)
    vectors = unit_vectors(encoded["tokens"], encoded["present"])
    where = np.searchsorted(used, arrays.candidates)
    price, group = item_prices(dataset, columns), item_groups(dataset, columns)
    pages = []
    for first, last in zip(arrays.offsets[:-1], arrays.offsets[1:], strict=True):
        at = first + np.argsort(-scores[first:last], kind="stable")[:size]
        item = arrays.candidates[at]
        seen = seen_page(
            columns,
            score=scores[at],
            tasks={n: v[at] for n, v in tasks.items()},
            price=None if price is None else price[item],
            vector=vectors[where[at]],
            group=None if group is None else group[item],
            item=dataset.item_ids[item],
        )
        if truth is not None:
            seen = dataclasses.replace(seen, truth=truth.page(rows.iloc[at], scores[at]))
        pages.append(seen)
    return pages


def seen_page(
    columns: PageColumns,
    *,
    score: np.ndarray,
    tasks: Mapping[str, np.ndarray],
    price: np.ndarray | None,
    vector: np.ndarray,
    group: np.ndarray | None = None,
    item: np.ndarray | None = None,
) -> Page:
    """Returns a page as a policy sees it; what is not known has its usual value.

    Args:
      columns: What the policy sees.
      score: The ranker's scores, [k].
      tasks: The ranker's predictions by task, [k].
      price: Prices, not finite or not above 0 where unknown, [k]; None if no price is known.
      vector: Unit vectors, [k, d].
      group, item: As in `Page`.

    Example:
      >>> import numpy as np
      >>> price = np.array([4.0, np.nan, 16.0])
      >>> page = seen_page(
      ...     PageColumns(), score=np.zeros(3), tasks={}, price=price, vector=np.ones([3, 1])
      ... )
      >>> page.price.round(6).tolist(), page.attraction.tolist()
      ([4.0, 8.0, 16.0], [0.5, 0.5, 0.5])
    """
    nothing = np.zeros(len(score))
    click = tasks.get(columns.click)
    attraction = 1 / (1 + np.exp(-score.astype(float))) if click is None else click
    known = np.full(len(score), False) if price is None else np.nan_to_num(price) > 0
    level = np.log(np.where(known, price, 1.0)) if price is not None else nothing
    usual = level[known].mean() if known.any() else 0.0
    return Page(
        score=score,
        attraction=attraction,
        # No ranker predicts it, and no policy sees it.
        satisfaction=attraction,
        purchase=tasks.get(columns.purchase, nothing),
        dwell=tasks.get(columns.dwell, nothing),
        price=np.exp(np.where(known, level, usual)),
        vector=vector,
        group=group,
        item=item,
    )


def unit_vectors(tokens: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Returns the mean of the present tokens at length 1, zeros if none is, [N, D].

    Args:
      tokens: An item's token of each modality, [N, M, D].
      present: Which modalities it has, [N, M] bool.

    Example:
      >>> import numpy as np
      >>> tokens = np.array([[[3.0, 0.0], [0.0, 9.0]]])
      >>> unit_vectors(tokens, np.array([[True, False]])).tolist()
      [[1.0, 0.0]]
    """
    total = (tokens * present[..., np.newaxis]).sum(1)
    length = np.linalg.norm(total, axis=-1, keepdims=True)
    return np.asarray(total / np.where(length > 0, length, 1.0))


def item_prices(dataset: Dataset, columns: PageColumns) -> np.ndarray | None:
    """Returns the price of each item of a catalogue, NaN where unknown, [items]; None without."""
    column = _catalogue(dataset, columns.price)
    return None if column is None else pd.to_numeric(column, errors="coerce").to_numpy(float)


def item_groups(dataset: Dataset, columns: PageColumns) -> np.ndarray | None:
    """Returns the group of each item, the empty text where it has none, [items]; None without."""
    column = _catalogue(dataset, columns.group)
    return None if column is None else as_ids(column).fillna("").to_numpy(str)


def _catalogue(dataset: Dataset, feature: str) -> pd.Series | None:
    """A column of the catalogue by the name of its feature; None for no name."""
    return dataset.catalog[dataset.schema.feature(feature).column] if feature else None
