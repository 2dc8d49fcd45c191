"""Words one edit away are found, and no others."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import tensorflow as tf

from mmrank.matching.edits import NONE, Numbered, edits_of, least, patterns_of


def test_finds_exactly_the_words_one_edit_away(distance: Callable[[str, str], int]) -> None:
    # Every word of two to four letters out of a and ß (not ASCII), and some longer words.
    words = ["".join(w) for n in (2, 3, 4) for w in itertools.product("aß", repeat=n)]
    words += ["schraube", "schrabue", "schraub", "schraubt", "schrauben", "chraube", "xchraube"]
    stems = Numbered(words).lookup()
    patterns = [(p, i) for i, word in enumerate(words) for p in patterns_of(word)]
    for asked in words:
        edits = edits_of(tf.constant([asked]))
        assert not edits.of_word.numpy().any()
        own = words.index(asked)
        found = set(stems(edits.words).numpy().tolist())
        given = {p.decode() for p in edits.patterns.numpy()}
        found |= {i for p, i in patterns if p in given}
        near = {i for i, word in enumerate(words) if distance(asked, word) == 1}
        assert found - {own, NONE} == near, asked


def test_edits_carry_the_index_of_their_word() -> None:
    words = ["ab", "cde", ""]
    edits = edits_of(tf.constant(words))
    for word, number in zip(words, range(3), strict=True):
        alone = edits_of(tf.constant([word]))
        at = edits.of_word.numpy() == number
        assert edits.words.numpy()[at].tolist() == alone.words.numpy().tolist()
        assert edits.patterns.numpy()[at].tolist() == alone.patterns.numpy().tolist()


def test_the_first_of_equal_strings_counts() -> None:
    numbered = Numbered(["a", "b", "a"], [7, 3, 5]).lookup()
    asked = tf.constant([["a", "b"], ["c", ""]])
    assert numbered(asked).numpy().tolist() == [[7, 3], [NONE, NONE]]
    assert Numbered([]).lookup()(asked).numpy().tolist() == [[NONE, NONE], [NONE, NONE]]


def test_the_smallest_number_of_each_word() -> None:
    numbers, of_word = tf.constant([5, NONE, 2, NONE]), tf.constant([0, 1, 0, 1])
    assert least(numbers, of_word, 3).numpy().tolist() == [2, NONE, NONE]
