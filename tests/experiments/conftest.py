"""Logs of shown pages, for the tests of experiments."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import numpy as np
import pytest

from mmrank.data.page_log_lines import Feedback, Interleaved, ShownPage, as_line
from mmrank.reranking.interleaving import INTERLEAVINGS

DAY = 86_400.0
START = 1_764_547_200.0  # midnight
Write = Callable[..., pathlib.Path]


def shown_page(
    page: str, time: float, version: int, user: str | None, how: Interleaved | None = None
) -> ShownPage:
    """A page of three candidates; interleaved, it is in the order that the teams say."""
    order = np.arange(3) if how is None else how.orders[0]
    return ShownPage(
        page=page,
        time=time,
        model="shop",
        version=version,
        query={"query": "red"},
        user=user,
        items=("P0", "P1", "P2"),
        scores=np.array([3.0, 2.0, 1.0]),
        size=3,
        seen=None,
        policy=False,
        base=order,
        order=order,
        exploration=None,
        probability=1.0,
        conditional=np.ones(3),
        interleaved=how,
    )


@pytest.fixture
def write_log(tmp_path: pathlib.Path) -> Write:
    """Writes a log: pages with what was clicked and bought on each."""

    def write(pages: list[tuple[ShownPage, tuple[str, ...], tuple[str, ...]]]) -> pathlib.Path:
        folder = tmp_path / "log"
        folder.mkdir()
        (folder / "shown-1.jsonl").write_bytes(b"".join(as_line(page) for page, _, _ in pages))
        (folder / "feedback-1.jsonl").write_bytes(
            b"".join(
                as_line(Feedback(page.page, page.time + 5.0, clicks=clicks, purchases=bought))
                for page, clicks, bought in pages
                if clicks or bought
            )
        )
        return folder

    return write


@pytest.fixture
def ab_log(write_log: Write) -> pathlib.Path:
    """Ten days with forty users each, three pages a user; version 4 is clicked more."""
    rng, pages = np.random.default_rng(0), []
    for user in range(400):
        version = 3 + user % 2
        first = START + user // 40 * DAY + rng.uniform(0, DAY)
        for number in range(3):
            page = shown_page(
                f"{user}-{number}", first + number * 0.4 * DAY, version, f"U{user:03d}"
            )
            clicked = rng.random(3) < 0.2 + 0.2 * (version == 4)
            clicks = tuple(f"P{i}" for i in np.flatnonzero(clicked))
            pages.append((page, clicks, clicks[:1] if rng.random() < 0.3 else ()))
    return write_log(pages)


@pytest.fixture
def shared_log(write_log: Write) -> pathlib.Path:
    """Pages that versions 2 and 5 shared; all users click P2, which version 5 has first."""
    rng, pages = np.random.default_rng(0), []
    orders = np.array([[2, 0, 1], [0, 1, 2]])
    for user in range(60):
        drawn = INTERLEAVINGS.make("team_draft").interleave(*orders, rng)
        how = Interleaved("team_draft", (5, 2), drawn.teams, orders)
        page = shown_page(f"p{user}", START, 5, f"U{user % 40}", how)
        page = ShownPage(**{**vars(page), "base": drawn.order, "order": drawn.order})
        pages.append((page, ("P2",), ()))
    pages.append((shown_page("plain", START, 5, None), ("P0",), ()))
    return write_log(pages)
