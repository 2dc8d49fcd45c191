"""Pages over REST: rearranged, explored, interleaved and logged, with feedback on them."""

from __future__ import annotations

import collections
import dataclasses
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from mmrank.data.page_log import read_page_log
from mmrank.data.page_log_lines import FEEDBACK, SHOWN, feedback_from_line, shown_from_line
from mmrank.reranking.columns import PageColumns
from mmrank.server import rank
from mmrank.server.page_log import PageLog
from mmrank.server.rerank_options import InterleaveOptions
from mmrank.serving.card import Card, PolicyCard, read_card
from mmrank.serving.rearranging import RankedPage, Rearranged
from mmrank.serving.staged import StagedList, StagedRanker

Inputs = dict[str, np.ndarray]
SIZE = 4
EPSILON = 0.5


@pytest.fixture(scope="module")
def policy() -> Iterator[None]:
    """Gives exports a policy that reverses the first candidates, except those numbered 1."""
    patch = pytest.MonkeyPatch()
    steps = StagedRanker.steps

    def with_page(self: StagedRanker, *arguments: Any) -> Any:
        *asked, rerank = arguments
        ranked = yield from steps(self, *asked)
        if rerank is not None:
            object.__setattr__(ranked, "page", reversed_page(ranked, rerank))
        return ranked

    def with_policy(folder: pathlib.Path) -> Card:
        card = read_card(folder)
        if folder.name == "1":
            return card
        policy = PolicyCard(size=SIZE, guarded=False, columns=PageColumns())
        return dataclasses.replace(card, policy=policy)

    patch.setattr(StagedRanker, "steps", with_page)
    patch.setattr(rank, "read_card", with_policy)
    yield
    patch.undo()


def reversed_page(ranked: StagedList, how: Rearranged) -> RankedPage:
    order = np.array([i for i in ranked.order if ranked.ids[i] not in how.rules.exclude], int)
    size = min(SIZE, len(order))
    base, seen = np.arange(len(order)), None
    if how.policy:
        base[:size] = base[:size][::-1]
        half = np.full(size, 0.5, np.float32)
        seen: dict[str, Any] = dict.fromkeys(("attraction", "purchase", "dwell", "price"), half)
        seen["fingerprint"] = "a1"
        seen["vector"] = np.eye(size, dtype=np.float32)
        seen["group"] = np.array([b"\xe7\xba\xa2"] * size, object)
    return RankedPage(size, order, base, bites=1, open=np.ones(size, bool), seen=seen)


@dataclasses.dataclass
class Served:
    """A server with a log, a switch and rules in a folder, and the candidates of a request."""

    running: Any
    folder: pathlib.Path
    items: list[str]

    def rank(self, **more: Any) -> httpx.Response:
        asked = {"query": "红色 dress", "candidates": self.items}
        return self.running.http.post("/rank", json=asked | more)

    def feedback(self, **body: Any) -> httpx.Response:
        return self.running.http.post("/feedback", json=body)

    def metric(self, name: str) -> float:
        page = self.running.http.get("/monitoring/prometheus/metrics").text
        found = [line for line in page.splitlines() if line.startswith(f"mmrank_{name} ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    def lines(self, pattern: str, count: int) -> list[bytes]:
        """The lines of the log, once there are as many."""
        end = time.monotonic() + 20
        while True:
            files = sorted((self.folder / "log").glob(pattern))
            lines = [line for f in files for line in f.read_bytes().splitlines(keepends=True)]
            if len(lines) >= count or time.monotonic() > end:
                return lines
            time.sleep(0.01)


@pytest.fixture(scope="module")
def served(
    small_export: pathlib.Path,
    id_request: Inputs,
    policy: None,
    serve_for_module: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Served:
    folder = tmp_path_factory.mktemp("pages")
    for number in "12":
        shutil.copytree(small_export, folder / "export" / number)
    (folder / "rules.yaml").write_text("{}\n")
    running = serve_for_module(
        folder / "export",
        model={"warm_up": False, "labels": {"stable": 1, "canary": 2}},
        rerank={
            "exploration": "pair_swap",
            "options": {"epsilon": EPSILON},
            "switch": str(folder / "off"),
            "rules": str(folder / "rules.yaml"),
            "alarm_pages": 1,
        },
        interleave={"labels": ["stable", "canary"]},
        log={"folder": str(folder / "log")},
    )
    return Served(running, folder, [item for item in id_request["items"][2] if item][:8])


def actual(reply: httpx.Response) -> dict[str, Any]:
    assert reply.status_code == 200, reply.text
    return reply.json()


def refused(reply: httpx.Response, status: int = 400) -> str:
    assert reply.status_code == status, reply.text
    return reply.json()["error"]


def shown_items(reply: dict[str, Any]) -> list[str]:
    assert [entry["position"] for entry in reply["ranked"]] == list(
        range(1, len(reply["ranked"]) + 1)
    )
    return [entry["item"] for entry in reply["ranked"]]


def rules(served: Served, text: str) -> None:
    """Replaces the rules by a file that was complete some time ago."""
    file = served.folder / "new.yaml"
    file.write_text(text)
    when = time.time() - 5
    os.utime(file, (when, when))
    file.replace(served.folder / "rules.yaml")


def test_without_a_policy(served: Served) -> None:
    assert "version 1 has no policy" in refused(served.rank(rerank=True, label="stable"))


def test_without_a_log(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.running.server._pages.recorder, "_log", None)
    assert "log.folder" in refused(served.feedback(page="0" * 32))
    assert actual(served.rank(rerank=True))["page"] is None


def test_a_page_is_rearranged_explored_and_logged(served: Served) -> None:
    plain = actual(served.rank())
    assert {"page", "policy", "probability", "explored"}.isdisjoint(plain)
    ranking = [entry["item"] for entry in plain["ranked"]]
    base = ranking[:SIZE][::-1] + ranking[SIZE:]
    before = served.metric('pages_total{order="policy"}')
    scores = {entry["item"]: entry["score"] for entry in plain["ranked"]}
    replies = [actual(served.rank(rerank=True)) for _ in range(20)]
    assert {reply["explored"] for reply in replies} == {True, False}
    for reply in replies:
        items = shown_items(reply)
        assert reply["policy"] == "on"
        assert reply["explored"] is (items != base)
        wanted = EPSILON / (SIZE - 1) if reply["explored"] else 1 - EPSILON
        assert reply["probability"] == pytest.approx(wanted)
        for entry in reply["ranked"]:
            assert entry["score"] == pytest.approx(scores[entry["item"]], abs=1e-5)
    logged = {line.page: line for line in map(shown_from_line, served.lines(SHOWN, 20))}
    for reply in replies:
        line = logged[reply["page"]]
        assert [line.items[i] for i in line.order] == shown_items(reply)
        assert list(line.items) == ranking
        assert (line.model, line.version, line.user) == ("ranker", 2, None)
        assert line.seen is not None
        assert line.seen.group == ("红",) * SIZE
        assert line.query == {"query": "红色 dress"}
        assert line.probability == pytest.approx(reply["probability"])
    assert served.metric('pages_total{order="policy"}') == before + 20
    assert served.metric("guard_alarm") == 1


def test_the_switch_gives_the_rankers_order_at_once(served: Served) -> None:
    ranking = [entry["item"] for entry in actual(served.rank())["ranked"]]
    assert served.metric("policy_off") == 0
    (served.folder / "off").touch()
    try:
        for _ in range(5):
            reply = actual(served.rank(rerank=True))
            assert (reply["policy"], reply["explored"], reply["probability"]) == ("off", False, 1)
            assert shown_items(reply) == ranking
        reply = actual(served.rank(interleave=True))
        assert reply["interleaved"] is None
        assert (reply["version"], shown_items(reply)) == (1, ranking)
        reply = actual(served.rank(rerank=True, version=1))  # a version without a policy
        assert (reply["policy"], shown_items(reply)) == ("off", ranking)
        assert served.metric("policy_off") == 1
        rules(served, f"exclude: [{ranking[0]}]\n")  # what people decided stays in force
        assert shown_items(actual(served.rank(rerank=True))) == ranking[1:]
        assert shown_items(actual(served.rank(rerank=True, version=1))) == ranking[1:]
    finally:
        (served.folder / "off").unlink()
        rules(served, "{}\n")
    assert actual(served.rank(rerank=True))["policy"] == "on"


def test_new_rules_apply_and_broken_ones_do_not(served: Served) -> None:
    items = shown_items(actual(served.rank(rerank=True)))
    rules(served, f"exclude: [{items[1]}]\n")
    assert items[1] not in shown_items(actual(served.rank(rerank=True)))
    rules(served, "exclude: [\n")
    assert items[1] not in shown_items(actual(served.rank(rerank=True)))
    assert served.metric("rules_failing") == 1
    rules(served, "{}\n")
    assert set(shown_items(actual(served.rank(rerank=True)))) == set(items)
    assert served.metric("rules_failing") == 0


def test_feedback_is_logged_for_its_page(served: Served) -> None:
    reply = actual(served.rank(rerank=True))
    first, second = shown_items(reply)[:2]
    sent = {"page": reply["page"], "clicks": [first, second], "dwell": {first: 31.5}}
    assert actual(served.feedback(**sent)) == {"page": reply["page"], "known": True}
    assert actual(served.feedback(page=reply["page"], purchases=[first]))["known"]
    lines = [feedback_from_line(line) for line in served.lines(FEEDBACK, 2)]
    mine = [line for line in lines if line.page == reply["page"]]
    assert [line.clicks for line in mine] == [(first, second), ()]
    assert mine[0].dwell == {first: 31.5}
    assert mine[1].purchases == (first,)
    rows = read_page_log(served.folder / "log").rows()
    rows = rows[rows["list_id"] == reply["page"]].set_index("item_id")
    assert rows.loc[first, ["click", "purchase"]].tolist() == [1, 1]
    assert rows.loc[second, ["click", "purchase"]].tolist() == [1, 0]


def test_feedback_on_a_page_of_another_server_is_taken(served: Served) -> None:
    before = served.metric('feedback_total{page="unknown"}')
    assert actual(served.feedback(page="f" * 32, clicks=["anything"]))["known"] is False
    assert served.metric('feedback_total{page="unknown"}') == before + 1


def test_feedback_on_items_that_were_not_shown_is_refused(served: Served) -> None:
    page = actual(served.rank(rerank=True))["page"]
    assert "was not on the page" in refused(served.feedback(page=page, clicks=["P999999"]))
    assert "was not on the page" in refused(served.feedback(page=page, dwell={"P999999": 3}))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "JSON"),
        (b"[]", "object"),
        (b"{}", "page"),
        (b'{"page": "x"}', "page"),
        (b'{"page": "' + b"0" * 32 + b'", "dwell": {"P1": NaN}}', "JSON"),
        (b'{"page": "' + b"0" * 32 + b'", "click": []}', "did you mean 'clicks'"),
    ],
)
def test_wrong_feedback_is_refused(served: Served, body: bytes, words: str) -> None:
    assert words in refused(served.running.http.post("/feedback", content=body))


def test_feedback_that_the_log_cannot_take_is_to_be_sent_again(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PageLog, "add", lambda *_: False)
    assert "try again" in refused(served.feedback(page="e" * 32), 429)
    reply = actual(served.rank(rerank=True))
    assert reply["page"] is None  # not logged, so that feedback on it is of no use


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"rerank": 1}, '"rerank": expected true or false'),
        ({"rerank": "yes"}, '"rerank": expected true or false'),
        ({"interleave": 1}, "two labels"),
        ({"interleave": ["stable"]}, "two labels"),
        ({"interleave": ["stable", 3]}, "two labels"),
        ({"interleave": []}, "two labels"),
        ({"interleave": ["stable", "gone"]}, "label: gone"),
        ({"interleave": True, "rerank": True}, 'leave out "rerank"'),
        ({"interleave": True, "explain": True}, 'leave out "explain"'),
        ({"interleave": True, "version": 1}, 'leave out "version"'),
        ({"interleave": True, "label": "stable"}, 'leave out "label"'),
        ({"interleave": True, "candidates": ["a"] * 501}, "at most 500"),
    ],
)
def test_wrong_requests_for_pages(served: Served, body: dict[str, Any], words: str) -> None:
    assert words in refused(served.rank(**body))


def test_two_versions_are_interleaved(served: Served) -> None:
    for asked in (True, ["canary", "stable"]):
        replies = [actual(served.rank(interleave=asked)) for _ in range(3)]
        versions = [1, 2] if asked is True else [2, 1]
        for reply in replies:
            assert reply["interleaved"] == versions
            assert reply["version"] == versions[0]
            assert sorted(shown_items(reply)) == sorted(served.items)
    logged = [shown_from_line(line) for line in served.lines(SHOWN, 1)]
    (line,) = [line for line in logged if line.page == replies[-1]["page"]]
    assert line.interleaved is not None
    assert line.interleaved.versions == (2, 1)
    assert [line.items[i] for i in line.order] == shown_items(replies[-1])


def test_pages_may_be_explained(served: Served) -> None:
    reply = actual(served.rank(rerank=True, explain=True))
    assert all("shares" in entry for entry in reply["ranked"])
    assert reply["policy"] == "on"


def test_a_server_without_labels_needs_them(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.running.server._pages, "interleave", InterleaveOptions())
    assert "no labels" in refused(served.rank(interleave=True))


def test_pages_without_ids_are_answered_but_not_logged(served: Served) -> None:
    products = [{"title": "Linen dress"}, {"title": "Blue mug"}]
    reply = actual(served.rank(rerank=True, candidates=products))
    assert reply["page"] is None
    assert not reply["explored"]
    twice = actual(served.rank(rerank=True, candidates=[*served.items[:2], served.items[0]]))
    assert twice["page"] is None
    counts = collections.Counter(entry["item"] for entry in twice["ranked"])
    assert counts[served.items[0]] == 2


def test_everything_is_written_before_the_server_ends(served: Served) -> None:
    # The last test, since it stops the server of the others.
    pages = [actual(served.rank(rerank=True))["page"] for _ in range(10)]
    for page in pages:
        actual(served.feedback(page=page, clicks=served.items[:1]))
    served.running.stop()
    log = read_page_log(served.folder / "log")
    mine = [page for page in log.pages if page.shown.page in pages]
    assert [page.shown.page for page in mine] == pages
    assert [int(page.clicks.sum()) for page in mine] == [1] * 10
