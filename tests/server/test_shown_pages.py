"""Which orders are shown and logged, for ranked lists made by hand."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client import generate_latest

from mmrank.config import ConfigError
from mmrank.data.page_log_lines import SHOWN, Feedback, ShownPage, shown_from_line
from mmrank.reranking.exploration import EXPLORATIONS
from mmrank.reranking.guards import Rules
from mmrank.server.monitor.metrics import Metrics
from mmrank.server.page_log_options import LogOptions
from mmrank.server.page_recorder import MOST_TEXT, Asking
from mmrank.server.remembered import RememberedPages
from mmrank.server.rerank_options import InterleaveOptions, RerankOptions
from mmrank.server.shown_pages import ShownPages
from mmrank.serving.rearranging import RankedPage

ASKING = Asking("shop", 3, {"query": "red", "age": 7}, "U1")
# The request's candidates P0 ... P4, and the order that the ranker gives them.
IDS, ORDER = ("P0", "P1", "P2", "P3", "P4"), [3, 1, 4, 0, 2]
SCORES = np.array([0.1, 0.8, -1.0, 2.0, 0.5], np.float32)


class Pages:
    """Shown pages, their log and their metrics."""

    def __init__(self, folder: pathlib.Path | None, seed: int = 0, **sections: Mapping[str, Any]):
        self.folder, self._metrics = folder, Metrics()
        log = {"folder": None if folder is None else str(folder), **sections.get("log", {})}
        self.pages = ShownPages(
            RerankOptions(**sections.get("rerank", {})),
            InterleaveOptions(**sections.get("interleave", {})),
            LogOptions(**log),
            self._metrics,
            seed=seed,
        )
        self.pages.recorder._clock = lambda: 12.5

    def logged(self) -> list[ShownPage]:
        """Ends the log and returns its pages."""
        self.pages.recorder.close()
        assert self.folder is not None
        files = sorted(self.folder.glob(SHOWN))
        return [shown_from_line(line) for f in files for line in f.read_bytes().splitlines(True)]

    def metric(self, name: str) -> float:
        lines = generate_latest(self._metrics.registry).decode().splitlines()
        found = [line for line in lines if line.startswith(f"mmrank_{name} ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0


def ranked(page: Any = None, ids: tuple[str, ...] = IDS) -> Any:
    return SimpleNamespace(order=np.array(ORDER), ids=ids, scores=SCORES, page=page)


def page(
    base: list[int], opened: list[bool], bites: int = 0, order: list[int] | None = None
) -> RankedPage:
    size = len(opened)
    half = np.full(size, 0.5, np.float32)
    seen: dict[str, Any] = dict.fromkeys(("attraction", "purchase", "dwell", "price"), half)
    seen["fingerprint"] = "a1"
    seen |= {"vector": np.eye(size, dtype=np.float32), "group": np.array([b"a"] * size, object)}
    ranking = np.array(ORDER if order is None else order)
    return RankedPage(size, ranking, np.array(base), bites, np.array(opened), seen)


def test_a_policys_order_is_shown_and_logged(tmp_path: pathlib.Path) -> None:
    pages = Pages(tmp_path)
    shown = pages.pages.reranked(ranked(page([1, 0, 2, 3, 4], [True] * 3)), ASKING, True)
    assert shown.order.tolist() == [1, 3, 4, 0, 2]  # the request's candidates
    assert (shown.by, shown.probability, shown.explored) == ("policy", 1.0, False)
    (line,) = pages.logged()
    assert line.page == shown.page
    assert (line.model, line.version, line.time, line.user) == ("shop", 3, 12.5, "U1")
    assert line.query == {"query": "red", "age": 7}
    assert line.items == ("P3", "P1", "P4", "P0", "P2")
    np.testing.assert_allclose(line.scores, [2.0, 0.8, 0.5, 0.1, -1.0], atol=1e-6)
    assert (line.size, line.policy, line.exploration) == (3, True, None)
    assert line.base.tolist() == line.order.tolist() == [1, 0, 2, 3, 4]
    assert line.conditional.tolist() == [1, 1, 1]
    assert line.seen is not None
    assert line.seen.vector.tolist() == np.eye(3).tolist()


def test_excluded_items_are_neither_shown_nor_logged(tmp_path: pathlib.Path) -> None:
    pages = Pages(tmp_path)
    without = page([1, 0, 2, 3], [True] * 2, order=[3, 4, 0, 2])
    shown = pages.pages.reranked(ranked(without), ASKING, True)
    assert shown.order.tolist() == [4, 3, 0, 2]
    (line,) = pages.logged()
    assert line.items == ("P3", "P4", "P0", "P2")
    assert line.order.tolist() == [1, 0, 2, 3]


@pytest.mark.parametrize("kind", sorted(EXPLORATIONS))
def test_exploration_is_logged_with_its_probability(kind: str, tmp_path: pathlib.Path) -> None:
    options = {"temperature": 2.0} if kind == "boltzmann" else {"epsilon": 0.8}
    pages = Pages(tmp_path, rerank={"exploration": kind, "options": options})
    made = [
        pages.pages.reranked(ranked(page([2, 0, 1, 3, 4], [True] * 3)), ASKING, True)
        for _ in range(40)
    ]
    assert pages.metric("pages_explored_total") == sum(one.explored for one in made) > 0
    exploration = EXPLORATIONS.make(kind, options)
    logged = pages.logged()
    for one, line in zip(made, logged, strict=True):
        base, order = line.base[:3], line.order[:3]
        wanted = exploration.cumulative(base, np.ones(3, bool), order)
        assert one.probability == pytest.approx(wanted[-1])
        np.testing.assert_allclose(np.cumprod(line.conditional), wanted)
        assert one.explored == (line.base.tolist() != line.order.tolist())
        assert line.order[3:].tolist() == [3, 4]  # below the page nothing moves
        assert one.order.tolist() == [ORDER[i] for i in line.order.tolist()]
        assert line.exploration == {"kind": kind, **options, "open": [True, True, True]}
    assert len({line.page for line in logged}) == 40


def test_closed_swaps_are_not_explored(tmp_path: pathlib.Path) -> None:
    pages = Pages(tmp_path, rerank={"exploration": "pair_swap", "options": {"epsilon": 1}})
    for _ in range(20):
        shown = pages.pages.reranked(
            ranked(page([0, 1, 2, 3, 4], [True, False, True])), ASKING, True
        )
        assert shown.order.tolist() == [3, 4, 1, 0, 2]
        assert shown.probability == 1


@pytest.mark.parametrize("ids", [("P0", "P1", "P2", "", "P4"), ("P0", "P1", "P2", "P1", "P4")])
def test_a_page_that_cannot_be_logged_is_not_explored(
    ids: tuple[str, ...], tmp_path: pathlib.Path
) -> None:
    pages = Pages(tmp_path, rerank={"exploration": "pair_swap", "options": {"epsilon": 1}})
    shown = pages.pages.reranked(ranked(page([1, 0, 2, 3, 4], [True] * 3), ids), ASKING, True)
    assert (shown.page, shown.explored, shown.probability) == (None, False, 1.0)
    assert shown.order.tolist() == [1, 3, 4, 0, 2]
    assert pages.metric('page_log_lost_total{kind="shown",reason="invalid"}') == 1
    assert pages.logged() == []


def test_without_a_log_pages_have_no_id() -> None:
    pages = Pages(None, rerank={"exploration": "pair_swap", "options": {"epsilon": 1}})
    shown = pages.pages.reranked(ranked(page([0, 1, 2, 3, 4], [True] * 3)), ASKING, True)
    assert shown.page is None
    assert shown.explored
    assert shown.probability == pytest.approx(0.5)
    assert not pages.pages.recorder.logs
    assert not pages.pages.recorder.feedback(Feedback("0" * 32, 0.0), known=False)


def test_vectors_can_be_left_out(tmp_path: pathlib.Path) -> None:
    pages = Pages(tmp_path, log={"vectors": False})
    pages.pages.reranked(ranked(page([0, 1, 2, 3, 4], [True] * 3)), ASKING, True)
    (line,) = pages.logged()
    assert line.seen is not None
    assert line.seen.vector is None


def test_without_the_policy_nothing_is_explored(tmp_path: pathlib.Path) -> None:
    rerank = {"exploration": "pair_swap", "options": {"epsilon": 1}, "alarm_pages": 1}
    pages = Pages(tmp_path, rerank=rerank)
    ruled = page([1, 0, 2, 3], [True] * 3, bites=2, order=[3, 4, 0, 2])
    off = dataclasses.replace(ruled, seen=None)
    shown = pages.pages.reranked(ranked(off), ASKING, False)
    assert shown.order.tolist() == [4, 3, 0, 2]
    assert (shown.by, shown.probability, shown.explored) == ("ranker", 1.0, False)
    plain = pages.pages.unchanged(ranked(), ASKING)
    assert plain.order.tolist() == ORDER
    rules = Rules(pin={"P2": 1}, exclude=("P3", "P0"))
    assert pages.pages.unchanged(ranked(), ASKING, rules).order.tolist() == [2, 1, 4]
    everything = Rules(exclude=IDS)
    assert pages.pages.unchanged(ranked(), ASKING, everything).order.tolist() == []
    assert pages.metric("guard_window_pages") == 0
    first, second, third = pages.logged()
    assert third.items == ("P1", "P4", "P2")
    assert third.order.tolist() == [2, 0, 1]
    assert first.items == ("P3", "P4", "P0", "P2")
    assert first.order.tolist() == [1, 0, 2, 3]
    assert (first.policy, first.seen, first.exploration) == (False, None, None)
    assert second.order.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", ["team_draft", "probabilistic"])
def test_two_orders_are_interleaved(kind: str, tmp_path: pathlib.Path) -> None:
    pages = Pages(tmp_path, interleave={"kind": kind, "positions": 3})
    other = SimpleNamespace(order=np.array([2, 1, 3, 0, 4]))
    shown = [pages.pages.interleaved(ranked(), other, ASKING, 4) for _ in range(10)]
    for one, line in zip(shown, pages.logged(), strict=True):
        assert one.by == "interleaved"
        assert line.interleaved is not None
        assert line.interleaved.kind == kind
        assert line.interleaved.versions == (3, 4)
        theirs = [ORDER.index(i) for i in other.order.tolist()]
        assert line.interleaved.orders.tolist() == [[0, 1, 2, 3, 4], theirs]
        assert one.order.tolist() == [ORDER[i] for i in line.order.tolist()]
        assert line.size == len(line.conditional) == 3
        assert one.probability == pytest.approx(line.conditional.prod())
        assert not line.policy


def test_texts_of_queries_are_cut_and_other_features_left_out(tmp_path: pathlib.Path) -> None:
    pages = Pages(tmp_path)
    query = {"q": "x" * 5000, "photo": b"png", "tags": ["a"], "new": True, "age": 3.5, "no": None}
    pages.pages.unchanged(ranked(), Asking("shop", 3, query))
    (line,) = pages.logged()
    assert line.query == {"q": "x" * MOST_TEXT, "age": 3.5}
    assert line.user is None


def test_feedback_is_checked_against_remembered_pages(tmp_path: pathlib.Path) -> None:
    pages = Pages(tmp_path)
    shown = pages.pages.unchanged(ranked(), ASKING)
    assert shown.page is not None
    assert pages.pages.recorder.foreign(shown.page, ["P1", "P9"]) == ["P9"]
    assert pages.pages.recorder.foreign(shown.page, []) == []
    assert pages.pages.recorder.foreign("0" * 32, ["P1"]) is None
    assert pages.pages.recorder.feedback(Feedback(shown.page, 1.0, clicks=("P1", "P2")), known=True)
    assert pages.metric('feedback_total{page="known"}') == 1
    assert pages.metric('feedback_items_total{event="click"}') == 2


def test_the_oldest_pages_are_forgotten() -> None:
    remembered = RememberedPages(items=4)
    for name in "abc":
        remembered.add(name, ["x", name])
    assert remembered.foreign("a", []) is None
    assert remembered.foreign("b", ["b", "c"]) == ["c"]
    remembered.add("large", list("12345"))
    assert remembered.foreign("large", []) is None
    assert remembered.foreign("c", []) == []


def test_guards_that_stop_a_policy_raise_the_alarm() -> None:
    pages = Pages(None, rerank={"alarm_share": 0.4, "alarm_pages": 2})
    for bites in (0, 3):
        pages.pages.reranked(ranked(page([0, 1, 2, 3, 4], [True] * 3, bites)), ASKING, True)
    assert pages.metric("guard_alarm") == 1
    assert pages.metric("guard_stopped_share") == 0.5


@pytest.mark.parametrize(("guarded", "fails"), [(True, True), (False, False)])
def test_guards_go_with_pair_swap_only(guarded: bool, fails: bool) -> None:
    card: Any = SimpleNamespace(policy=SimpleNamespace(guarded=guarded, size=5))
    Pages(None, rerank={"exploration": "pair_swap"}).pages.check(card)
    Pages(None).pages.check(card)
    other = Pages(None, rerank={"exploration": "epsilon"}).pages
    other.check(SimpleNamespace(policy=None))  # type: ignore[arg-type]
    if fails:
        with pytest.raises(ConfigError, match="guards of the policy"):
            other.check(card)
    else:
        other.check(card)
