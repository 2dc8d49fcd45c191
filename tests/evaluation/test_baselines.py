from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np
import pytest

from mmrank.data.as_of import count_before
from mmrank.data.tables import Dataset
from mmrank.data.words import tokens
from mmrank.evaluation.baselines import baseline_scores, singular

Shop = Callable[..., Dataset]


def test_tokens_are_words_and_single_ideographs() -> None:
    assert tokens("Red-KURTA, 100% cotton_blend 红色T恤 ｆｕｌｌ") == [
        *("red", "kurta", "100", "cotton", "blend"),
        *("红", "色", "t", "恤", "full"),
    ]
    assert tokens(" !? ") == []


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        *[("kurtas", "kurta"), ("shoes", "shoe"), ("berries", "berry"), ("dresses", "dress")],
        *[("watches", "watch"), ("boxes", "box"), ("bags", "bag"), ("houses", "house")],
        *[("glass", "glass"), ("lotus", "lotus"), ("tennis", "tennis"), ("gas", "gas")],
        *[("ties", "tie"), ("红", "红"), ("", "")],
    ],
)
def test_singular(word: str, expected: str) -> None:
    assert singular(word) == expected


def test_bm25_finds_the_singular_of_a_plural(shop: Shop) -> None:
    dataset = shop()
    rows = dataset.rows("train").assign(query="shoe shirts")
    shirt, shoes = baseline_scores(dataset, rows, ["bm25"])["bm25"]
    assert shirt > 0
    assert shoes > 0


def test_popularity_counts_events_strictly_before_the_list(shop: Shop) -> None:
    dataset = shop()
    scores = baseline_scores(dataset, dataset.lists, ["popularity"])["popularity"]
    np.testing.assert_array_equal(
        scores,
        [2, 2, 0]  # at 100; b's event at 100 is not before it
        + [3, 0, 0]  # at 200
        + [2, 2]  # no time: events up to the last training list, at 50
        + [0, 2],  # at 50
    )


def test_without_a_history_collaborative_baselines_are_popularity(shop: Shop) -> None:
    dataset = shop()
    scores = baseline_scores(dataset, dataset.lists, ["itemknn"])["itemknn"]
    # List 3 has neither user nor time: a and b have two events each up to the end of training.
    np.testing.assert_array_equal(scores[6:8], [2, 2])
    # u at 100 has events of a and b. c has no events, so it is not similar to them and not popular.
    assert scores[2] == 0
    assert 0 < scores[0] < 2


def test_popularity_without_times_counts_all_events(shop: Shop) -> None:
    dataset = shop(changed={"lists": {"split": "split"}})
    scores = baseline_scores(dataset, dataset.rows("test"), ["popularity"])["popularity"]
    np.testing.assert_array_equal(scores, [2, 3, 0, 3, 0, 0, 2, 3])


def test_popularity_without_events_counts_relevant_training_rows(shop: Shop) -> None:
    dataset = shop(changed={"events": None})
    scores = baseline_scores(dataset, dataset.rows("test"), ["popularity"])["popularity"]
    np.testing.assert_array_equal(scores, [0, 1, 0, 1, 0, 0, 0, 1])


def test_bm25_equals_its_formula(shop: Shop) -> None:
    dataset = shop()
    scores = baseline_scores(dataset, dataset.lists, ["bm25"])["bm25"]
    # Numbers of tokens by item: 4 (a), 3 (b), 5 (c), 4 (d), 1 (e); tags count as words.
    average = (4 + 3 + 5 + 4 + 1) / 5

    def word(in_items: int, length: int) -> float:
        idf = log(1 + (5 - in_items + 0.5) / (in_items + 0.5))
        return idf / (1 + 1.5 * (1 - 0.75 + 0.75 * length / average))

    expected = np.zeros(10)
    expected[0] = word(2, 4) + word(1, 4)  # red (a and d), kurta
    expected[4] = 2 * word(1, 5)  # 红 and 裙
    expected[9] = 3 * word(1, 3)  # blue, shoes and leather, a tag
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("features", "side"),
    [
        ([("query", "image", "query"), ("title", "text", "item")], "query"),
        ([("query", "text", "query"), ("photo", "image", "item")], "item"),
    ],
)
def test_bm25_is_skipped_without_texts(
    shop: Shop, caplog: pytest.LogCaptureFixture, features: list[tuple[str, ...]], side: str
) -> None:
    named = [dict(zip(("name", "kind", "side"), f, strict=True)) for f in features]
    named += [{"name": "grade", "kind": "number", "side": "label"}]
    dataset = shop(changed={"features": named})
    assert list(baseline_scores(dataset, dataset.lists, ["bm25", "random"])) == ["random"]
    assert f"bm25: skipped, because the schema has no text of side {side}" in caplog.text


def test_bm25_of_empty_texts_is_zero(shop: Shop) -> None:
    dataset = shop()
    rows = dataset.lists.assign(query=None)
    assert not baseline_scores(dataset, rows, ["bm25"])["bm25"].any()
    dataset.catalog[["title", "tags"]] = None
    assert not baseline_scores(dataset, dataset.lists, ["bm25"])["bm25"].any()


def test_random_is_fixed_and_without_ties(shop: Shop) -> None:
    dataset = shop()
    first, second = (baseline_scores(dataset, dataset.lists, ["random"])["random"] for _ in "ab")
    np.testing.assert_array_equal(first, second)
    assert len(set(first)) == len(dataset.lists)


def test_names_give_the_order_and_unknown_names_are_an_error(shop: Shop) -> None:
    dataset = shop()
    assert list(baseline_scores(dataset, dataset.lists, ["bm25", "random"])) == ["bm25", "random"]
    with pytest.raises(ValueError, match="unknown baseline 'bm52'; did you mean 'bm25'"):
        baseline_scores(dataset, dataset.lists, ["bm52"])


def test_count_before_equals_a_loop() -> None:
    rng = np.random.default_rng(0)
    keys, times = rng.integers(-1, 6, 80), rng.integers(0, 10, 80).astype(float)
    at_keys, at_times = rng.integers(0, 8, 50), rng.integers(0, 11, 50).astype(float)
    at_times[:5] = np.inf
    expected = [
        sum(k == key and t < time for k, t in zip(keys, times, strict=True))
        for key, time in zip(at_keys, at_times, strict=True)
    ]
    np.testing.assert_array_equal(count_before(keys, times, at_keys, at_times), expected)
    assert count_before(keys, times, keys[:0], times[:0]).shape == (0,)
    np.testing.assert_array_equal(count_before(keys[:0], times[:0], keys[:2], times[:2]), [0, 0])
