"""Chinese search queries: judged titles among titles of other queries, and the pairs' metrics."""

from __future__ import annotations

import gzip
import json
import pathlib

import numpy as np
import pandas as pd
import pytest

from mmrank.data.tables import load_dataset
from pipelines import prepare_qbqtc
from pipelines.prepare_qbqtc import goes_to_valid, prepare, read_pairs, same_query
from pipelines.qbqtc_lists import (
    make_lists,
    nearest_titles,
    shared,
    term_weights,
    terms,
    unjudged,
)
from pipelines.score_qbqtc import pair_metrics, report

THINGS = "手机 电脑 咳嗽 感冒 股票 电影 火车 菜谱 足球 英语".split()
ASKED = "怎么办 多少钱 图片 下载 推荐 原因".split()


def rows_of(first: int, number: int) -> list[dict[str, str]]:
    """Rows of the public layout; every fourth query has a second title."""
    rows = []
    for i in range(first, first + number):
        query = f"{THINGS[i % 10]}{ASKED[i // 10 % 6]}{i}"
        rows.append({"query": query, "title": f"{query}百度知道", "label": str(i % 3)})
        if i % 4 == 0:
            rows.append({"query": query, "title": f"{THINGS[i % 7]}问答{i}", "label": "0"})
    return [{"id": str(i), **row} for i, row in enumerate(rows)]


def write(folder: pathlib.Path, name: str, rows: list[dict[str, str]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / f"{name}.json.gz").write_bytes(gzip.compress(text.encode()))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("qbqtc")
    dev, test = rows_of(0, 200), rows_of(190, 30)
    dev.append(dev[0] | {"label": "2"})  # the same pair judged again
    test.append({"id": "x", "query": "ＡＢＣ　手机", "title": "abc手机", "label": "1"})
    dev.append({"id": "x", "query": "abc 手机", "title": "别的", "label": "1"})
    write(folder, "dev", dev)
    write(folder, "test_public", test)
    return folder


@pytest.fixture(scope="module")
def prepared(source: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    out = tmp_path_factory.mktemp("out") / "qbqtc"
    prepare(source, out, seed=1, candidates=12)
    return out


def test_lists_hold_the_judged_titles_and_others_of_the_split(source, prepared):
    data = load_dataset(prepared)
    lists = data.lists
    pairs = {s: read_pairs(source, n) for s, n in prepare_qbqtc.FILES.items()}
    titles = data.catalog.set_index("item_id")["title"]
    assert data.catalog["title"].is_unique
    assert set(lists["split"]) == {"train", "valid", "test"}
    for _, rows in lists.groupby("list_id"):
        split, asked_for = rows["split"].iloc[0], rows["query"].iloc[0]
        assert len(rows) == 12
        assert rows["item_id"].is_unique
        judgements = pairs["test" if split == "test" else "dev"]
        of_query = judgements[judgements["query"] == asked_for]
        judged = rows[rows["label"].notna()]
        actual = dict(zip(titles[judged["item_id"]], judged["label"], strict=True))
        assert actual == dict(zip(of_query["title"], of_query["label"], strict=True))
        assert (rows["grade"] == rows["label"].fillna(0)).all()
    shown = {s: set(titles[rows["item_id"]]) for s, rows in lists.groupby("split")}
    asked = {s: set(rows["query"]) for s, rows in lists.groupby("split")}
    of_valid = {q for q in pairs["dev"]["query"] if goes_to_valid(q)} - asked["test"]
    assert asked["valid"] == {q for q in of_valid if same_query(q) != "abc手机"}
    for split, queries in asked.items():
        own = pairs["test" if split == "test" else "dev"]
        assert shown[split] <= set(own[own["query"].isin(queries)]["title"])


def test_queries_of_the_test_are_in_no_other_split(prepared):
    lists = load_dataset(prepared).lists
    test = set(lists.loc[lists["split"] == "test", "query"].map(same_query))
    assert len(test) == 31
    assert not test & set(lists.loc[lists["split"] != "test", "query"].map(same_query))
    assert "abc手机" in test


def test_a_pair_judged_twice_has_the_higher_label(source):
    pairs = read_pairs(source, "dev.json")
    assert not pairs.duplicated(["query", "title"]).any()
    assert pairs.iloc[0]["label"] == 2  # judged 0 and later 2


def test_the_same_seed_gives_the_same_lists(source, prepared, tmp_path):
    first = pd.read_parquet(prepared / "lists.parquet")
    prepare(source, tmp_path / "again", seed=1, candidates=12)
    prepare(source, tmp_path / "other", seed=2, candidates=12)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "again" / "lists.parquet"), first)
    assert not pd.read_parquet(tmp_path / "other" / "lists.parquet").equals(first)


def test_half_of_the_unjudged_are_near_and_half_from_the_shelf():
    rng = np.random.default_rng(0)
    picked = unjudged(np.array([0]), np.arange(20), np.arange(15, 60), 100, 19, rng)
    assert len(set(picked.tolist())) == len(picked) == 19
    assert 0 not in picked
    assert (picked < 20).sum() >= 9
    assert (picked < 60).all()
    # If the shelf is too small, any other title is used, but never a judged one.
    few = unjudged(np.array([0]), np.arange(3), np.arange(4), 8, 20, rng)
    assert sorted(few.tolist()) == [1, 2, 3, 4, 5, 6, 7]


def test_neighbouring_training_lists_share_their_titles():
    """In 64 lists, all candidates except the hard ones are titles of these lists."""
    pairs = pd.DataFrame(rows_of(0, 200)).astype({"label": int})
    pairs["item_id"] = pd.factorize(pairs["title"])[0].astype(str)
    lists = make_lists(pairs, "train", 12, {"": 1.0}, np.random.default_rng(3))
    shelf = lists[lists["list_id"] < "train-000064"]
    own = set(shelf.loc[shelf["label"].notna(), "item_id"])
    for _, rows in shelf.groupby("list_id"):
        others = rows.loc[rows["label"].isna(), "item_id"]
        assert (~others.isin(own)).sum() <= 11 // 2


def test_terms_are_words_characters_and_pairs():
    assert terms("ＩPhone手机 壳") == ["iphone", "手", "机", "壳", "iphone手", "手机", "机壳"]


def test_overlaps_weigh_rare_terms_more():
    """手 is in one of four titles and 机 in two: log 4 and log 2; terms in no title have log 4."""
    weights = term_weights(["手机", "机", "a", "b"])
    assert weights["手"] == pytest.approx(np.log(4))
    assert weights["机"] == pytest.approx(np.log(2))
    query, title = frozenset({"手", "机", "壳"}), frozenset({"机", "手", "好", "坏", "新"})
    overlap, of_title = shared(query, title, weights)
    assert overlap == pytest.approx((2 + 1) / (2 + 1 + 2))
    assert of_title == pytest.approx((2 + 1) / (2 + 1 + 2 + 2 + 2))
    assert shared(frozenset(), title, weights) == (0.0, 0.0)


def test_nearest_titles_are_those_that_share_terms():
    titles = ["小孩咳嗽怎么办", "股票行情", "咳嗽吃什么药", "火车票"]
    near = nearest_titles(["咳嗽", "火车 时刻"], titles, count=2)
    assert set(near[0].tolist()) == {0, 2}
    assert near[1][0] == 3
    assert nearest_titles(["咳嗽"], titles).shape == (1, 4)


def test_pair_metrics_by_hand():
    labels, scores = np.array([0, 1, 2, 1]), np.array([0.1, 0.4, 0.3, 0.2])
    # Ranks of the labels 1, 2.5, 4, 2.5 and of the scores 1, 4, 3, 2.
    a, b = np.array([1, 2.5, 4, 2.5]) - 2.5, np.array([1, 4, 3, 2]) - 2.5
    metrics = pair_metrics(labels, scores)
    assert metrics["spearman"] == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)))
    assert metrics["auc_1"] == 1.0  # all are above the one with label 0
    assert metrics["auc_2"] == pytest.approx(2 / 3)  # 0.3 is above 0.1 and 0.2, but below 0.4
    assert np.isnan(list(pair_metrics(np.array([1, 1]), np.array([0.0, 1.0])).values())).all()


def test_the_report_uses_only_judged_rows():
    rows = pd.DataFrame({"label": pd.array([2, None, 0, None], dtype="Int64")})
    text = report(rows, {"model": np.array([1.0, 9.0, 0.0, 9.0])})
    assert text.splitlines()[0] == "2 judged pairs"
    assert text.splitlines()[2].split() == ["model", "1.000", "1.000", "1.000"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"query": "a", "title": "b"}], "no key 'label'"),
        ([{"query": "a", "title": "b", "label": "3"}], "line 1: '3' is not one of 0, 1, 2"),
        (None, "no such file; --source is a folder with dev.json.gz"),
    ],
)
def test_wrong_sources_are_refused(tmp_path, capsys, rows, message):
    if rows is not None:
        write(tmp_path, "dev", rows)
    code = prepare_qbqtc.main(["--source", str(tmp_path), "--out", str(tmp_path / "out")])
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_too_few_candidates_are_refused(capsys):
    with pytest.raises(SystemExit):
        prepare_qbqtc.main(["--source", "a", "--out", "b", "--candidates", "1"])
    assert "at least 2" in capsys.readouterr().err
