"""Normal forms and case folding by TensorFlow's own ops equal those of TF-Text."""

from __future__ import annotations

import hashlib
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text

from mmrank.encoders.normalize import Normalizer
from mmrank.encoders.portable import later
from mmrank.encoders.portable.tables import SHIFT, composition, folding, spelling
from mmrank.encoders.portable.unicode import MOST_MARKS, case_fold_utf8, normalize_utf8

FORMS = ("NFC", "NFD", "NFKC", "NFKD")


@pytest.fixture(scope="module")
def characters() -> tf.Tensor:
    """Every character except some blocks of Chinese and Hangul."""
    # The last two code points of each plane and those from U+FDD0 on are not characters.
    codes = np.r_[0:0x3500, 0x9F00:0xAD00, 0xF900:0xFDD0, 0xFDF0:0xFFFE, 0x10000:0x12000]
    codes = np.r_[codes, 0x1D000:0x1F800, 0x2F800:0x2FA20, 0xE0000:0xE0200]
    return tf.constant([chr(c) for c in codes if c not in later.CODES])


@pytest.fixture(scope="module")
def mixtures() -> tf.Tensor:
    """Short texts of characters that combine, reorder and change."""
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
def test_normal_forms_equal_those_of_tf_text(
    form: str, characters: tf.Tensor, mixtures: tf.Tensor
) -> None:
    portable = tf.function(lambda texts: normalize_utf8(texts, form))
    for texts in (characters, mixtures):
        expected = tensorflow_text.normalize_utf8(texts, form).numpy()
        np.testing.assert_array_equal(portable(texts).numpy(), expected)
    assert (expected != mixtures.numpy()).sum() > 300


def test_case_folding_equals_that_of_tf_text(characters: tf.Tensor, mixtures: tf.Tensor) -> None:
    portable = tf.function(case_fold_utf8)
    for texts in (characters, mixtures):
        expected = tensorflow_text.case_fold_utf8(texts).numpy()
        np.testing.assert_array_equal(portable(texts).numpy(), expected)


def test_tables_are_of_one_unicode_version() -> None:
    """The digest is the same under TF-Text 2.15 and 2.21, on Python 3.11, 3.12 and 3.13."""
    joined = composition()
    tables = [joined.marks, joined.classes, joined.pairs, joined.whole, joined.seconds]
    for written in (spelling("NFC"), spelling("NFKC"), folding()):
        tables += [written.codes, written.starts, written.parts]
    digest = hashlib.sha256()
    for table in tables:
        digest.update(table.numpy().astype("<i8").tobytes())
    assert digest.hexdigest() == (
        "41483406d15035cfcbb5b2cdaa3096e58d80a0fe1580e575001ea50034aa7bf5"
    )


@pytest.mark.parametrize("own_ops", [False, True])
def test_later_characters_are_read_as_unknown(own_ops: bool) -> None:
    """This holds under any TF-Text; the characters around them are normalised as usual."""
    codes = sorted(later.CODES)
    texts = tf.constant([f"Ａ{chr(code)}b" for code in codes] + ["Ａ\u0301b"])
    read = Normalizer(fold_case=True, own_ops=own_ops)(texts).numpy()
    assert {t.decode() for t in read[:-1]} == {"a\ufffdb"}
    assert read[-1].decode() == "\u00e1b"


def test_worked_examples() -> None:
    # By hand from Annex 15: singletons, moved and joined marks, Hangul, a mark blocked by another.
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


def test_a_long_run_of_marks_is_left_unchanged() -> None:
    tower = "a" + "\u0301" * 5000
    composed = normalize_utf8(tf.constant([tower, "e\u0301"]), "NFC").numpy()
    assert composed[0].decode() == unicodedata.normalize("NFC", tower)
    assert composed[1].decode() == "\u00e9"
    # Marks that could be joined far from their letter are kept.
    far = "a" + "\u0323" * (MOST_MARKS + 5) + "\u0302"
    kept = normalize_utf8(tf.constant([far]), "NFC").numpy()[0].decode()
    assert unicodedata.normalize("NFD", kept) == unicodedata.normalize("NFD", far)
