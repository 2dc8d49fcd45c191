"""Word pieces by TensorFlow's own ops equal those of keras_nlp's tokenizer."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.encoders.normalize import Normalizer
from mmrank.encoders.portable.word_pieces import MOST_BYTES, PortableWordPieces
from mmrank.encoders.text import RESERVED, portable_word_pieces, word_piece_tokenizer

VOCABULARY = (
    *RESERVED, "un", "##aff", "##able", "affable", "red", "##s", "连", "衣", "裙", "##衣", "-", "!",
    "kurt", "##a", "##t", "k", "##u", "##r", "e", "a", "b", "##b", "한", "##국",
)  # fmt: skip
IDS = {piece: number for number, piece in enumerate(VOCABULARY)}


def pieces(*names: str, length: int = 12) -> list[int]:
    return [IDS[n] for n in names] + [0] * (length - len(names))


@pytest.fixture(scope="module")
def portable() -> PortableWordPieces:
    return portable_word_pieces(VOCABULARY, 12)


def test_worked_examples(portable: PortableWordPieces) -> None:
    cases = {
        "unaffable": pieces("un", "##aff", "##able"),
        "affable reds": pieces("affable", "red", "##s"),
        # Greedy from the left: kurt, then a, although k + u + r could be continued too.
        "Kurta": pieces("kurt", "##a"),
        # If only the end of a word cannot be split, the whole word is unknown.
        "redx red": pieces("[UNK]", "red"),
        "red连衣裙!": pieces("red", "连", "衣", "裙", "!"),
        "t-red": pieces("[UNK]", "-", "red"),
        "É": pieces("e"),
        "한국": pieces("한", "##국"),
        "": pieces(),
        " \u3000": pieces("[UNK]"),
        "[PAD]": pieces("[UNK]", "[UNK]", "[UNK]"),
        "a" + "b" * (MOST_BYTES - 1): pieces("a", *["##b"] * 11),
        "a" + "b" * MOST_BYTES: pieces("[UNK]"),
        "red " * 13: pieces(*["red"] * 12),
    }
    got = portable(tf.constant(list(cases))).numpy()
    for text, row in zip(cases, got, strict=True):
        assert row.tolist() == cases[text], text
    keras = word_piece_tokenizer(VOCABULARY, 12)(tf.constant(list(cases))).numpy()
    np.testing.assert_array_equal(got, keras)


def test_every_character_is_split_as_by_keras_nlp() -> None:
    codes = np.r_[1:0x3500, 0x9F00:0xAD00, 0xF900:0xFDD0, 0xFDF0:0xFFFE, 0x1D000:0x1F800][::2]
    texts = tf.constant([f"a{chr(c)}b" for c in codes])
    letters = {chr(c) for c in codes[::7]}
    vocabulary = (*RESERVED, "a", "b", "##b", *sorted(letters - {"a", "b"}))
    portable = tf.function(portable_word_pieces(vocabulary, 6).__call__)
    keras = tf.function(lambda t: word_piece_tokenizer(vocabulary, 6)(t))
    np.testing.assert_array_equal(portable(texts).numpy(), keras(texts).numpy())


@pytest.mark.parametrize("form", ["NFKC", ""])
def test_normalised_texts_of_many_scripts(form: str) -> None:
    texts = [
        "ＩＰＨＯＮＥ　１５ 手机壳 red",
        "ガラス ｶﾞﾗｽ か\u3099",
        "한국어 \u1112\u1161\u11ab",
        "été ÉTÉ e\u0301 \u1e0b\u0323 q\u0323\u0307",
        "Ünïcödé ﬁne Straße",
        "\u09b9\u09c7\u09be \u0995\u09cb",
        "\u05e2\u05b4\u05d1\u05e8 \u0627\u0644\u0639\u064e",
        "a\u200bb\u00adc\u034fd \x07 x\ty",
        "",
        "   ",
        b"caf\xe9 \xff",
        "\U0001f469\u200d\U0001f467 ok",
    ]
    raw = tf.constant([t if isinstance(t, bytes) else t.encode() for t in texts])
    got, expected = (
        Normalizer(form, fold, ("english", "é", "手"), own)(raw).numpy()
        for own, fold in ((True, True), (False, True))
    )
    np.testing.assert_array_equal(got, expected)
    letters = sorted({c for t in got for c in t.decode()} - {" "})
    vocabulary = (*RESERVED, *letters, *(f"##{c}" for c in letters), "##ine", "str", "##ass")
    ids = portable_word_pieces(vocabulary, 16)(tf.constant(got)).numpy()
    keras = word_piece_tokenizer(vocabulary, 16)(tf.constant(got)).numpy()
    np.testing.assert_array_equal(ids, keras)
    assert (ids > 1).sum() > 30  # pieces, not only unknown words
