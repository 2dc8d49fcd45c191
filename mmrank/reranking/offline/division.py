"""A log in two parts: one to learn from, and the latest pages to judge by."""

from __future__ import annotations

import dataclasses

import numpy as np

from mmrank.outputs import InputError
from mmrank.reranking.rearranged import rows_of
from mmrank.reranking.sessions import Sessions

__all__ = ["divided", "sessions_at"]


def divided(time: np.ndarray, judged: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns which pages of a log are the earlier ones, and which the latest ones.

    Args:
      time: When each page was shown, [n].
      judged: Share of the latest ones.

    Raises:
      InputError: A part would be empty.

    Example:
      >>> import numpy as np
      >>> [part.tolist() for part in divided(np.array([30.0, 10.0, 20.0]), judged=0.4)]
      [[1, 2], [0]]
    """
    first = len(time) - round(judged * len(time))
    if not 0 < first < len(time):
        raise InputError(f"the log: {len(time)} pages are too few to divide; log more")
    rows = np.argsort(time, kind="stable")
    return rows[:first], rows[first:]


def sessions_at(sessions: Sessions, rows: np.ndarray) -> Sessions:
    """Returns some sessions of a log.

    Args:
      sessions: The log.
      rows: Which ones, [m] int.

    Example:
      >>> import numpy as np
      >>> from mmrank.reranking import USERS, draw_page
      >>> from mmrank.reranking.exploration import PairSwap
      >>> from mmrank.reranking.played import draw_pages, played_log
      >>> pages = draw_pages(lambda rng: draw_page(3, rng), 10, seed=1)
      >>> log = played_log(pages, PairSwap(), USERS.make("cascade"), seed=1)
      >>> len(sessions_at(log, np.array([4, 7])))
      2
    """
    names = [field.name for field in dataclasses.fields(Sessions) if field.name != "pages"]
    values = {name: getattr(sessions, name)[rows] for name in names}
    return Sessions(pages=rows_of(sessions.pages, rows), **values)
