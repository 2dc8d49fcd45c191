"""Versions that shared pages: wins and losses by user, against loops and the sign test."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from scipy import stats

from mmrank.config import ConfigError
from mmrank.data.findings import DataError
from mmrank.data.page_log import LoggedPage, read_page_log
from mmrank.data.page_log_lines import Interleaved, ShownPage
from mmrank.experiments.interleaved import credit_of, preferences

NONE = np.zeros(3)


def page(
    name: str,
    user: str | None,
    clicked: list[int],
    versions: tuple[int, int] = (1, 2),
    kind: str = "team_draft",
) -> LoggedPage:
    """A page in the order 1, 0, 2 whose positions are of the teams 1, 0, 1."""
    orders = np.array([[0, 1, 2], [1, 2, 0]])
    order = np.array([1, 0, 2])
    how = Interleaved(kind, versions, np.array([1, 0, 1]), orders)
    shown = ShownPage(
        name, 0.0, "shop", 2, {}, user, ("a", "b", "c"), NONE, 3, None, False, order, order,
        None, 1.0, np.ones(3), how,
    )  # fmt: skip
    clicks = np.isin(np.arange(3), clicked)
    return LoggedPage(shown, clicks, NONE, clicks & False, clicks & False)


def test_the_newer_version_is_credited_whichever_is_first() -> None:
    # Candidate 1 is at the top, of team 1.
    assert credit_of(page("p", "u", [1])) == 1
    assert credit_of(page("p", "u", [1], versions=(2, 1))) == -1
    assert credit_of(page("p", "u", [0])) == -1
    assert credit_of(page("p", "u", [0, 2])) == 0
    assert credit_of(page("p", "u", [])) == 0


def test_pages_of_a_user_are_one_unit() -> None:
    clicked = {"u": [[1], [1], [0]], "v": [[0]], "w": [[1], [0]], "x": [[1, 2]], "y": [[1]]}
    pages = [page(f"{u}{i}", u, c) for u, all_of in clicked.items() for i, c in enumerate(all_of)]
    [found] = preferences(pages)
    assert (found.units, found.wins, found.losses, found.ties) == (5, 3, 1, 1)
    assert found.mean == pytest.approx(np.mean([1 / 3, -1, 0, 1, 1]))
    assert found.p_value == pytest.approx(stats.binomtest(3, 4).pvalue)
    assert found.low <= found.mean <= found.high
    [by_page] = preferences(pages, unit="page")
    assert (by_page.units, by_page.wins, by_page.losses, by_page.ties) == (8, 5, 3, 0)


def test_pairs_of_versions_are_compared_apart_with_holm() -> None:
    pages = [page(f"a{i}", f"u{i}", [1]) for i in range(10)]
    pages += [page(f"b{i}", f"u{i}", [1], versions=(3, 1)) for i in range(10)]
    pages += [page(f"c{i}", f"u{i}", [1], kind="probabilistic") for i in range(10)]
    found = preferences(pages)
    assert [(row.versions, row.kind) for row in found] == [
        ((1, 2), "team_draft"),
        ((1, 3), "team_draft"),
        ((1, 2), "probabilistic"),
    ]
    assert [row.wins for row in found] == [10, 0, 10]
    assert found[0].p_holm == pytest.approx(3 * 2 * 0.5**10)


def test_pages_without_a_click_are_ties() -> None:
    [found] = preferences([page("p", "u", []), page("q", "v", [])])
    assert (found.ties, found.p_value, found.mean) == (2, 1, 0)


def test_a_log(shared_log: pathlib.Path) -> None:
    [found] = preferences(read_page_log(shared_log).pages)
    assert found.versions == (2, 5)
    # The newer version has the clicked candidate first, so that it always drafts it.
    assert (found.units, found.wins, found.losses) == (40, 40, 0)


def test_wrong_logs(ab_log: pathlib.Path) -> None:
    with pytest.raises(DataError, match="no page of the log is interleaved"):
        preferences(read_page_log(ab_log).pages)
    with pytest.raises(DataError, match="page 'p' has no user: make pages the unit"):
        preferences([page("p", None, [1])])
    with pytest.raises(DataError, match="versions 1 and 2: fewer than two units"):
        preferences([page("p", "u", [1]), page("q", "u", [1])])
    with pytest.raises(ConfigError, match=r"interleaved.kind: unknown interleaving 'balanced'"):
        preferences([page("p", "u", [1], kind="balanced")])
