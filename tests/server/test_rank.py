"""POST /rank as clients use it: ids in order, shares, and refusals."""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import os
import pathlib
import shutil
import signal
import threading
import time
import types
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from mmrank.data.page_log import read_page_log
from mmrank.data.pseudonyms import VARIABLE, Pseudonyms, new_secret
from mmrank.server import rank
from mmrank.server.guard.options import Limits
from mmrank.server.monitor.metrics import Metrics
from mmrank.server.off_loop import INLINE_BYTES
from mmrank.server.page_log_options import LogOptions
from mmrank.server.rank import NEEDED, RankEndpoint
from mmrank.server.rank_options import RankOptions
from mmrank.server.rerank_options import InterleaveOptions, RerankOptions
from mmrank.server.servable import Servable
from mmrank.server.shown_pages import ShownPages
from mmrank.serving.embeddings.base import StoreError
from mmrank.serving.embeddings.options import EmbeddingOptions
from mmrank.serving.ranker import Ranker
from mmrank.serving.staged import StagedRanker

Inputs = dict[str, np.ndarray]
NEW = {"title": "Linen summer dress", "price": 49.0, "tags": ["linen", "dress"]}


def actual(reply: httpx.Response) -> dict[str, Any]:
    assert reply.status_code == 200, reply.text
    return reply.json()


def refused(reply: httpx.Response, status: int = 400) -> str:
    assert reply.status_code == status, reply.text
    assert set(reply.json()) == {"error"}
    return reply.json()["error"]


def test_returns_ids_in_order_of_score(running: Any, ranker: Ranker, id_request: Inputs) -> None:
    items = [item for item in id_request["items"][2] if item]
    asked = {"query": id_request["query"][2], "user": id_request["user"][2], "candidates": items}
    reply = actual(running.http.post("/rank", json=asked))
    want = ranker.rank(asked["query"], items, asked["user"])
    assert [position["item"] for position in reply["ranked"]] == [
        position.item for position in want
    ]
    assert [position["index"] for position in reply["ranked"]] == [
        position.index for position in want
    ]
    got = [position["score"] for position in reply["ranked"]]
    np.testing.assert_allclose(got, [position.score for position in want], rtol=0, atol=1e-5)
    assert reply["version"] == 1
    assert reply["sources"] == {"export": len(items)}
    assert reply["store_away"] is False
    assert "shares" not in reply


def test_history_and_new_products_in_one_request(
    running: Any, ranker: Ranker, id_request: Inputs, raw_request: Inputs
) -> None:
    known, old = id_request["items"][2][:2]
    photo = raw_request["photo"][2][raw_request["photo_present"][2]][0]
    product = NEW | {"photo": {"b64": base64.b64encode(photo).decode()}, "overlap": 2}
    events = [{"item": old, "type": "view", "age_days": 2.5}, [known, "purchase", 30]]
    asked = {"query": {"query": "红色 dress"}, "history": events, "candidates": [product, known]}
    reply = actual(running.http.post("/rank", json=asked))
    assert reply["sources"] == {"encoded": 1, "export": 1}
    names = {position["index"]: position["item"] for position in reply["ranked"]}
    assert names == {0: None, 1: known}
    # Two new products have the scores of raw features in one step.
    both = [NEW | {"photo": photo}, {"title": "Blue mug"}]
    want = ranker.scores("red", both, history=[(old, "view", 2.5)])
    sent = [{n: v for n, v in product.items() if n != "overlap"}, both[1]]
    reply = actual(
        running.http.post(
            "/rank", json={"query": "red", "candidates": sent, "history": [[old, "view", 2.5]]}
        )
    )
    got = {position["index"]: position["score"] for position in reply["ranked"]}
    np.testing.assert_allclose([got[0], got[1]], want, rtol=0, atol=1e-5)


def test_shares_of_every_modality(running: Any, id_request: Inputs) -> None:
    items = [item for item in id_request["items"][2] if item]
    asked = {"query": id_request["query"][2], "candidates": items, "explain": True}
    reply = actual(running.http.post("/rank", json=asked))
    assert {"query", "title", "photo", "price"} <= set(reply["shares"])
    assert sum(reply["shares"].values()) == pytest.approx(1, abs=1e-4)
    for position in reply["ranked"]:
        assert set(position["shares"]) == set(position["effects"]) == set(reply["shares"])
        sizes = {name: abs(effect) for name, effect in position["effects"].items()}
        total = sum(sizes.values())
        for name, share in position["shares"].items():
            assert share == pytest.approx(sizes[name] / total if total else 0, abs=1e-3)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[1]", "object"),
        (b'{"candidates": ["a"], "query": NaN}', "JSON"),
        (b"{}", "candidates"),
        (b'{"candidate": ["a"]}', "did you mean 'candidates'"),
        (b'{"candidates": "a"}', "candidates"),
        (b'{"candidates": {"a": 1}}', "candidates"),
        (b'{"candidates": []}', "at least one"),
        (b'{"candidates": [[]]}', "candidate 0"),
        (b'{"candidates": [null]}', "candidate 0"),
        (b'{"candidates": [true]}', "candidate 0"),
        (b'{"candidates": [""]}', "empty"),
        (b'{"candidates": [{"titel": "x"}]}', "did you mean 'title'"),
        (b'{"candidates": [{"price": "cheap"}]}', "price"),
        (b'{"candidates": [{"title": {"b64": "eA=="}}]}', "title"),
        (b'{"candidates": [{"photo": "/etc/passwd"}]}', "base64"),
        (b'{"candidates": [{"photo": {"b64": "!"}}]}', "base64"),
        (b'{"candidates": [{"photo": {"b64": "aGVsbG8="}}]}', "photo"),
        (b'{"candidates": [{"reviews": [{"text": 3}]}]}', "reviews"),
        (b'{"candidates": ["a"], "query": ["red"]}', "query"),
        (b'{"candidates": ["a"], "query": {"b64": "eA=="}}', "name the feature"),
        (b'{"candidates": ["a"], "query": {"price": 3}}', "price"),
        (b'{"candidates": ["a"], "user": {"id": 3}}', "id"),
        (b'{"candidates": ["a"], "history": {"item": "b"}}', "history"),
        (b'{"candidates": ["a"], "history": [["b", "view", -1]]}', "history[0]"),
        (b'{"candidates": ["a"], "history": [["b", "view"]]}', "history[0]"),
        (b'{"candidates": ["a"], "history": [{"item": "b", "age": 1}]}', "history[0]"),
        (b'{"candidates": ["a"], "explain": "yes"}', "explain"),
        (b'{"candidates": ["a"], "version": "1"}', "version"),
        (b'{"candidates": ["a"], "version": true}', "version"),
        (b'{"candidates": ["a"], "label": 3}', "label"),
        (b'{"candidates": ["a"], "label": "canary"}', "label"),
        (b'{"candidates": ["a"], "version": 1, "label": "canary"}', "Both"),
    ],
)
def test_wrong_requests_return_what_is_wrong(running: Any, body: bytes, words: str) -> None:
    assert words in refused(running.http.post("/rank", content=body))


def test_an_unknown_version_is_refused(running: Any) -> None:
    assert "99" in refused(
        running.http.post("/rank", json={"candidates": ["a"], "version": 99}), 404
    )
    assert running.http.get("/rank").status_code == 405


def test_too_many_candidates_are_refused(running: Any) -> None:
    many = {"candidates": ["a"] * 2001}
    assert "2000" in refused(running.http.post("/rank", json=many))
    assert "history" in refused(
        running.http.post("/rank", json={"candidates": ["a"], "history": [["a", "view", 1]] * 2001})
    )
    most = {"candidates": ["a"] * 1001, "explain": True}
    assert "explain" in refused(running.http.post("/rank", json=most))


def test_caches_are_counted(running: Any) -> None:
    for _ in range(2):
        actual(running.http.post("/rank", json={"query": "count me", "candidates": ["a"]}))
    page = running.http.get("/monitoring/prometheus/metrics").text
    lines = [line for line in page.splitlines() if line.startswith("mmrank_cache_requests_total")]
    assert {'cache="queries",outcome="hit"', 'cache="queries",outcome="miss"'} <= {
        line.partition("{")[2].partition("}")[0] for line in lines
    }


def test_a_foreign_model_does_not_serve_rank(
    serve: Callable[..., Any], toy_folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    shutil.copytree(toy_folder, tmp_path / "1")
    served = serve(tmp_path)
    assert "rank_embeddings" in refused(served.http.post("/rank", json={"candidates": ["a"]}))


class Loaded:
    """The attributes of a servable that are read before it runs."""

    def __init__(self, folder: pathlib.Path):
        self.number, self.folder, self.signatures = 1, folder, dict.fromkeys(NEEDED)


def test_a_refused_version_leaves_nothing_in_caches(
    exported: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def over(*_: Any) -> StagedRanker:
        raise StoreError("no fingerprint")

    monkeypatch.setattr(StagedRanker, "over", over)
    loading: list[Callable[[Any], None]] = []
    service: Any = types.SimpleNamespace(on_load=loading.append, on_unload=lambda _: None)
    pages = ShownPages(RerankOptions(), InterleaveOptions(), LogOptions(), Metrics())
    endpoint = RankEndpoint(
        service, EmbeddingOptions(), RankOptions(), Limits(candidates=10), pages
    )
    with pytest.raises(StoreError):
        loading[0](Loaded(exported))
    assert not endpoint._ids
    endpoint.close()


@pytest.mark.slow
def test_user_ids_are_pseudonymised_before_the_model(
    serve: Callable[..., Any],
    exported: pathlib.Path,
    redis_server: Any,
    id_request: Inputs,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
) -> None:
    # Another server of the export, for everything that needs a config of its own.
    monkeypatch.setenv(VARIABLE, new_secret("a"))
    served = serve(
        exported.parent,
        model={"warm_up": False, "labels": {"stable": 1}},
        security={"pseudonymise_users": True},
        log={"folder": str(tmp_path / "log")},
        embeddings={"redis": redis_server.address, "timeout_ms": 500.0, "failures": 1},
        rank={"threads": 1, "waiting": 0},
    )
    seen: list[str] = []
    of = Pseudonyms.of
    monkeypatch.setattr(Pseudonyms, "of", lambda self, user: seen.append(user) or of(self, user))
    items = [item for item in id_request["items"][2] if item]
    asked = {"query": "red", "user": "U1", "candidates": items}
    first = actual(served.http.post("/rank", json=asked))
    assert seen == ["U1"]
    assert first["store_away"] is False
    without = actual(served.http.post("/rank", json=asked | {"user": None}))
    for user in (7, 7.0, "", " ", None):
        reply = actual(served.http.post("/rank", json=asked | {"user": {"user": user}}))
        if not isinstance(user, (int, float)):
            assert reply["ranked"] == without["ranked"]
    assert seen == ["U1", "7", "7"]
    twice = {"interleave": ["stable", "stable"]}
    actual(served.http.post("/rank", json=asked | twice))
    assert seen[3:] == ["U1", "U1"]
    served.server._pages.recorder.close()
    (page,) = read_page_log(tmp_path / "log").pages
    assert page.shown.user == of(Pseudonyms.from_environment(), "U1")
    assert "expected a text" in refused(
        served.http.post("/rank", json=asked | {"user": {"user": 7.5}})
    )
    redis_server.stop()
    gone = actual(served.http.post("/rank", json=asked))
    assert gone["store_away"] is True
    assert gone["ranked"] == first["ranked"]
    # Another request occupies the only thread.
    served.server._rank._busy += 1
    assert "try again" in refused(served.http.post("/rank", json=asked), 429)
    served.server._rank._busy -= 1
    actual(served.http.post("/rank", json=asked))


@pytest.mark.slow
def test_slow_files_do_not_delay_other_requests(
    serve: Callable[..., Any], small_export: pathlib.Path, raw_request: Inputs, id_request: Inputs
) -> None:
    running = serve(
        small_export.parent,
        model={"warm_up": False},
        rank={"decoders": 1, "decoding_waiting": 1, "decoding_seconds": 2.0, "threads": 1},
    )
    photo = raw_request["photo"][2][raw_request["photo_present"][2]][0]
    with_photo = {
        "query": "red",
        "candidates": [{"title": NEW["title"], "photo": {"b64": base64.b64encode(photo).decode()}}],
    }
    plain = {"query": "red", "candidates": list(id_request["items"][2][:5])}
    actual(running.http.post("/rank", json=plain))
    actual(running.http.post("/rank", json=with_photo))
    pool = running.server._rank._decoding
    (process,) = pool._processes
    os.kill(process._process.pid, signal.SIGSTOP)  # like a photo whose decoding never ends
    with concurrent.futures.ThreadPoolExecutor(3) as clients:
        held = [clients.submit(running.http.post, "/rank", json=with_photo) for _ in range(3)]
        begun = time.monotonic()
        while len(pool._waiting) < 1 and time.monotonic() - begun < 1:
            time.sleep(0.01)
        started = time.monotonic()
        actual(running.http.post("/rank", json=plain))
        assert time.monotonic() - started < 1.5  # the files may take two seconds
        replies = [h.result() for h in held]
    codes = sorted(reply.status_code for reply in replies)
    assert codes == [200, 400, 429]
    slow = next(reply for reply in replies if reply.status_code == 400)
    assert "candidate 0: photo: the files take more than 2 s to decode" in refused(slow)


@pytest.mark.parametrize("large", [False, True])
def test_threads_change_only_where_the_work_needs_it(
    running: Any, id_request: Inputs, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    seen: dict[str, set[str]] = {"run": set(), "write": set()}
    run, write = Servable.run, rank.write_reply

    def watched_run(*arguments: Any, **more: Any) -> Any:
        seen["run"].add(threading.current_thread().name.split("_")[0])
        return run(*arguments, **more)

    def watched_write(*arguments: Any) -> bytes:
        seen["write"].add(threading.current_thread().name)
        return write(*arguments)

    monkeypatch.setattr(Servable, "run", watched_run)
    monkeypatch.setattr(rank, "write_reply", watched_write)
    query = "red " * (INLINE_BYTES if large else 1)
    items = [item for item in id_request["items"][2] if item]
    actual(running.http.post("/rank", json={"query": query, "candidates": items}))
    assert seen["run"] == {"batch"}
    assert (seen["write"] == {running._thread.name}) is not large


def test_a_deadline_ends_a_request(running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.server.service, "timeout", 0.0)
    refused(running.http.post("/rank", json={"query": "late", "candidates": ["a"]}), 504)


def test_requests_wait_while_as_many_run_as_may(
    running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = asyncio.Semaphore(0)
    monkeypatch.setattr(running.server._rank, "_running", free)
    with concurrent.futures.ThreadPoolExecutor(1) as client:
        held = client.submit(running.http.post, "/rank", json={"candidates": ["a"]})
        begun = time.monotonic()
        while not free.locked() or running.server._rank._busy < 1:
            assert time.monotonic() - begun < 20
            time.sleep(0.01)
        time.sleep(0.1)
        assert not held.done()
        running._loop.call_soon_threadsafe(free.release)
        actual(held.result())
    assert not free.locked()  # it was released
    assert running.server._rank._busy == 0
