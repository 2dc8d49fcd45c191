"""Lists from a log: grades, splits by time, events, and rows that cannot be used."""

from __future__ import annotations

import hmac
import pathlib

import numpy as np
import pandas as pd
import pytest

from mmrank.data.page_log_lines import Feedback, ShownPage, as_line
from mmrank.data.tables import load_dataset
from mmrank.propensity.__main__ import main as propensity
from pipelines.prepare_logs import main

OPTIONS = {
    "list": "search",
    "item": "sku",
    "position": "rank",
    "click": "clicked",
    "query": "terms",
    "user": "shopper",
    "time": "at",
    "dwell": "stay",
    "cart": "carted",
    "purchase": "bought",
}


def pages(count: int) -> pd.DataFrame:
    """Pages of three items, a minute apart, latest first; position 2 is clicked."""
    page = np.repeat(np.arange(count)[::-1], 3)
    rank = np.tile([3, 1, 2], count)
    clicked = (rank == 2).astype(int)
    return pd.DataFrame(
        {
            "search": page,
            "sku": np.array(["007", "a", "b"])[(rank + page) % 3],
            "rank": rank,
            "clicked": clicked,
            "terms": "red",
            "shopper": np.where(page % 2 == 0, "u", ""),
            "at": 1_000_000 + 60 * page,
            "stay": np.where(clicked == 1, 12.5, np.nan),
            "carted": clicked * (page % 3 == 0),
            "bought": clicked * (page % 6 == 0),
        }
    )


def run(folder: pathlib.Path, log: pd.DataFrame, *more: str, **options: str) -> int:
    log.to_csv(folder / "log.csv", index=False)
    catalog = pd.DataFrame({"id": ["007", "a", "b"], "title": ["x", "y", "z"]})
    catalog.to_csv(folder / "products.csv", index=False)
    command = ["--log", str(folder / "log.csv"), "--catalog", str(folder / "products.csv")]
    command += ["--out", str(folder / "out"), "--catalog-item", "id", "--feature", "title:text"]
    for role, column in {**OPTIONS, **options}.items():
        command += [f"--{role}", column]
    return main([*command, *more])


def test_a_log_becomes_a_dataset(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = pd.concat([pages(20), pages(1).head(1).assign(search=99)])
    assert run(tmp_path, log) == 0
    assert "20 lists, 60 rows, 20 clicks; 1 pages with fewer" in capsys.readouterr().out
    data = load_dataset(tmp_path / "out")
    rows = data.lists
    assert rows["list"].tolist() == [str(p) for p in range(20) for _ in range(3)]  # by time
    assert rows["position"].tolist() == [1, 2, 3] * 20
    deepest = [3 if p % 6 == 0 else 2 if p % 3 == 0 else 1 for p in range(20)]
    assert rows["grade"].tolist() == [g for d in deepest for g in (0, d, 0)]
    assert rows["_split"].tolist() == ["train"] * 48 + ["valid"] * 6 + ["test"] * 6
    names = {f.name for f in data.schema.side("label")}
    assert names == {"grade", "position", "click", "dwell", "cart", "purchase"}
    events = data.events
    assert events is not None
    # User u has the even pages: 10 clicks, 4 carts (0, 6, 12, 18), and as many purchases.
    assert events["event_type"].value_counts().to_dict() == {"view": 10, "cart": 4, "purchase": 4}
    at = events.set_index(["event_type", "time"])
    assert ("view", 1_000_000.0) in at.index
    assert ("purchase", 1_000_012.5) in at.index  # after the dwell time


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"rank": 0},
            "column 'rank': 12 value(s), row 1: 0, row 2: 0, row 3: 0: is not a position",
        ),
        (
            {"clicked": "yes"},
            "column 'clicked': 12 value(s), row 1: 'yes', row 2: 'yes'",
        ),
        ({"rank": 1}, "row 2: 1, row 3: 1, row 5: 1: is repeated in its list"),
        ({"sku": "a"}, "column 'sku'"),
        ({"at": "soon"}, "is not a time"),
        ({"stay": -1}, "is not a dwell time"),
        ({"search": None}, "no list"),
        ({"terms": list("abcdefghijkl")}, "differs within its list"),
        ({"sku": ["007", "a", "c"] * 4}, "'c'"),  # not in the catalogue
    ],
)
def test_bad_rows_are_refused(
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, object],
    message: str,
) -> None:
    assert run(tmp_path, pages(4).assign(**change)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bad_arguments_are_refused(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, pages(4), click="clickd") == 2
    assert "did you mean 'clicked'" in capsys.readouterr().err
    assert run(tmp_path, pages(4), "--feature", "title") == 2
    assert "COLUMN:KIND" in capsys.readouterr().err


def test_sensitive_columns_and_user_ids_are_not_copied(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = bytes(range(32))
    monkeypatch.setenv("MMRANK_PSEUDONYM_KEYS", f"a1:{key.hex()}")
    log = pages(20).assign(email="who@example.org")
    options = ["--feature", "email:category:query", "--pseudonyms", "--sensitive"]
    assert run(tmp_path, log, *options, "emai") == 2
    assert "is in neither table; did you mean 'email'?" in capsys.readouterr().err
    assert run(tmp_path, log, *options, "email") == 2
    assert "no column 'email'" in capsys.readouterr().err
    assert run(tmp_path, log, "--pseudonyms", "--sensitive", "email") == 0
    written = b"".join(p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert b"example.org" not in written
    pseudonym = hmac.new(key, b"mmrank user id\0u", "sha256").hexdigest()[:32]
    data = load_dataset(tmp_path / "out")
    assert data.events is not None
    assert set(data.events["user_id"]) == {f"a1.{pseudonym}"}
    assert set(data.lists["user"].dropna()) == {f"a1.{pseudonym}"}


def server_log(folder: pathlib.Path, pages: int = 40) -> pathlib.Path:
    """Pages of three items, of which the second position is clicked; every fourth is swapped."""
    shown, feedback = [], []
    for number in range(pages):
        order = np.array([1, 0, 2] if number % 4 == 0 else [0, 1, 2])
        probability = 0.25 if number % 4 == 0 else 0.5
        page = ShownPage(
            page=f"p{number:02}",
            time=1_000_000.0 + 60 * number,
            model="shop",
            version=1,
            query={"query": "red", "hour": 9.0},
            user="u" if number % 2 == 0 else None,
            items=("007", "a", "b"),
            scores=np.array([2.0, 1.0, 0.0]),
            size=3,
            seen=None,
            policy=False,
            base=np.arange(3),
            order=order,
            exploration={"kind": "pair_swap", "epsilon": 0.5, "open": [True] * 3},
            probability=probability,
            conditional=np.array([probability, 1.0, 1.0]),
        )
        shown.append(as_line(page))
        item = page.items[order[number % 2]]
        feedback.append(as_line(Feedback(page.page, 5.0, (item,), {item: 9.0}, (item,))))
    folder.mkdir()
    (folder / "shown-1.jsonl").write_bytes(b"".join(shown) + shown[0] + shown[1][:30])
    (folder / "feedback-1.jsonl").write_bytes(b"".join(feedback))
    return folder


def from_server(folder: pathlib.Path, *more: str) -> int:
    catalog = pd.DataFrame({"id": ["007", "a", "b"], "title": ["x", "y", "z"]})
    catalog.to_csv(folder / "products.csv", index=False)
    command = ["--log", str(folder / "log"), "--catalog", str(folder / "products.csv")]
    command += ["--out", str(folder / "out"), "--catalog-item", "id", "--feature", "title:text"]
    return main([*command, *more])


def test_a_servers_log_needs_no_columns(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server_log(tmp_path / "log")
    assert from_server(tmp_path, "--feature", "hour:number:query") == 0
    said = capsys.readouterr()
    assert "40 lists, 120 rows, 40 clicks" in said.out
    assert "1 lines that were cut off, 1 pages that were there before" in said.err
    data = load_dataset(tmp_path / "out")
    rows = data.lists
    assert rows["list"].unique().tolist() == [f"p{n:02}" for n in range(40)]
    assert rows["item"].tolist()[:6] == ["a", "007", "b", "007", "a", "b"]
    assert rows["position"].tolist() == [1, 2, 3] * 40
    assert rows["grade"].tolist() == [2, 0, 0, 0, 2, 0] * 20
    assert rows["probability"].tolist()[:6] == [0.25] * 3 + [0.5] * 3
    assert rows["hour"].tolist() == [9.0] * 120
    assert data.events is not None
    assert data.events["event_type"].value_counts().to_dict() == {"view": 20, "cart": 20}
    out = ["--data", str(tmp_path / "out"), "--split", "all", "--out", str(tmp_path / "p.csv")]
    assert propensity([*out, "--positions", "2", "--resamples", "2"]) == 0


def test_sensitive_columns_of_a_servers_log(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server_log(tmp_path / "log")
    assert from_server(tmp_path, "--sensitive", "user", "--sensitive", "hour") == 0
    data = load_dataset(tmp_path / "out")
    assert data.events is None
    assert not {"user", "hour"} & set(data.lists)
    assert from_server(tmp_path, "--sensitive", "usr") == 2
    assert "'usr': is in neither table; did you mean 'user'?" in capsys.readouterr().err


def test_bad_arguments_for_a_servers_log(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log").mkdir()
    assert from_server(tmp_path) == 2
    assert "no log of shown pages" in capsys.readouterr().err
    assert from_server(tmp_path, "--position", "rank") == 2
    assert "--position: " in capsys.readouterr().err
