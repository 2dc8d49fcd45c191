"""Bins of every measure, computed by hand."""

from __future__ import annotations

import numpy as np

from mmrank.serving.drift.bins import Bins, fit_bins


def texts(*values: str | bytes) -> np.ndarray:
    return np.array(values, object)


def test_numbers_fall_between_deciles() -> None:
    values = np.arange(1, 101, dtype=np.float32)
    (bins,) = fit_bins("price", "number", values, np.ones(100, bool))
    assert bins.measure == "value"
    assert bins.edges == (10, 20, 30, 40, 50, 60, 70, 80, 90)
    assert bins.expected == (0, *[10] * 10)
    counts = bins.count(np.array([5, 10, 10.5, 1000, np.nan, 7]), np.array([1, 1, 1, 1, 1, 0]))
    assert dict(zip(bins.labels, counts.tolist(), strict=True)) == {
        "absent": 2,  # NaN, and the value with a flag of 0
        "<= 10": 2,
        "<= 20": 1,
        **{f"<= {n}": 0 for n in range(30, 100, 10)},
        "> 90": 1,
    }


def test_numbers_of_few_values_have_few_bins() -> None:
    values = np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 1.0])
    (bins,) = fit_bins("sales", "number", values, np.ones(10, bool))
    assert bins.edges == (0,)
    assert bins.expected == (0, 9, 1)


def test_a_text_by_length_and_script() -> None:
    values = texts("red", "红色", "红 dress", "42", "")
    length, script = fit_bins("query", "text", values, np.ones(5, bool))
    assert length.measure == "characters"
    assert script.labels == ("absent", "latin", "cjk", "both", "neither", "other")
    assert script.expected == (1, 1, 1, 1, 1, 0)
    # Both forms of the same text have two characters.
    for form in ("红色", "红色".encode()):
        counts = length.count(texts(form), np.ones(1, bool))
        assert counts[length.labels.index("<= 2")] == 1
        assert script.count(texts(form), np.ones(1, bool)).tolist() == [0, 0, 1, 0, 0, 0]


def test_a_category_has_bins_of_frequent_values_only() -> None:
    values = texts(*["ACME"] * 70, *["Zeta"] * 25, *[f"rare{i}" for i in range(5)])
    (bins,) = fit_bins("brand", "category", values, np.ones(100, bool))
    assert bins.labels == ("absent", "ACME", "Zeta", "other")
    assert bins.expected == (0, 70, 25, 5)
    counts = bins.count(texts("Zeta", "new", b"ACME"), np.array([1, 1, 0]))
    assert counts.tolist() == [1, 0, 1, 1]


def test_user_ids_have_no_bins_of_their_own() -> None:
    values = texts(*["u1"] * 30, *[f"u{i}" for i in range(2, 1000)])
    (bins,) = fit_bins("user", "category", values, np.ones(len(values), bool), personal=True)
    assert bins.names == ()
    (open_bins,) = fit_bins("brand", "category", values, np.ones(len(values), bool))
    assert open_bins.names == ("u1",)


def test_several_values_by_their_number() -> None:
    (bins,) = fit_bins("tags", "tags", texts("a|b", "c", "a| |b|c"), np.ones(3, bool), "|")
    assert bins.count(texts("x|y|", "z"), np.ones(2, bool))[bins.labels.index("<= 2")] == 1
    assert sum(bins.expected) == 3


def test_a_file_is_counted_by_presence_only() -> None:
    (bins,) = fit_bins("photo", "image", texts("a.jpg", "", "b.jpg"), np.ones(3, bool))
    assert bins.expected == (1, 2, 0)
    assert bins.count(texts(b"\xff\xd8", b"x"), np.array([1, 0])).tolist() == [1, 1, 0]


def test_a_feature_that_was_never_present() -> None:
    (bins,) = fit_bins("price", "number", np.zeros(30), np.zeros(30, bool))
    assert bins.expected == (30, 0)
    assert bins.count(np.array([3.0]), np.ones(1, bool)).tolist() == [0, 1]


def test_every_value_is_in_one_bin() -> None:
    bins = Bins("price", "value", edges=(1.0, 2.0))
    values = np.linspace(-5, 5, 101)
    assert bins.count(values, values > 0).sum() == 101
