"""The log of shown pages that a server writes, as the estimators of propensities read it."""

from __future__ import annotations

import json
import logging
import pathlib

import numpy as np
import pandas as pd

from mmrank.data.page_log import LoggedPage, read_page_log
from mmrank.propensity.log import ClickLog

logger = logging.getLogger(__name__)


def read_shown_pages(folder: pathlib.Path, *, positions: int | None = None) -> ClickLog:
    """Reads the log in the folder of a server.

    If pages were explored, a pair is a place in the order that would be shown without exploration,
    on all pages with the same exploration: at which position such a candidate was shown is then
    random, which `harvest` and `em` rely on. Otherwise it is a query and an item. The only feature
    is the ranker's score; `randomised` says which rows are of pages in random order.

    Args:
      folder: The log.
      positions: Rows below this position are left out; None keeps all.

    Raises:
      DataError: The log cannot be read.

    Example:
      >>> import pathlib
      >>> import numpy as np
      >>> from mmrank.data.page_log_lines import ShownPage, as_line
      >>> page = ShownPage(
      ...     page="a7", time=0.0, model="shop", version=1, query={"query": "red"}, user=None,
      ...     items=("P1", "P2"), scores=np.array([2.0, 1.0]), size=2, seen=None, policy=False,
      ...     base=np.arange(2), order=np.array([1, 0]), probability=0.1,
      ...     exploration={"kind": "pair_swap", "epsilon": 0.1, "open": [True, True]},
      ...     conditional=np.array([0.1, 1.0]),
      ... )
      >>> pathlib.Path("shown").mkdir()
      >>> _ = pathlib.Path("shown/shown-1.jsonl").write_bytes(as_line(page))
      >>> read_shown_pages(pathlib.Path("shown")).positions.tolist()
      [1, 2]
    """  # fmt: skip
    log = read_page_log(folder)
    if log.left_out():
        logger.info("left out: %s", log.left_out())
    rows = log.rows()
    if any(page.shown.exploration is not None for page in log.pages):
        pairs = np.concatenate([_base_positions(page) for page in log.pages])
        logger.info("pairs: places in the order without exploration")
    else:
        queries = [json.dumps(page.shown.query, sort_keys=True) for page in log.pages]
        pairs = np.repeat(queries, [len(page.shown.items) for page in log.pages]).astype(object)
        pairs = pairs + "\n" + rows["item_id"].to_numpy()
        logger.info("pairs: queries and items, because no page was explored")
    kept = (
        np.ones(len(rows), bool)
        if positions is None
        else (rows["position"] <= positions).to_numpy()
    )
    rows = rows[kept]
    return ClickLog(
        lists=pd.factorize(rows["list_id"])[0],
        pairs=pd.factorize(pairs[kept])[0],
        positions=rows["position"].to_numpy(np.int64),
        clicks=rows["click"].to_numpy(np.float64),
        features=rows[["score"]].to_numpy(np.float64),
        categorical=np.zeros(1, bool),
        randomised=rows["randomised"].to_numpy() > 0,
    )


def _base_positions(page: LoggedPage) -> np.ndarray:
    """What the exploration did and where each candidate would be without it, by position."""
    shown = page.shown
    position = np.argsort(shown.base)[shown.order]
    # The shares of two rankers are no exploration of one: such pages have no pair with others.
    own = shown.page if shown.interleaved is not None else ""
    key = json.dumps([own, shown.size, shown.exploration], sort_keys=True)
    return np.array([f"{key}\n{number}" for number in position.tolist()], object)
