"""One spelling for Chinese, English and mixed texts; expected values by Python's unicodedata."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.encoders.normalize import Normalizer
from mmrank.encoders.text import RESERVED, Text
from mmrank.schema import Feature

MIXED = [
    "iPhone手机壳",
    "ＩＰＨＯＮＥ　手机壳",
    "red 连衣裙",
    "ｒｅｄ　连衣裙１２３",
    "Café ｶﾞﾗｽ ①½",
    "  a\t\x07b\u3000\u00a0c\r\n",
    "zero\u200bwidth\ufeff and soft\u00adhyphen",
    "",
    "\u3000\u200b\x00",
]


def by_hand(text: str, form: str = "NFKC") -> str:
    text = unicodedata.normalize(form, text) if form else text
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    spaced = "".join(
        " " if unicodedata.category(c) in ("Cc", "Zs", "Zl", "Zp") else c for c in text
    )
    return re.sub(" +", " ", spaced).strip(" ")


def said(texts: tf.Tensor) -> list[str]:
    return [t.decode() for t in np.asarray(texts)]


@pytest.mark.parametrize("form", ["", "NFC", "NFKC"])
def test_characters_are_those_of_unicodedata(form):
    normal = Normalizer(form)
    expected = [by_hand(t, form) for t in MIXED]
    assert said(normal(tf.constant(MIXED))) == expected
    assert said(tf.function(normal)(tf.constant(MIXED))) == expected
    assert said(normal(tf.constant(expected))) == expected  # nothing is left to change


def test_case_is_folded_on_request_only():
    assert said(Normalizer()(tf.constant(["ＩＰhone 手"]))) == ["IPhone 手"]
    folded = [by_hand(t).casefold() for t in MIXED]
    assert said(Normalizer(fold_case=True)(tf.constant(MIXED))) == folded


def test_bytes_that_are_not_utf8_are_read():
    assert said(Normalizer()(tf.constant([b"\xffred\xe6 b"]))) == ["\ufffdred\ufffd b"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("The case for an iPhone", "case iPhone"),
        ("case of the THE phone", "case phone"),
        ("the手机壳for女", "手机壳女"),
        ("it's théa año", "it's théa año"),
        ("cover, the (red)", "cover, (red)"),
        ("红色的连衣裙", "红色连衣裙"),
        ("请问有iPhone手机壳吗", "有iPhone手机壳"),
        ("正品 a+b 免费", "正品 a+b"),
        ("a-line of at&t", "a-line at&t"),
        ("the of", "the of"),  # otherwise nothing would remain
        ("的", "的"),
        ("", ""),
    ],
)
def test_stop_words_are_removed_only_as_whole_words(text, left):
    normal = Normalizer(stop_words=("english", "chinese", "免费"))
    assert said(normal(tf.constant([text]))) == [left]


def kind(**options: object) -> Text:
    return Text(Feature("title", "text", "item", "title"), {"max_tokens": 8, **options})


def test_full_width_texts_have_the_ids_of_half_width_ones():
    title = kind()
    title.restore({"vocabulary": (*RESERVED, "iphone", "15", "手", "机", "壳", "red", "cafe")})
    column = pd.Series(
        ["iPhone手机壳 15", "ＩＰＨＯＮＥ　手机壳　１５", "IPHONE\u200b手机壳\x0715"]
    )
    ids, present = title.arrays(column, None)
    assert present.all()
    assert ids.tolist() == [[4, 6, 7, 8, 5, 0, 0, 0]] * 3


def test_the_vocabulary_is_built_from_normalised_texts():
    wide, narrow = kind(stop_words=["的"]), kind()
    narrow.fit(pd.Series(["iphone 15 壳", "red 壳"] * 2))
    wide.fit(pd.Series(["ＩＰＨＯＮＥ　１５ 的壳", "Ｒed\u200b的 壳"] * 2))
    assert wide.vocabulary == narrow.vocabulary
    assert "壳" in narrow.vocabulary


def test_hub_models_read_normalised_texts_in_their_own_case():
    column = pd.Series(["ＩＰhone　手机壳"])
    hub = {"encoder": "hub", "handle": "anywhere"}
    assert said(kind(**hub).arrays(column, None)[0]) == ["IPhone 手机壳"]
    assert said(kind(**hub, fold_case=True).arrays(column, None)[0]) == ["iphone 手机壳"]
    assert said(kind(**hub, normalization="").arrays(column, None)[0]) == ["ＩＰhone 手机壳"]


def test_invisible_texts_are_absent_in_training_and_serving():
    column = ["\u3000\u200b", "\x00", "\ufeff手\u200b", "\u00a0"]
    raw, present = kind().read(pd.Series(column), None)
    assert present.tolist() == [False, False, True, False]
    np.testing.assert_array_equal(said(kind().clean(tf.constant(column))), raw)


def test_an_unknown_form_is_refused():
    with pytest.raises(ConfigError, match="'title'.*normalization 'NKFC'; did you mean 'NF"):
        kind(normalization="NKFC")
