"""A log of shown pages as a table of outcomes, with one row for each page."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from mmrank.data.findings import DataError
from mmrank.data.page_log import LoggedPage
from mmrank.reranking.users import Rewards, Session

__all__ = ["page_table"]


def page_table(pages: Iterable[LoggedPage], rewards: Rewards) -> pd.DataFrame:
    """Returns what happened on each page, without those that two versions shared.

    The columns are page, user, time, model, version, policy (whether one rearranged the page), and
    the outcomes pages (1), clicks, carts, purchases, dwell (seconds) and reward.

    Args:
      pages: The pages of a log.
      rewards: What clicks, seconds and purchases are worth.

    Raises:
      DataError: Two versions shared all the pages.
    """
    rows = [
        {
            "page": page.shown.page,
            "user": page.shown.user,
            "time": page.shown.time,
            "model": page.shown.model,
            "version": page.shown.version,
            "policy": page.shown.policy,
            "pages": 1,
            "clicks": int(page.clicks.sum()),
            "carts": int(page.carts.sum()),
            "purchases": int(page.purchases.sum()),
            "dwell": float(page.dwell.sum()),
            # What else was examined is unknown, and earns nothing.
            "reward": rewards.of(Session(page.clicks, page.clicks, page.dwell, page.purchases)),
        }
        for page in pages
        if page.shown.interleaved is None
    ]
    if not rows:
        raise DataError("all pages of the log are interleaved; compare them with `interleaving`")
    return pd.DataFrame(rows)
