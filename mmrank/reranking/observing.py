"""What a policy sees of a page: the observations of `RerankEnv`, for one page or many at once."""

from __future__ import annotations

import numpy as np

from mmrank.reranking.page import Page

__all__ = ["FEATURES", "Observation", "observed"]

FEATURES = ("score", "attraction", "purchase", "log_price", "dwell", "alike", "rank", "displaced")
SHIFT = 10.0  # positions that count 1 in `displaced`, about the length of a page
Observation = dict[str, np.ndarray]


def observed(
    page: Page,
    order: np.ndarray,
    *,
    opened: np.ndarray,
    left: np.ndarray | int,
    most_moves: np.ndarray | int,
    length: np.ndarray | None = None,
) -> Observation:
    """Returns observations as `RerankEnv` describes them.

    Args:
      page: The pages as shown now, [..., k].
      order: Which candidate of the ranker's order is at each position, [..., k] int.
      opened: Which actions are open, [..., size] bool, where size is k with padding.
      left: Moves that are left, [...] int.
      most_moves: Moves of an episode, [...] int or one for all.
      length: Number of candidates of each page, [...] int; None if the pages are not padded.

    Masking: what `page` and `order` hold beyond `length` has no influence.

    Example:
      >>> import numpy as np
      >>> from mmrank.reranking import draw_page
      >>> page = draw_page(2, np.random.default_rng(1))
      >>> seen = observed(page, np.arange(2), opened=np.ones(4, bool), left=1, most_moves=2)
      >>> seen["candidates"].shape, seen["mask"].tolist(), seen["moves"].tolist()
      ((4, 11), [1, 1, 0, 0], [0.5])
    """
    k = page.size
    position, level = np.arange(k), np.log(page.price)
    count = np.full(page.score.shape[:-1], k) if length is None else np.asarray(length)
    present = position < count[..., np.newaxis]
    mean = np.where(present, level, 0.0).sum(-1, keepdims=True) / count[..., np.newaxis]
    columns = [
        page.score, page.attraction, page.purchase, level - mean, page.dwell / 60, page.above(),
        position / count[..., np.newaxis], (order - position) / SHIFT,
    ]  # fmt: skip
    features = np.concatenate([np.stack(columns, -1), page.vector], -1)
    candidates = np.zeros((*opened.shape, features.shape[-1]), np.float32)
    candidates[..., :k, :] = np.where(present[..., np.newaxis], features, 0.0)
    share = (np.asarray(left) / most_moves)[..., np.newaxis].astype(np.float32)
    return {
        "candidates": candidates,
        "mask": (np.arange(opened.shape[-1]) < count[..., np.newaxis]).astype(np.int8),
        "actions": opened.astype(np.int8),
        "moves": share,
    }
