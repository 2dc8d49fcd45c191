"""Words, stems and runs of characters, compared with lists written by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.matching.words import (
    HASHES,
    grams_of,
    hashed_rows,
    hashes,
    phrases_of,
    stems_of,
    words_of,
)


def listed(ragged: tf.RaggedTensor) -> list[list[str]]:
    return [[w.decode() for w in row] for row in ragged.to_list()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" -- ! ", []),
        ("Red DRESS, size 38.5", ["red", "dress", "size", "38.5"]),
        ("500ml", ["500", "ml"]),
        ('3/4" x 10 ft. pipe', ["3/4", "in", "x", "10", "ft", "pipe"]),
        ("6' 2″ 5’", ["6", "ft", "2", "in", "5", "ft"]),
        ("1,000 pcs", ["1000", "pcs"]),
        ("4x4x8 M18 mp3", ["4", "x", "4", "x", "8", "m18", "mp3"]),
        ("红色dress连衣裙", ["红", "色", "dress", "连", "衣", "裙"]),
        ("ＩＰＨＯＮＥ　１５", ["iphone", "15"]),
        ("don't v1.2.3 a/b", ["don", "t", "v1.2.3", "a", "b"]),
    ],
)
def test_texts_are_split_into_words(text: str, words: list[str]) -> None:
    assert listed(words_of(tf.constant([text, "other words"]))) == [words, ["other", "words"]]


@pytest.mark.parametrize(
    ("words", "stem"),
    [
        ("cabinet cabinets", "cabinet"),
        ("berry berries", "berry"),
        ("box boxes", "box"),
        ("glass glasses", "glass"),
        ("fit fitting fitted", "fit"),
        ("paint painting painted", "paint"),
        ("lotus", "lotus"),
        ("is", "is"),
        ("红", "红"),
        ("10", "10"),
    ],
)
def test_words_are_stemmed(words: str, stem: str) -> None:
    assert set(listed(stems_of(words_of(tf.constant([words]))))[0]) == {stem}


def test_character_grams_and_phrases() -> None:
    words = words_of(tf.constant(["a tin", "红色", "", "x"]))
    assert listed(grams_of(words)) == [
        ["_at", "ati", "tin", "in_"],
        ["_红色", "红色_"],
        [],
        ["_x_"],
    ]
    assert listed(phrases_of(words, 2)) == [["a", "tin", "a tin"], ["红", "色", "红 色"], [], ["x"]]


def test_hashes_are_whole_numbers_that_float32_holds() -> None:
    numbers = hashes(tf.constant([f"word {i}" for i in range(20_000)])).numpy()
    assert numbers.dtype == np.float32
    assert np.array_equal(numbers, np.rint(numbers))
    assert 1 <= numbers.min() <= numbers.max() <= HASHES < 2**24
    assert len(np.unique(numbers)) > 19_950  # about 12 collisions are expected


def test_rows_are_cut_and_padded() -> None:
    words = words_of(tf.constant(["a b c", "a"]))
    rows = hashed_rows(words, 2).numpy()
    a, b = hashes(tf.constant(["a", "b"])).numpy()
    np.testing.assert_array_equal(rows, [[a, b], [a, 0]])
