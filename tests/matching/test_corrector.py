"""Query words are corrected to words of the catalogue, as by a plain loop."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from mmrank.matching.corrector import SpellingCorrector
from mmrank.matching.words import hashes

# No word here has an English inflectional ending, so that every word is its own stem.
STEMS = ["drill", "light", "screwdriver", "power", "saw", "receptacl", "dcd", "771", "c2", "sight"]
STEMS += ["35", "fan", "can", "black", "block", "frill", "wf35"]
WIDTH = 5


def ways(
    words: list[str], stems: list[str], distance: Callable[[str, str], int]
) -> list[tuple[str, str, float]]:
    """The correction of each word by plain loops: one or two stems, and their similarity."""
    found = []
    for at, word in enumerate(words):
        pairs = [(words[i], words[i + 1]) for i in (at - 1, at) if 0 <= i < len(words) - 1]
        joined = [a + b for a, b in pairs if a + b in stems and not (a + b).isdigit()]
        near = [s for s in stems if distance(word, s) == 1]
        near = [s for s in near if s.isalpha() and word.isalpha() and len(word) > 3]
        halves = [(word[:i], word[i:]) for i in range(2, len(word) - 1)]
        halves = [h for h in halves if h[0] in stems and h[1] in stems and not word.isdigit()]
        if joined:
            found.append((joined[0], "", 1 - 1 / (len(joined[0]) + 1)))
        elif word in stems:
            found.append(("", "", 0.0))
        elif near:
            best = min(near, key=stems.index)
            found.append((best, "", 1 - 1 / max(len(best), len(word))))
        elif halves:
            left, right = min(halves, key=lambda h: max(map(stems.index, h)))
            found.append((left, right, 1 - 1 / (len(word) + 1)))
        else:
            found.append(("", "", 0.0))
    return found


def corrected(texts: list[str]) -> list[list[tuple[str, str, float]]]:
    """The corrections of the words of texts by `SpellingCorrector`."""
    named = dict(zip(hashes(tf.constant(STEMS)).numpy().tolist(), STEMS, strict=True)) | {0.0: ""}
    rows = SpellingCorrector(STEMS, WIDTH)(tf.constant(texts)).numpy()
    first, second, alike = np.split(rows, 3, -1)
    return [
        [(named[a], named[b], c) for a, b, c in zip(*line, strict=True)]
        for line in zip(first.tolist(), second.tolist(), alike.tolist(), strict=True)
    ]


TEXTS = [
    "dril lihgt", "drill", "screw driver", "powersaw", "recepticl", "dcd 771", "blck", "fam", "",
    "xlight dcd772 wf36", "dcdsaw", "black cat", "77135 77 1", "screwdriver screw driver", "wf 35",
]  # fmt: skip


def test_words_are_corrected_as_by_a_loop(distance: Callable[[str, str], int]) -> None:
    rng, texts = random.Random(0), list(TEXTS)
    for word in ("light", "drill", "receptacl"):  # every kind of error, and words two edits away
        for _ in range(12):
            letters = list(word)
            for _ in range(rng.choice([1, 1, 2])):
                i = rng.randrange(len(letters) - 1)
                two = letters[i : i + 2]
                changed = [two[:1], two[::-1], [two[0], "q"], ["o", *two]]
                letters[i : i + 2] = rng.choice(changed)
            texts.append("".join(letters))
    for text, found in zip(texts, corrected(texts), strict=True):
        expected = ways(text.split(), STEMS, distance)
        expected += [("", "", 0.0)] * (WIDTH - len(expected))
        assert [f[:2] for f in found] == [e[:2] for e in expected], text
        np.testing.assert_allclose([f[2] for f in found], [e[2] for e in expected], atol=1e-6)


def test_codes_are_split_and_joined_but_never_changed() -> None:
    assert corrected(["dcd771c2"])[0][:2] == [
        ("dcd", "771", pytest.approx(1 - 1 / 7)),
        ("", "", 0.0),
    ]
    assert corrected(["WF-35"])[0][0][0] == "wf35"
    assert corrected(["dcd772 wf36"])[0][:2] == [("", "", 0.0)] * 2


def test_case_stems_and_texts_longer_than_the_width() -> None:
    assert corrected(["RECEPTICLES"])[0][0][0] == "receptacl"
    text = " ".join(itertools.repeat("xx", WIDTH)) + " dril"
    assert corrected([text])[0] == [("", "", 0.0)] * WIDTH


def test_texts_of_one_batch_are_independent() -> None:
    texts = ["screw", "driver", "", "dril", "saw"]
    alone = [corrected([text])[0] for text in texts]
    assert corrected(texts) == alone
    empty = tf.function(
        SpellingCorrector(STEMS, WIDTH), input_signature=[tf.TensorSpec([None], tf.string)]
    )
    assert empty(tf.constant([], tf.string)).shape == (0, 3 * WIDTH)


def test_a_catalogue_without_words_corrects_nothing() -> None:
    assert not SpellingCorrector([], WIDTH)(tf.constant(["dril saw"])).numpy().any()
