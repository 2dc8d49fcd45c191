"""A log of shown pages, read whole: each page with all that users did on it."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from tqdm import tqdm

from mmrank.data.findings import DataError
from mmrank.data.page_log_lines import (
    FEEDBACK,
    SHOWN,
    Feedback,
    ShownPage,
    feedback_from_line,
    shown_from_line,
)

__all__ = ["COLUMNS", "LoggedPage", "PageLog", "is_page_log", "read_page_log"]

# The columns of `PageLog.rows`, besides those of the query's features.
COLUMNS = (
    "list_id", "item_id", "position", "user", "time", "score", "click", "dwell", "cart", "purchase",
    "probability", "randomised",
)  # fmt: skip
_MOST_BYTES = 1 << 24  # of one line
T = TypeVar("T", ShownPage, Feedback)


@dataclasses.dataclass(frozen=True, eq=False)
class LoggedPage:
    """A shown page and what users did on it; by candidate, in the ranker's order.

    Attributes:
      shown: The page.
      clicks, carts, purchases: What was clicked, put into the cart and bought, [n] bool.
      dwell: Seconds on each, [n].
    """

    shown: ShownPage
    clicks: np.ndarray
    dwell: np.ndarray
    carts: np.ndarray
    purchases: np.ndarray

    def randomised(self) -> bool:
        """Whether the page is one of a set of pages in uniformly random order.

        With the exploration `epsilon`, every page in another order than its base order is, and so
        is a share of those in their base order, which a random order would have been by chance.
        The share is picked by a hash of the page's id.
        """
        shown, exploration = self.shown, self.shown.exploration or {}
        if exploration.get("kind") != "epsilon" or shown.interleaved is not None:
            return False
        if not (shown.order == shown.base).all():
            return True
        at_random = exploration["epsilon"] / math.factorial(shown.size)
        drawn = zlib.crc32(shown.page.encode()) / 2**32
        return drawn < at_random / shown.probability


@dataclasses.dataclass(frozen=True)
class PageLog:
    """The pages of a log, with what was left out.

    Attributes:
      pages: The pages in the order of the files and lines.
      cut: Number of last lines that a crash cut off.
      repeated: Number of lines of a page that was there before; the first one counts.
      unknown: Number of lines of feedback on a page that the log lacks.
      elsewhere: Number of items in feedback that their page did not show.
    """

    pages: tuple[LoggedPage, ...]
    cut: int = 0
    repeated: int = 0
    unknown: int = 0
    elsewhere: int = 0

    def left_out(self) -> str:
        """Returns what was left out, as text; empty if nothing was."""
        counts = {
            "lines that were cut off": self.cut,
            "pages that were there before": self.repeated,
            "lines of feedback on unknown pages": self.unknown,
            "items in feedback that their page did not show": self.elsewhere,
        }
        return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)

    def rows(self) -> pd.DataFrame:
        """Returns a row for each shown candidate, by page and position from 1.

        The columns are `COLUMNS` and the query's features. `probability` is that of the page's
        order; `randomised` is 1 where a page in random order has been rearranged, see
        `LoggedPage.randomised`.

        Raises:
          DataError: A feature of a query has the name of another column.
        """
        pages = self.pages
        names = dict.fromkeys(name for page in pages for name in page.shown.query)
        for name in names:
            if name in COLUMNS:
                raise DataError(
                    f"query feature {name!r}: a column of the log has this name; rename the feature"
                )
        sizes = [len(page.shown.items) for page in pages]

        def repeated(values: list[Any]) -> np.ndarray:
            return np.repeat(pd.Series(values, dtype=object).to_numpy(), sizes)

        def by_position(values: list[np.ndarray]) -> np.ndarray:
            ordered = zip(values, pages, strict=True)
            return np.concatenate([value[page.shown.order] for value, page in ordered])

        position = np.concatenate([np.arange(size) for size in sizes])
        random = np.repeat([page.randomised() * page.shown.size for page in pages], sizes)
        made = {
            "list_id": repeated([page.shown.page for page in pages]),
            "item_id": by_position([np.array(page.shown.items, object) for page in pages]),
            "position": position + 1,
            **{name: repeated([page.shown.query.get(name) for page in pages]) for name in names},
            "user": repeated([page.shown.user for page in pages]),
            "time": repeated([page.shown.time for page in pages]),
            "score": by_position([page.shown.scores for page in pages]),
            "click": by_position([page.clicks.astype(np.int64) for page in pages]),
            "dwell": by_position([page.dwell for page in pages]),
            "cart": by_position([page.carts.astype(np.int64) for page in pages]),
            "purchase": by_position([page.purchases.astype(np.int64) for page in pages]),
            "probability": repeated([page.shown.probability for page in pages]),
            "randomised": (position < random).astype(np.int64),
        }
        return pd.DataFrame(made).infer_objects()


def is_page_log(path: pathlib.Path) -> bool:
    """Whether a path is a folder with files of shown pages."""
    return path.is_dir() and any(path.glob(SHOWN))


def read_page_log(folder: pathlib.Path) -> PageLog:
    """Returns the log in a folder.

    Files are read in the order of their names. The last line of a file may be cut off. Feedback on
    one page adds up: clicks, carts and purchases are united, dwell times added.

    Args:
      folder: The folder, with files `shown-*.jsonl` and `feedback-*.jsonl`.

    Raises:
      DataError: There is no file of shown pages, no page in them, or a line cannot be used.

    Example:
      >>> import pathlib
      >>> import numpy as np
      >>> from mmrank.data.page_log_lines import Feedback, ShownPage, as_line
      >>> pathlib.Path("log").mkdir()
      >>> page = ShownPage(
      ...     page="a7", time=0.0, model="shop", version=1, query={"query": "red"}, user=None,
      ...     items=("P1", "P2"), scores=np.array([2.0, 1.0]), size=2, seen=None, policy=False,
      ...     base=np.arange(2), order=np.array([1, 0]), probability=0.1,
      ...     exploration={"kind": "pair_swap", "epsilon": 0.1, "open": [True, True]},
      ...     conditional=np.array([0.1, 1.0]),
      ... )
      >>> _ = pathlib.Path("log/shown-1.jsonl").write_bytes(as_line(page))
      >>> clicked = Feedback("a7", 1.0, clicks=("P2",))
      >>> _ = pathlib.Path("log/feedback-1.jsonl").write_bytes(as_line(clicked))
      >>> rows = read_page_log(pathlib.Path("log")).rows()
      >>> rows[["item_id", "position", "click"]].values.tolist()
      [['P2', 1, 1], ['P1', 2, 0]]
    """  # fmt: skip
    if not is_page_log(folder):
        raise DataError(f"{folder}: no log of shown pages, which has files {SHOWN}")
    shown, cut = _records(folder, SHOWN, shown_from_line)
    if not shown:
        raise DataError(f"{folder}: no page in its files {SHOWN}")
    feedback, also_cut = _records(folder, FEEDBACK, feedback_from_line)
    by_id: dict[str, ShownPage] = {}
    for page in shown:
        by_id.setdefault(page.page, page)
    reports: dict[str, list[Feedback]] = {}
    for report in feedback:
        reports.setdefault(report.page, []).append(report)
    joined = [_joined(page, reports.get(name, [])) for name, page in by_id.items()]
    return PageLog(
        tuple(page for page, _ in joined),
        cut=cut + also_cut,
        repeated=len(shown) - len(by_id),
        unknown=sum(report.page not in by_id for report in feedback),
        elsewhere=sum(strange for _, strange in joined),
    )


def _records(folder: pathlib.Path, pattern: str, read: Callable[[bytes], T]) -> tuple[list[T], int]:
    """What the lines of all files hold, and how many last lines were cut off."""
    files = sorted(folder.glob(pattern))
    total = sum(file.stat().st_size for file in files)
    records, cut = list[T](), 0
    with tqdm(total=total, desc=pattern, unit="B", unit_scale=True, disable=None, delay=1) as bar:
        for file in files:
            with file.open("rb") as lines:
                for number, line in enumerate(iter(lambda: lines.readline(_MOST_BYTES), b""), 1):  # noqa: B023
                    bar.update(len(line))
                    if not line.strip():
                        continue
                    try:
                        records.append(read(line))
                    except DataError as error:
                        if not line.endswith(b"\n") and len(line) < _MOST_BYTES:
                            cut += 1  # only the last line of a file has no end
                            continue
                        raise DataError(
                            f"{file}: line {number}: {error}; remove the line, or write it as "
                            "mmrank.data.page_log_lines does"
                        ) from error
    return records, cut


def _joined(page: ShownPage, reports: list[Feedback]) -> tuple[LoggedPage, int]:
    """The page with its feedback, and the number of items in it that the page did not show."""
    n = len(page.items)
    number = {item: i for i, item in enumerate(page.items)} if reports else {}
    done = {name: np.zeros(n, bool) for name in ("clicks", "carts", "purchases")}
    dwell = np.zeros(n)
    strange = 0
    for report in reports:
        for name, marks in done.items():
            items = [item for item in getattr(report, name) if item in number]
            marks[[number[item] for item in items]] = True
        for item, seconds in report.dwell.items():
            if item in number:
                dwell[number[item]] += seconds
        named = {*report.clicks, *report.dwell, *report.carts, *report.purchases}
        strange += len(named - number.keys())
    return LoggedPage(page, done["clicks"], dwell, done["carts"], done["purchases"]), strange
