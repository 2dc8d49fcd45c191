"""Pages drawn at random, on which the truth is known."""

from __future__ import annotations

import numpy as np

from mmrank.reranking.page import Page

__all__ = ["draw_page"]


def draw_page(
    size: int,
    rng: np.random.Generator,
    groups: int = 3,
    noise: float = 0.3,
    shortest: int | None = None,
) -> Page:
    """Returns a page in the order of a ranker that sees each candidate's own merit, with noise.

    Candidates of a group are alike (cosine about 0.9). A group has its price level; within a
    group, what costs more attracts more and sells less, as a dearer product of a kind does.

    Args:
      size: Number of candidates, k.
      rng: Random generator.
      groups: Number of groups that candidates are of.
      noise: Standard deviation of the noise in the ranker's scores, which are logits of attraction.
      shortest: If given, the number of candidates is drawn too, evenly from `shortest` to `size`.

    Example:
      >>> import numpy as np
      >>> page = draw_page(4, np.random.default_rng(1))
      >>> page.size, bool((np.diff(page.score) <= 0).all())
      (4, True)
    """
    if shortest is not None:
        size = int(rng.integers(shortest, size + 1))
    group = rng.integers(groups, size=size)
    dearness = rng.normal(0, 0.5, size)
    price = np.exp(rng.normal(3, 0.5, groups)[group] + dearness).round(2)
    merit = rng.normal(-0.8, 1.0, size) + 0.4 * dearness
    attraction = 1 / (1 + np.exp(-merit))
    satisfaction = np.clip(0.2 + 0.6 * attraction + rng.normal(0, 0.1, size), 0, 1)
    purchase = np.clip(0.15 * np.exp(rng.normal(0, 0.8, size) - 0.5 * dearness), 0.01, 0.9)
    dwell = 10 + 60 * satisfaction
    vector = np.eye(groups)[group] + rng.normal(0, 0.2, (size, groups))
    vector /= np.linalg.norm(vector, axis=-1, keepdims=True)
    score = merit + rng.normal(0, noise, size)
    price, item = np.maximum(price, 0.01), np.arange(size).astype(str)
    page = Page(
        score, attraction, satisfaction, purchase, dwell, price, vector, group=group, item=item
    )
    return page.take(np.argsort(-score, kind="stable"))
