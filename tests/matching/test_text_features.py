"""Match features of texts, compared with plain loops over words."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from mmrank.matching.terms import TermLayout
from mmrank.matching.text_features import TEXT_FEATURES, text_features

QUERY = TermLayout(8, 24, 4, 24, phrases=True)
TEXT = TermLayout(12, 40, 8)
AVERAGE = 5.0


def features(query: str, texts: list[str], idf: dict[str, float] | None = None) -> np.ndarray:
    """Features [texts, F] of one query; the idf of a stem is 1 unless given."""
    asked = QUERY.unpack(QUERY.pack(tf.constant([query])))
    words = query.split()
    weights = np.zeros([1, 8], np.float32)
    weights[0, : len(words)] = [(idf or {}).get(w, 1.0) for w in words]
    offered = TEXT.unpack(TEXT.pack(tf.constant(texts))[None])
    return text_features(asked, tf.constant(weights), offered, AVERAGE)[0].numpy()[0]


def at(name: str) -> int:
    return TEXT_FEATURES.index(name)


def test_bm25_and_coverage_by_a_loop() -> None:
    idf = {"red": 2.0, "wool": 3.0, "hat": 0.5}
    query, texts = "red wool hat", ["red hat red", "blue sock", "wool coat of red felt and a hat"]
    found = features(query, texts, idf)
    for row, text in zip(found, texts, strict=True):
        words = text.split()
        k = 1.2 * (0.25 + 0.75 * len(words) / AVERAGE)
        terms = [(idf[w], words.count(w)) for w in query.split()]
        bm25 = sum(i * n / (n + k) for i, n in terms) / 5.5
        assert row[at("bm25")] == pytest.approx(bm25, rel=1e-5)
        assert row[at("idf_covered")] == pytest.approx(sum(i for i, n in terms if n) / 5.5)
        assert row[at("covered")] == pytest.approx(sum(n > 0 for _, n in terms) / 3)
        assert row[at("all_covered")] == float(all(n for _, n in terms))
        assert row[at("last_word")] == float("hat" in words)
        inside = sum(w in query.split() for w in words) / len(words)
        assert row[at("of_the_text")] == pytest.approx(inside)
        assert row[at("length")] == pytest.approx(math.log1p(len(words)) / 5, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "pairs", "triples", "first"),
    [
        ("red wool hat", 1, 1, 1),
        ("a red wool hat", 1, 1, 1 / 2),
        ("wool hat red", 0.5, 0, 1),
        ("hat wool red", 0, 0, 1),
        ("red wool scarf wool hat", 1, 0, 1),
    ],
)
def test_neighbouring_words_count(text: str, pairs: float, triples: float, first: float) -> None:
    row = features("red wool hat", [text])[0]
    assert row[at("pairs")] == pytest.approx(pairs)
    assert row[at("triples")] == pytest.approx(triples)
    assert row[at("first_place")] == pytest.approx(first)


def test_stems_and_exact_words_count_separately() -> None:
    row = features("cabinets", ["cabinet"])[0]
    assert (row[at("covered")], row[at("covered_exactly")]) == (1.0, 0.0)


def test_character_grams_match_misspelt_words() -> None:
    asked, texts = "screwdriver", ["screw driver", "screwdrivr", "hammer"]
    found = features(asked, texts)

    def grams(text: str) -> list[str]:
        joined = "_" + text.replace(" ", "") + "_"
        return [joined[i : i + 3] for i in range(len(joined) - 2)]

    for row, text in zip(found, texts, strict=True):
        hits = sum(g in grams(text) for g in grams(asked))
        assert row[at("grams")] == pytest.approx(hits / len(grams(asked)))
        both = 2 * hits / (len(grams(asked)) + len(grams(text)))
        assert row[at("grams_both")] == pytest.approx(both)
    assert found[0, at("covered")] == 0 < found[0, at("grams")] == 1


def test_numbers_are_matched() -> None:
    row = features("3/4 in pipe", ["pipe 0.75 inch", "pipe 1 in"])
    assert row[:, at("numbers")].tolist() == [1, 0]
    assert row[:, at("other_numbers")].tolist() == [0, 1]


def test_chinese_is_matched_by_character() -> None:
    row = features("红 色", ["红色连衣裙", "绿色"])
    np.testing.assert_allclose(row[:, at("covered")], [1, 0.5])
    np.testing.assert_allclose(row[:, at("pairs")], [1, 0])


@pytest.mark.parametrize(("query", "text"), [("", "red hat"), ("red hat", ""), ("", "")])
def test_features_are_zero_if_one_side_is_empty(query: str, text: str) -> None:
    assert not features(query, [text]).any()


def test_features_lie_between_zero_and_one() -> None:
    texts = ["red wool hat " * 3, "3/4 in 3/4 in 3/4 in", "红色 500ml x x x x x x"]
    for query in ("red red red", "3/4 in 500 ml 10", "红 色 x"):
        found = features(query, texts)
        assert np.isfinite(found).all()
        assert found.min() >= 0
        assert found.max() <= 1 + 1e-6
