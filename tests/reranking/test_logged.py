"""Sessions of a log: positions and candidates, padding, and pages that cannot be used."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from mmrank.data.page_log import LoggedPage, PageLog
from mmrank.data.page_log_lines import Interleaved, Seen, ShownPage
from mmrank.data.tables import DataError
from mmrank.reranking.logged import check_one_ranker, sessions_of, usable_pages
from mmrank.reranking.users import Rewards


def logged(order: list[int], size: int, width: int = 2, **changes: Any) -> LoggedPage:
    """A page that was exploring, whose candidate i was clicked if i is even."""
    n = len(order)
    rng = np.random.default_rng(n)
    shown = ShownPage(
        page=f"p{n}",
        time=0.0,
        model="shop",
        version=1,
        query={},
        user=None,
        items=tuple(f"P{i}" for i in range(n)),
        scores=-np.arange(n, dtype=float),
        size=size,
        seen=Seen(
            attraction=rng.random(size),
            purchase=rng.random(size),
            dwell=rng.random(size) * 60,
            price=np.arange(size, dtype=float),
            vector=rng.normal(size=(size, width)).astype(np.float16),
            group=tuple("ab"[i % 2] for i in range(size)),
        ),
        policy=True,
        base=np.arange(n),
        order=np.array(order),
        exploration=None,
        probability=0.5,
        conditional=np.array([0.5] + [1.0] * (size - 1)),
    )
    even = np.arange(n) % 2 == 0
    page = LoggedPage(shown, even, even * 10.0 * np.arange(n), even, ~even)
    return dataclasses.replace(page, shown=dataclasses.replace(shown, **changes))


def test_sessions() -> None:
    long, short = logged([2, 0, 1, 3, 4], size=4), logged([1, 0], size=2)
    sessions = sessions_of(PageLog((long, short)), size=5)
    assert sessions.length.tolist() == [4, 2]
    assert sessions.order.tolist() == [[2, 0, 1, 3, 4], [1, 0, 2, 3, 4]]
    assert sessions.base.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert sessions.conditional.tolist() == [[0.5, 1, 1, 1, 1]] * 2
    assert sessions.clicks.tolist() == [
        [True, True, False, False, False],
        [False, True] + [False] * 3,
    ]
    assert sessions.purchases.tolist() == [[False, False, True, True, False], [True] + [False] * 4]
    assert sessions.dwell.tolist() == [[20.0, 0, 0, 0, 0], [0.0] * 5]
    assert sessions.rewards(Rewards(click=1, purchase=5))[1].tolist() == [5, 1, 0, 0, 0]
    pages = sessions.pages
    assert pages.score[:, :2].tolist() == [[0, -1], [0, -1]]
    # The geometric mean of 1, 2 and 3 replaces the unknown price.
    assert pages.price[0, :4] == pytest.approx([6 ** (1 / 3), 1, 2, 3])
    assert pages.item[1].tolist() == ["P0", "P1", "", "", ""]
    assert pages.group is not None
    assert pages.group[0].tolist() == ["a", "b", "a", "b", ""]
    seen = long.shown.seen
    assert seen is not None
    np.testing.assert_array_equal(pages.attraction[0, :4], seen.attraction)
    np.testing.assert_array_equal(pages.vector[0, :4], seen.vector)
    assert not pages.vector[1, 2:].any()
    assert [page.size for page in sessions.each()] == [4, 2]


def test_padding_changes_nothing() -> None:
    log = PageLog((logged([2, 0, 1], size=3), logged([1, 0], size=2)))
    narrow, wide = sessions_of(log), sessions_of(log, size=7)
    assert narrow.order.shape == (2, 3)
    for name in ("order", "base", "conditional", "clicks", "dwell", "purchases"):
        np.testing.assert_array_equal(getattr(narrow, name), getattr(wide, name)[:, :3])
    for one, other in zip(narrow.each(), wide.each(), strict=True):
        for name, value in one.arrays().items():
            np.testing.assert_array_equal(value, getattr(other, name))


def test_pages_without_a_group() -> None:
    page = logged([0, 1], size=2)
    assert page.shown.seen is not None
    bare = logged([0, 1], size=2, seen=dataclasses.replace(page.shown.seen, group=None))
    assert sessions_of(PageLog((page, bare))).pages.group is None


def test_interleaved_pages_are_left_out() -> None:
    shared = Interleaved("team_draft", (1, 2), np.array([0, 1]), np.array([[0, 1], [1, 0]]))
    mixed = logged([1, 0], size=2, interleaved=shared, seen=None)
    log = PageLog((mixed, logged([2, 0, 1], size=3)))
    assert sessions_of(log).length.tolist() == [3]
    with pytest.raises(DataError, match="none of 1 pages can be used: 1 were interleaved, and 0"):
        sessions_of(PageLog((mixed,)))


def test_pages_that_no_policy_saw_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    plain = logged([0, 1], size=2, seen=None, policy=False)
    with caplog.at_level("INFO"):
        assert sessions_of(PageLog((plain, logged([2, 0, 1], size=3)))).length.tolist() == [3]
    assert "left out: 1 of 2 pages, interleaved, seen by no policy" in caplog.text
    with pytest.raises(DataError, match="none of 1 pages can be used: 0 were interleaved, and 1"):
        sessions_of(PageLog((plain,)))


def test_pages_that_cannot_be_used() -> None:
    page, blind = logged([0, 1, 2], size=3), logged([0, 1], size=2, seen=None)
    with pytest.raises(
        DataError, match="1 of 2 pages do not say what the policy saw of them.*'p2'"
    ):
        sessions_of(PageLog((page, blind)))
    with pytest.raises(
        DataError, match="has 3 candidates that may be rearranged, but the policy takes 2"
    ):
        sessions_of(PageLog((page,)), size=2)
    assert page.shown.seen is not None
    light = logged([0, 1, 2], size=3, seen=dataclasses.replace(page.shown.seen, vector=None))
    with pytest.raises(DataError, match="let the server log the vectors"):
        sessions_of(PageLog((light,)))
    with pytest.raises(DataError, match="vectors of pages have 2 and 3 numbers"):
        sessions_of(PageLog((page, logged([0, 1], size=2, width=3))))
    with pytest.raises(DataError, match="page 'p3': order: has a candidate among the first 2"):
        sessions_of(PageLog((logged([2, 0, 1], size=2),)))


def test_pages_of_several_rankers() -> None:
    pages = []
    for fingerprint in ("a1", "b2"):
        page = logged([0, 1], size=2)
        seen = dataclasses.replace(page.shown.seen, fingerprint=fingerprint)
        shown = dataclasses.replace(page.shown, seen=seen, page=fingerprint)
        pages.append(dataclasses.replace(page, shown=shown))
    log = PageLog(tuple(pages))
    [kept] = usable_pages(log, "b2")
    assert kept.shown.page == "b2"
    assert len(sessions_of(log, fingerprint="a1")) == 1
    assert len(sessions_of(log)) == 2
    check_one_ranker([kept])
    with pytest.raises(DataError, match="pages of 2 rankers.*with --run"):
        check_one_ranker(pages)
    with pytest.raises(DataError, match="none of 2 pages is of the ranker"):
        usable_pages(log, "c3")
