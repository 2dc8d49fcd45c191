"""Forms and folded case by TensorFlow's own ops are those of TF-Text."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text

from mmrank.encoders.portable.tables import SHIFT, composition, folding, spelling
from mmrank.encoders.portable.unicode import MOST_MARKS, case_fold_utf8, normalize_utf8

FORMS = ("NFC", "NFD", "NFKC", "NFKD")


@pytest.fixture(scope="module")
def characters() -> tf.Tensor:
    """Every character but for Chinese and Hangul, of which there are some, by blocks."""
    # The last two code points of each plane, and those from U+FDD0 on, are no characters.
    codes = np.r_[0:0x3500, 0x9F00:0xAD00, 0xF900:0xFDD0, 0xFDF0:0xFFFE, 0x10000:0x12000]
    return tf.constant(
        [chr(c) for c in np.r_[codes, 0x1D000:0x1F800, 0x2F800:0x2FA20, 0xE0000:0xE0200]]
    )


@pytest.fixture(scope="module")
def mixtures() -> tf.Tensor:
    """Short texts, full of what joins, moves and changes."""
    random = np.random.default_rng(3)
    joined = composition()
    firsts = joined.pairs.numpy() >> SHIFT
    parts = [firsts, joined.seconds, joined.marks, joined.marks, joined.whole]
    hot = np.concatenate([*parts, folding().codes, spelling("NFKC").codes])
    cold = np.r_[32:600, 0x4E00:0x5000, 0xAC00:0xAE00]
    texts = []
    for length in random.integers(0, 12, 6000):
        from_hot = random.random(length) < 0.7
        codes = np.where(from_hot, random.choice(hot, length), random.choice(cold, length))
        texts.append("".join(map(chr, codes)))
    return tf.constant(texts)


@pytest.mark.parametrize("form", FORMS)
def test_forms_are_those_of_tf_text(form: str, characters: tf.Tensor, mixtures: tf.Tensor) -> None:
    portable = tf.function(lambda texts: normalize_utf8(texts, form))
    for texts in (characters, mixtures):
        expected = tensorflow_text.normalize_utf8(texts, form).numpy()
        np.testing.assert_array_equal(portable(texts).numpy(), expected)
    assert (expected != mixtures.numpy()).sum() > 300


def test_folded_case_is_that_of_tf_text(characters: tf.Tensor, mixtures: tf.Tensor) -> None:
    portable = tf.function(case_fold_utf8)
    for texts in (characters, mixtures):
        expected = tensorflow_text.case_fold_utf8(texts).numpy()
        np.testing.assert_array_equal(portable(texts).numpy(), expected)


def test_worked_examples() -> None:
    # By hand from Annex 15: singletons, marks moved and joined, Hangul, a mark kept by another.
    cases = {
        "\u212b": "\u00c5",
        "q\u0307\u0323": "q\u0323\u0307",
        "\u1e0b\u0323": "\u1e0d\u0307",
        "\u1112\u1161\u11ab": "\ud55c",
        "a\u0315\u0300": "\u00e0\u0315",
        "": "",
        "mug": "mug",
    }
    texts = tf.constant(list(cases))
    assert [t.decode() for t in normalize_utf8(texts, "NFC").numpy()] == list(cases.values())
    folded = case_fold_utf8(tf.constant(["Straße ＩＰＨＯＮＥ １５", "ÉTÉ", "ΣΑΣ", "a\u00adb"]))
    assert [t.decode() for t in folded.numpy()] == ["strasse iphone 15", "été", "σασ", "ab"]


def test_a_tower_of_marks_is_left_as_it_is() -> None:
    tower = "a" + "\u0301" * 5000
    composed = normalize_utf8(tf.constant([tower, "e\u0301"]), "NFC").numpy()
    assert composed[0].decode() == unicodedata.normalize("NFC", tower)
    assert composed[1].decode() == "\u00e9"
    # Of what could be joined far from its letter nothing is lost.
    far = "a" + "\u0323" * (MOST_MARKS + 5) + "\u0302"
    kept = normalize_utf8(tf.constant([far]), "NFC").numpy()[0].decode()
    assert unicodedata.normalize("NFD", kept) == unicodedata.normalize("NFD", far)
