"""Word pieces in rows of numbers, compared with BERT's own tokenizer as in the importer."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from mmrank.config import ConfigError, Cross
from mmrank.encoders.hf_bert import BertTokens
from mmrank.encoders.hf_folder import BertShape, BertWords
from mmrank.encoders.text import Text
from mmrank.matching.pieces import PiecePlan, PieceRows, check_read
from mmrank.schema import Feature

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
PIECES = ("red", "dress", "##es", "sum", "##mer", ",", "，", "cafe", "café", "Red", "a", "红", "裙")
WORDS = BertWords((*SPECIAL, *PIECES))
TEXTS = [
    "red dress",
    "Red  Dresses, summer!",
    "红裙，dress",
    "Café\u3000red\tcafe\u0301",
    "a\u200bb\x00 zzz",
    "",
    "red " * 30,
]


@pytest.mark.parametrize("cased", [False, True])
def test_pieces_equal_those_of_berts_tokenizer(cased: bool) -> None:
    words = BertWords(WORDS.vocabulary, lowercase=not cased, strip_accents=not cased)
    rows = PieceRows(words, 6)(tf.constant(TEXTS)).numpy()
    ids, mask = BertTokens(words, 8)(tf.constant(TEXTS))
    assert rows.shape == (len(TEXTS), 6)
    for row, marked, there in zip(rows, ids.numpy(), mask.numpy(), strict=True):
        want = marked[: there.sum()][1:-1]  # without start and end
        np.testing.assert_array_equal(row[row > 0] - 1, want)
        assert not row[len(want) :].any()


def test_values_of_one_text_are_split() -> None:
    rows = PieceRows(WORDS, 4, separator="|")
    np.testing.assert_array_equal(
        rows(tf.constant(["red|dress"])), PieceRows(WORDS, 4)(tf.constant(["red dress"]))
    )


def test_a_plan_survives_json() -> None:
    shape = BertShape(len(WORDS.vocabulary), 16, 1, 2, 32, 20)
    plan = PiecePlan(WORDS, shape, {"query": 3}, {"title": 5, "tags": 2}, {"tags": "|"})
    again = PiecePlan.restored(json.loads(json.dumps(plan.state())))
    assert again == plan
    assert again.marks() == (2, 3)
    assert [again.rows(n).width for n in ("query", "title", "tags")] == [3, 5, 2]
    assert again.rows("brand") is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "model.cross.fields: name the item features to read"),
        ({"fields": {"titel": 8}}, "model.cross.fields: 'titel' is not a feature.*'title'"),
        ({"fields": {"title": 0}}, "title: 0 tokens; give a whole number from 1"),
        ({"fields": {"title": 8}, "query": "title"}, "model.cross.query: 'title' is not a feature"),
    ],
)
def test_unreadable_fields_are_refused_by_name(options: dict, message: str) -> None:
    kinds = {
        name: Text(Feature(name, "text", side, name), {})
        for name, side in (("query", "query"), ("title", "item"))
    }
    with pytest.raises(ConfigError, match=message):
        check_read(Cross(**options), kinds)
