"""Texts are cut before they are processed, in the graph in the same way as in reading."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmrank.encoders import encoder_of
from mmrank.encoders.base import FeatureKind, first_characters, texts
from mmrank.encoders.text import RESERVED, Text
from mmrank.matching.terms import TermLayout
from mmrank.schema import Feature

MOST, MOST_OF_A_SET = 10_000, 100_000  # as stated in docs/threats.md
BOUNDS = {"text": MOST, "category": MOST} | dict.fromkeys(
    ("tags", "attributes", "reviews"), MOST_OF_A_SET
)


def made(kind: str, **options: object) -> FeatureKind:
    return encoder_of(kind)(Feature(kind, kind, "item", kind), options)


@pytest.mark.parametrize("kind", BOUNDS)
@pytest.mark.parametrize("character", ["x", "é", "壳", "\U0001f600"])
def test_the_graph_keeps_as_many_characters_as_reading_does(kind: str, character: str) -> None:
    most = BOUNDS[kind]
    feature = made(kind)
    for count in (most - 1, most, most + 7):
        blank = "" if kind == "reviews" else " "  # a packed set is not stripped
        value = f"{blank}{character * count}{blank}"
        (served,) = feature.clean(tf.constant([value])).numpy()
        assert served.decode() == character * min(count, most)
        assert feature.read(pd.Series([value]), None)[0][0] == served.decode()


def test_a_vector_of_many_numbers_is_not_cut() -> None:
    value = " ".join(["0.1234567"] * 4096)
    (served,) = made("vector").clean(tf.constant([value])).numpy()
    assert served.decode() == value


def test_short_texts_of_any_bytes_are_unchanged_and_long_ones_cut() -> None:
    rng = np.random.default_rng(0)
    values = [rng.bytes(int(n)) for n in rng.integers(0, 60, 500)] + [b"", b"\x80" * 60]
    cut = first_characters(tf.constant(values), 10).numpy()
    for before, after in zip(values, cut, strict=True):
        assert after == before if len(before) <= 10 else len(after) <= 40
    assert first_characters(tf.constant([["ab"]]), 1).numpy().tolist() == [[b"a"]]
    assert first_characters(tf.zeros([0], tf.string), 1).shape == (0,)


def test_a_column_of_any_type_is_cut() -> None:
    long = "é" * (MOST + 5)
    for column in (pd.Series([long, None]), pd.Series([long, 7], dtype=object)):
        assert len(texts(column)[0]) == MOST


def characters_normalised(kind: Text, monkeypatch: pytest.MonkeyPatch, value: str) -> int:
    """The largest number of characters of a text that are normalised after it is cleaned."""
    seen = []
    normal = kind.normalizer()

    def counted(raw: tf.Tensor) -> tf.Tensor:
        seen.append(int(tf.reduce_max(tf.strings.length(raw, "UTF8_CHAR"))))
        return normal(raw)

    monkeypatch.setattr(kind, "normalizer", lambda: counted)
    kind.preprocess(kind.clean(tf.constant([value])))
    return max(seen)


def test_only_text_up_to_the_limit_is_normalised(monkeypatch: pytest.MonkeyPatch) -> None:
    """U+FDFA becomes 18 characters under NFKC: a megabyte of it would become six million."""
    kind = Text(Feature("title", "text", "item", "title"), {"max_tokens": 24})
    kind.restore({"vocabulary": [*RESERVED, "a"]})
    assert characters_normalised(kind, monkeypatch, "\ufdfa" * 400_000) == MOST


def test_the_limit_keeps_all_tokens_that_are_read() -> None:
    """With words of 15 letters on average, all 512 tokens and 128 words of matching are kept."""
    words = [f"word{'x' * (i % 20)}{i}" for i in range(2_000)]
    value = " ".join(words)
    assert len(value) > MOST
    kind = Text(Feature("title", "text", "item", "title"), {"max_tokens": 512})
    kind.restore({"vocabulary": [*RESERVED, *words]})
    whole = kind.preprocess(tf.constant([value])).numpy()
    cut = kind.preprocess(kind.clean(tf.constant([value]))).numpy()
    assert np.count_nonzero(whole) == 512
    np.testing.assert_array_equal(cut, whole)
    pack = TermLayout(words=128, grams=48, numbers=8).pack
    np.testing.assert_array_equal(
        pack(kind.clean(tf.constant([value]))), pack(tf.constant([value]))
    )
