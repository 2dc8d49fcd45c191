"""The pages of a log as sessions, for policies that learn from them or are judged on them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from mmrank.data.page_log import LoggedPage, PageLog
from mmrank.data.page_log_lines import Seen, ShownPage
from mmrank.data.tables import DataError
from mmrank.reranking.page import Page
from mmrank.reranking.sessions import Sessions

__all__ = ["check_one_ranker", "sessions_of", "usable_pages"]

logger = logging.getLogger(__name__)


def usable_pages(log: PageLog, fingerprint: str | None = None) -> list[LoggedPage]:
    """Returns the pages that sessions are made of.

    Left out are pages that were interleaved from two rankers, and those that no policy saw.

    Args:
      log: The log.
      fingerprint: If given, pages of rankers with another `item_fingerprint`, whose vectors mean
        something else, are left out too.

    Raises:
      DataError: There are none, or a policy's page does not say what the policy saw.
    """
    pages = [page for page in log.pages if page.shown.interleaved is None]
    blind = [p.shown for p in pages if p.shown.seen is None or p.shown.seen.vector is None]
    lost = [shown.page for shown in blind if shown.policy or shown.seen is not None]
    if lost:
        raise DataError(
            f"{len(lost):,} of {len(pages):,} pages do not say what the policy saw of them, as "
            f"{lost[0]!r}: `seen` or `seen.vector` is null; let the server log the vectors"
        )
    saw = [page for page in pages if page.shown.seen is not None]
    used = [page for page in saw if fingerprint in (None, _fingerprint(page))]
    if saw and not used:
        raise DataError(
            f"none of {len(saw):,} pages is of the ranker that the policy is for; give the log of "
            "its server, or another ranker or policy"
        )
    if not used:
        raise DataError(
            f"none of {len(log.pages):,} pages can be used: {len(log.pages) - len(pages):,} were "
            f"interleaved, and {len(blind):,} no policy saw; log pages of a server with a policy"
        )
    return used


def check_one_ranker(pages: Sequence[LoggedPage]) -> None:
    """Checks that the vectors of all pages mean the same, so that a policy can learn from them.

    Raises:
      DataError: They are of several rankers.
    """
    rankers = {_fingerprint(page) for page in pages}
    if len(rankers) > 1:
        raise DataError(
            f"the log has pages of {len(rankers)} rankers, whose vectors mean different things; "
            "give the ranker whose pages to learn from with --run"
        )


def _fingerprint(page: LoggedPage) -> str:
    return "" if page.shown.seen is None else page.shown.seen.fingerprint


def sessions_of(log: PageLog, size: int | None = None, fingerprint: str | None = None) -> Sessions:
    """Returns the sessions of the log's usable pages, in the order of the log.

    A session has the candidates of a page that may be rearranged; those below keep their places,
    and what users did there is left out. An unknown price is the geometric mean of the known ones
    of its page; the logs do not have `satisfaction`, which is NaN.

    Args:
      log: The log.
      size: Number of positions with padding, k; None for that of the longest page.
      fingerprint: As for `usable_pages`.

    Raises:
      DataError: No page can be used, one does not say what the policy saw, one has more than `size`
        candidates, or vectors have different widths.

    Example:
      >>> import numpy as np
      >>> from mmrank.data.page_log import LoggedPage, PageLog
      >>> from mmrank.data.page_log_lines import Seen, ShownPage
      >>> half, none = np.array([0.5, 0.5]), np.zeros(2, bool)
      >>> shown = ShownPage(
      ...     page="a7", time=0.0, model="shop", version=1, query={}, user=None, items=("P1", "P2"),
      ...     scores=np.array([2.0, 1.0]), size=2, policy=True, base=np.arange(2),
      ...     seen=Seen(half, half, half, np.array([5.0, 0.0]), np.eye(2, dtype=np.float16)),
      ...     order=np.array([1, 0]), exploration=None,
      ...     probability=1.0, conditional=np.ones(2),
      ... )
      >>> clicks = np.array([False, True])  # of the candidates, in the ranker's order
      >>> sessions = sessions_of(PageLog((LoggedPage(shown, clicks, half, none, none),)))
      >>> sessions.clicks.tolist(), sessions.pages.price.round(6).tolist()
      ([[True, False]], [[5.0, 5.0]])
    """  # fmt: skip
    pages = usable_pages(log, fingerprint)
    if len(pages) < len(log.pages):
        logger.info(
            "left out: %d of %d pages, interleaved, seen by no policy, or of another ranker",
            len(log.pages) - len(pages),
            len(log.pages),
        )
    shown = [page.shown for page in pages]
    seen = [each.seen for each in shown if each.seen is not None]
    vectors = [each.vector.astype(np.float32) for each in seen if each.vector is not None]
    length = np.array([each.size for each in shown])
    size = int(length.max()) if size is None else size
    if length.max() > size:
        raise DataError(
            f"a page of the log has {length.max()} candidates that may be rearranged, but the "
            f"policy takes {size}; give one that was trained on longer pages"
        )
    widths = sorted({each.shape[1] for each in vectors})
    if len(widths) > 1:
        raise DataError(
            f"the vectors of pages have {' and '.join(map(str, widths))} numbers; give the log of "
            "one ranker"
        )

    def padded(rows: Iterable[np.ndarray | Sequence[Any]], fill: Any = 0.0) -> np.ndarray:
        made = [np.asarray(row)[:k] for row, k in zip(rows, length, strict=True)]
        full = np.full((len(made), size, *made[0].shape[1:]), fill, np.result_type(*made))
        for row, values in enumerate(made):
            full[row, : len(values)] = values
        return full

    own = np.arange(size)
    order = [_top(each, "order") for each in shown]
    acted = list(zip(pages, order, strict=True))
    return Sessions(
        pages=Page(
            score=padded(each.scores for each in shown),
            attraction=padded(each.attraction for each in seen),
            satisfaction=np.full((len(pages), size), np.nan),
            purchase=padded(each.purchase for each in seen),
            dwell=padded(each.dwell for each in seen),
            price=padded((_known_prices(each.price) for each in seen), 1.0),
            vector=padded(vectors),
            group=_groups(seen, padded),
            item=padded((each.items for each in shown), ""),
        ),
        length=length,
        base=_ordered([_top(each, "base") for each in shown], own),
        order=_ordered(order, own),
        probability=np.array([each.probability for each in shown]),
        conditional=padded((each.conditional for each in shown), 1.0),
        clicks=padded((page.clicks[top] for page, top in acted), fill=False),
        dwell=padded(page.dwell[top] for page, top in acted),
        purchases=padded((page.purchases[top] for page, top in acted), fill=False),
    )


def _groups(
    seen: Sequence[Seen], padded: Callable[[Iterable[Sequence[Any]], str], np.ndarray]
) -> np.ndarray | None:
    groups = [each.group for each in seen if each.group is not None]
    return padded(groups, "") if len(groups) == len(seen) else None


def _ordered(orders: Sequence[np.ndarray], own: np.ndarray) -> np.ndarray:
    return np.stack([np.concatenate([order, own[len(order) :]]) for order in orders])


def _top(page: ShownPage, name: str) -> np.ndarray:
    top: np.ndarray = getattr(page, name)[: page.size]
    if top.max() >= page.size:
        raise DataError(
            f"page {page.page!r}: {name}: has a candidate among the first {page.size} that must "
            "keep its place below"
        )
    return top


def _known_prices(price: np.ndarray) -> np.ndarray:
    known = price > 0
    usual = np.exp(np.log(price[known]).mean()) if known.any() else 1.0
    return np.where(known, price, usual)
