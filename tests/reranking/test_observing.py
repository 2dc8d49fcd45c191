"""Observations of many pages at once are those of the environment."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmrank.reranking import Page, RerankEnv, draw_page
from mmrank.reranking.observing import observed
from mmrank.reranking.rearranged import rearranged


def padded(pages: list[Page], size: int, fill: float) -> Page:
    def column(name: str) -> np.ndarray:
        rows = [getattr(page, name) for page in pages]
        out = np.full((len(rows), size, *rows[0].shape[1:]), fill)
        for i, row in enumerate(rows):
            out[i, : len(row)] = row
        return out

    names = ("score", "attraction", "satisfaction", "purchase", "dwell", "price", "vector")
    made: dict[str, Any] = {name: column(name) for name in names}
    return Page(**made)


def test_many_pages_are_observed_as_one_by_one() -> None:
    rng = np.random.default_rng(1)
    pages = [draw_page(int(rng.integers(2, 6)), rng) for _ in range(20)]
    orders, opened, left, wanted = np.tile(np.arange(5), (20, 1)), [], [], []
    for row, page in enumerate(pages):
        env = RerankEnv(size=5, most_moves=4)
        seen, _ = env.reset(seed=0, options={"page": page})
        for action in rng.integers(1, page.size, row % 3):
            seen, *_ = env.step(action)
        orders[row, : page.size] = env.order
        opened.append(seen["actions"] > 0)
        left.append(4 - row % 3)
        wanted.append(seen)
    length = np.array([page.size for page in pages])
    for fill in (1.0, 7.0):  # padding has no influence
        got = observed(
            rearranged(padded(pages, 5, fill), orders),
            orders,
            opened=np.stack(opened),
            left=np.array(left),
            most_moves=4,
            length=length,
        )
        for name, values in got.items():
            np.testing.assert_allclose(values, np.stack([seen[name] for seen in wanted]), rtol=1e-6)
            assert values.dtype == wanted[0][name].dtype
