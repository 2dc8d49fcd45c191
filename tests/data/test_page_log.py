"""Logs of shown pages: lines there and back, feedback that adds up, and what cannot be used."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from typing import Any

import numpy as np
import pytest

from mmrank.data.page_log import is_page_log, read_page_log
from mmrank.data.page_log_lines import (
    Feedback,
    Interleaved,
    Seen,
    ShownPage,
    as_line,
    feedback_from_line,
    shown_from_line,
)
from mmrank.data.tables import DataError

SEEN = Seen(
    attraction=np.array([0.5, 0.25]),
    purchase=np.array([0.1, 0.2]),
    dwell=np.array([30.0, 40.0]),
    price=np.array([9.5, 20.0]),
    vector=np.array([[1.0, 0.0], [0.6, 0.8]], np.float16),
    group=("ä", "b"),
)
PAGE = ShownPage(
    page="a1",
    time=1764550000.25,
    model="shop",
    version=3,
    query={"query": "röd klänning", "hour": 9.0},
    user=None,
    items=("P1", "P2", "P3"),
    scores=np.array([2.0, 1.0, 0.5]),
    size=2,
    seen=SEEN,
    policy=True,
    base=np.array([0, 1, 2]),
    order=np.array([1, 0, 2]),
    exploration={"kind": "pair_swap", "epsilon": 0.1, "open": [True, True]},
    probability=0.1,
    conditional=np.array([0.1, 1.0]),
    interleaved=Interleaved(
        "team_draft", (3, 4), np.array([1, 0, -1]), np.array([[0, 1, 2], [1, 0, 2]])
    ),
)
PLAIN = dataclasses.replace(PAGE, interleaved=None)


def changed(**changes: Any) -> bytes:
    """The line of `PLAIN` with other values; those under a key are given as `KEY_...`."""
    line = json.loads(as_line(PLAIN))
    for name, value in changes.items():
        part, _, key = name.partition("_")
        (line[part] if key else line)[key or name] = value
    return json.dumps(line).encode() + b"\n"


def write(folder: pathlib.Path, **files: bytes) -> pathlib.Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name.replace('_', '-')}.jsonl").write_bytes(content)
    return folder


def test_a_line_there_and_back() -> None:
    found = shown_from_line(as_line(PAGE))
    assert as_line(found) == as_line(PAGE)
    assert found.interleaved is not None
    for made, meant in ((found, PAGE), (found.seen, SEEN), (found.interleaved, PAGE.interleaved)):
        for field in dataclasses.fields(made):
            value, wanted = getattr(made, field.name), getattr(meant, field.name)
            if isinstance(wanted, np.ndarray):
                np.testing.assert_array_equal(value, wanted)
                assert value.dtype.kind == wanted.dtype.kind
            elif not dataclasses.is_dataclass(wanted):
                assert value == wanted
    bare = dataclasses.replace(PLAIN, seen=None, exploration=None, user="U1")
    assert as_line(shown_from_line(as_line(bare))) == as_line(bare)
    light = dataclasses.replace(PLAIN, seen=dataclasses.replace(SEEN, vector=None))
    assert as_line(shown_from_line(as_line(light))) == as_line(light)
    report = Feedback("a1", 5.0, ("P1",), {"P1": 2.5}, ("P1",), ())
    assert feedback_from_line(as_line(report)) == report
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_line(Feedback("a1", math.nan))


def test_feedback_adds_up(tmp_path: pathlib.Path) -> None:
    one = as_line(Feedback("a1", 1.0, ("P1",), {"P1": 2.0}, (), ()))
    two = as_line(Feedback("a1", 2.0, ("P3", "P9"), {"P1": 3.0, "P9": 1.0}, ("P1",), ("P3",)))
    lost = as_line(Feedback("b", 2.0, ("P1",)))
    folder = write(tmp_path / "log", shown_1=as_line(PLAIN), feedback_1=one + lost, feedback_2=two)
    log = read_page_log(folder)
    [page] = log.pages
    assert page.clicks.tolist() == [True, False, True]
    assert page.dwell.tolist() == [5.0, 0.0, 0.0]
    assert page.carts.tolist() == [True, False, False]
    assert page.purchases.tolist() == [False, False, True]
    assert (log.cut, log.repeated, log.unknown, log.elsewhere) == (0, 0, 1, 1)
    rows = log.rows()
    assert rows["item_id"].tolist() == ["P2", "P1", "P3"]
    assert rows["position"].tolist() == [1, 2, 3]
    assert rows["score"].tolist() == [1.0, 2.0, 0.5]
    assert rows["click"].tolist() == [0, 1, 1]
    assert rows["dwell"].tolist() == [0.0, 5.0, 0.0]
    assert rows["purchase"].tolist() == [0, 0, 1]
    assert set(rows["hour"]) == {9.0}
    assert set(rows["list_id"]) == {"a1"}
    assert rows["user"].isna().all()


def test_the_files_of_several_servers(tmp_path: pathlib.Path) -> None:
    """A cut last line of each file, and a page that was there before in a file before."""
    first, last = changed(page="z"), changed(page="y", query={})
    again = changed(page="z", time=7.0)
    folder = write(
        tmp_path / "log",
        shown_a=first + last[:40],
        shown_b=again + last,
        feedback_a=as_line(Feedback("y", 1.0)) + b'{"page":"y","cli',
    )
    (folder / "notes.txt").write_text("not a log")
    log = read_page_log(folder)
    assert [p.shown.page for p in log.pages] == ["z", "y"]
    assert log.pages[0].shown.time == PAGE.time
    assert (log.cut, log.repeated) == (2, 1)
    assert log.left_out() == "2 lines that were cut off, 1 pages that were there before"
    assert log.rows()["query"].isna().tolist() == [False] * 3 + [True] * 3
    assert not read_page_log(write(tmp_path / "clean", shown_1=first)).left_out()


def test_a_whole_last_line_without_its_end_counts(tmp_path: pathlib.Path) -> None:
    log = read_page_log(write(tmp_path / "log", shown_1=as_line(PLAIN).rstrip()))
    assert (len(log.pages), log.cut) == (1, 0)


def test_pages_in_random_order_are_marked(tmp_path: pathlib.Path) -> None:
    """Among the marked pages both orders of the two candidates are equally frequent."""
    rng, lines = np.random.default_rng(1), []
    for number in range(4000):
        base = rng.permutation(2)
        order = rng.permutation(base) if rng.random() < 0.4 else base
        probability = 0.8 if (order == base).all() else 0.2
        changes = {"page": f"p{number}", "base": [*base.tolist(), 2], "order": [*order.tolist(), 2]}
        changes["exploration"] = {"kind": "epsilon", "epsilon": 0.4, "open": [True, True]}
        changes |= {"probability": probability, "conditional": [probability, 1.0]}
        lines.append(changed(**changes))
    log = read_page_log(write(tmp_path / "log", shown_1=b"".join(lines)))
    marked = [p for p in log.pages if p.randomised()]
    as_base = np.mean([(p.shown.order == p.shown.base).all() for p in marked])
    assert abs(len(marked) / 4000 - 0.4) < 4 * math.sqrt(0.24 / 4000)
    assert abs(as_base - 0.5) < 4 * math.sqrt(0.25 / len(marked))
    rows = log.rows()
    assert rows.groupby("position")["randomised"].sum().tolist() == [len(marked), len(marked), 0]
    assert (
        not read_page_log(write(tmp_path / "swap", shown_1=as_line(PLAIN)))
        .rows()["randomised"]
        .any()
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"not json\n", "not JSON in UTF-8"),
        (b'{"page": "\xff"}\n', "not JSON in UTF-8"),
        (b"[" * 100_000 + b"\n", "not JSON in UTF-8"),
        (b"[1]\n", "expected an object"),
        (changed(page=7), "page: expected a text, got 7"),
        (changed(page=""), "page: the id is empty"),
        (changed(page="\ud800"), "halves of characters"),
        (changed(time=math.nan), "time: expected a finite number"),
        (changed(time=10**400), "time: expected a finite number"),
        (changed(version=2.5), "version: expected a whole number"),
        (changed(version=True), "version: expected a whole number"),
        (changed(policy=1), "policy: expected true or false"),
        (changed(items="P1"), "items: expected a list"),
        (changed(items=["P1", "P1", "P3"]), "items: none, or one of them twice"),
        (changed(scores=[1.0]), r"scores: shape \(1,\), but \(3,\) is needed"),
        (changed(scores=[1.0, "x", 2.0]), "scores: expected a number, got 'x'"),
        (changed(size=4), "size: 4, but the page has 3 items"),
        (changed(order=[0, 0, 2]), "order: expected each of 0 to 2 once"),
        (changed(base=[0, 1]), "base: expected each of 0 to 2 once"),
        (changed(query={"a": [1]}), r"query.a: expected a number, got \[1\]"),
        (changed(conditional=[0.1, 0.0]), "conditional: expected probabilities"),
        (changed(probability=0.2), "probability: is not the product"),
        (changed(exploration={"epsilon": 0.1}), "exploration.kind: missing"),
        (changed(exploration={"kind": "epsilon", "epsilon": 0.1}), "exploration.open: missing"),
        (changed(exploration_epsilon="x"), "exploration.epsilon: expected"),
        (changed(exploration_open=[True]), "exploration.open: 2 values are needed"),
        (changed(exploration_open=[1, 1]), "exploration.open: expected true or false, got 1"),
        (changed(exploration_kind="boltzmann", exploration_temperature=0), "must be above 0"),
        (changed(interleaved={"kind": "x", "versions": [1], "orders": []}), "two versions"),
        (changed(seen_price=[1.0, -1.0]), "seen.price: must be 0 or more"),
        (changed(seen_attraction=[2.0, 0.0]), "seen.attraction: expected probabilities"),
        (changed(seen_dwell=[-1.0, 0.0]), "seen.dwell: must be 0 or more"),
        (changed(seen_vector="!"), "seen.vector: not base64"),
        (changed(seen_width=3), "seen.vector: 8 bytes are no rows of 3 float16"),
        (changed(seen_width=4), "seen.vector: expected 2 vectors"),
        (changed(seen_group=["a"]), "seen.group: 1 groups, but 2 are needed"),
    ],
)
def test_bad_lines_are_named(tmp_path: pathlib.Path, line: bytes, message: str) -> None:
    folder = write(tmp_path / "log", shown_1=as_line(PLAIN) + line)
    with pytest.raises(DataError, match=message) as error:
        read_page_log(folder)
    assert f"{folder / 'shown-1.jsonl'}: line 2: " in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"page": "a1", "time": 1, "clicks": ["P1"], "dwell": {"P1": -1}, "carts": [],'
         b' "purchases": []}\n', "dwell: seconds below 0"),
        (b'{"page": "a1", "time": 1, "clicks": [1], "dwell": {}, "carts": [], "purchases": []}\n',
         "clicks: expected a text"),
        (b'{"page": "a1", "time": 1}\n', "dwell: missing"),
    ],
)  # fmt: skip
def test_bad_feedback_is_named(tmp_path: pathlib.Path, line: bytes, message: str) -> None:
    folder = write(tmp_path / "log", shown_1=as_line(PLAIN), feedback_1=line)
    with pytest.raises(DataError, match=f"feedback-1.jsonl: line 1: {message}"):
        read_page_log(folder)


def test_wrong_folders(tmp_path: pathlib.Path) -> None:
    assert not is_page_log(tmp_path)
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="no log of shown pages"):
            read_page_log(folder)
    with pytest.raises(DataError, match="no page in its files"):
        read_page_log(write(tmp_path / "empty", shown_1=b"\n"))
    log = read_page_log(write(tmp_path / "log", shown_1=changed(query={"score": 1.0})))
    with pytest.raises(DataError, match="query feature 'score': a column of the log"):
        log.rows()
