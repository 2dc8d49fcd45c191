"""CLIP's byte pairs in the graph against a plain loop, and against published ids."""

from __future__ import annotations

import json
import unicodedata

import numpy as np
import pytest
import tensorflow as tf

from mmrank.encoders.aligned.byte_pairs import BytePairTokens
from mmrank.encoders.aligned.words import read_byte_pairs
from mmrank.outputs import InputError

ENDINGS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
TEXTS = [
    "the red dress",
    "  The\tRED\n\n dress\u3000\u00a0 ",
    "hello hello, aaaaaaaaa aaa aa a",
    "Don't: it's the shop's 12 dresses!!! (now 1/2 price)",
    "café CAFE\u0301 naïve",
    "红色连衣裙，红 12号",
    "",
    " \n ",
    "<|startoftext|> a <|endoftext|>",
    "'sing 'LL 're's",
    "👗👗 dress ½ Ⅻ ٣",
    "snow_man-now",
]


def plain_words(text: str) -> list[str]:
    """Words by CLIP's pattern, character by character."""

    def kind(letter: str) -> str:
        if letter.isspace():
            return "space"
        return {"L": "letter", "N": "digit"}.get(unicodedata.category(letter)[0], "mark")

    text = " ".join(unicodedata.normalize("NFC", text).split()).lower()
    words, at = [], 0
    while at < len(text):
        ending = next((e for e in ENDINGS if text.startswith(e, at)), None)
        if ending is not None:
            words.append(ending)
            at += len(ending)
            continue
        end = at + 1
        if kind(text[at]) in ("letter", "mark"):
            while end < len(text) and kind(text[end]) == kind(text[at]):
                end += 1
        if kind(text[at]) != "space":
            words.append(text[at:end])
        at = end
    return words


def plain_ids(text: str, known, longest: int) -> list[int]:
    """Ids of a text; the pairs of each word are merged in turn wherever they occur."""
    rank = {pair: i for i, pair in enumerate(known.merges)}
    ids = []
    for word in plain_words(text):
        symbols = [known.letters[byte] for byte in word.encode()]
        symbols[-1] += "</w>"
        while True:
            pairs = [p for p in zip(symbols, symbols[1:]) if p in rank]  # noqa: B905, RUF007
            if not pairs:
                break
            first, second = min(pairs, key=lambda p: rank[p])
            merged, at = [], 0
            while at < len(symbols):
                if symbols[at : at + 2] == [first, second]:
                    merged.append(first + second)
                    at += 2
                else:
                    merged.append(symbols[at])
                    at += 1
            symbols = merged
        ids += [known.pieces[s] for s in symbols]
    start, end = known.pieces["<|startoftext|>"], known.pieces["<|endoftext|>"]
    return [start, *ids[: longest - 2], end]


@pytest.fixture(scope="module")
def folder(folder_of, tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("clip") / "hf", "clip")


def given_ids(folder, known, longest: int, texts: list[str]) -> list[list[int]]:
    layer = BytePairTokens(read_byte_pairs(folder, len(known.pieces)), longest)
    traced = tf.function(layer, input_signature=[tf.TensorSpec([None], tf.string)])
    ids, mask = (t.numpy() for t in traced(tf.constant(texts)))
    assert (ids[mask == 0] == known.pieces["<|endoftext|>"]).all()
    return [row[m == 1].tolist() for row, m in zip(ids, mask, strict=True)]


@pytest.mark.parametrize("longest", [77, 9])
def test_ids_equal_those_of_a_plain_loop(folder, clip_words, longest):
    expected = [plain_ids(text, clip_words, longest) for text in TEXTS]
    assert given_ids(folder, clip_words, longest, TEXTS) == expected
    # The test would prove nothing if merges were never used.
    used = {i for ids in expected for i in ids if 512 <= i < 512 + len(clip_words.merges)}
    assert longest < 77 or len(used) >= 10


def test_published_ids_of_single_letters(folder, clip_words):
    """`a` and `!` of "a photo of a cat!" are not merged: 320 and 256 by the vocabulary's order."""
    start, end = len(clip_words.pieces) - 2, len(clip_words.pieces) - 1
    assert given_ids(folder, clip_words, 77, ["a!"]) == [[start, 320, 256, end]]


def test_empty_texts_only(folder, clip_words):
    start, end = len(clip_words.pieces) - 2, len(clip_words.pieces) - 1
    assert given_ids(folder, clip_words, 77, ["", " "]) == [[start, end], [start, end]]


def test_only_the_first_bytes_of_a_long_word_are_read(folder, clip_words):
    """The time does not depend on the length of a word that a client sends."""
    (ids,) = given_ids(folder, clip_words, 77, ["a" * 1_000_000])
    assert ids == plain_ids("a" * 1000, clip_words, 77)
    assert ids[1:-1] == [clip_words.pieces["aaaa"]] * 75


def test_bytes_that_are_not_utf8_are_read(folder, clip_words):
    (ids,) = given_ids(folder, clip_words, 77, [b"red \xff\xfe dress"])
    assert ids == plain_ids("red \ufffd\ufffd dress", clip_words, 77)


def test_a_fast_tokenizer_file_has_the_same_ids(folder, clip_words, tmp_path):
    for merges in ([" ".join(p) for p in clip_words.merges], [list(p) for p in clip_words.merges]):
        model = {"type": "BPE", "vocab": clip_words.pieces, "merges": merges}
        steps = [{"type": "NFC"}, {"type": "Replace"}, {"type": "Lowercase"}]
        whole = {
            "model": model | {"end_of_word_suffix": "</w>"},
            "normalizer": {"type": "Sequence", "normalizers": steps},
        }
        (tmp_path / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")
        one = read_byte_pairs(tmp_path, len(clip_words.pieces))
        other = read_byte_pairs(folder, len(clip_words.pieces))
        np.testing.assert_array_equal(one.pairs, other.pairs)
        np.testing.assert_array_equal(one.merged, other.merged)
        np.testing.assert_array_equal(one.first, other.first)
        assert (one.start, one.end, one.lowercase) == (other.start, other.end, True)


def test_wrong_vocabularies_are_refused(folder, clip_words, tmp_path):
    def error_of(vocabulary: object, merges: str) -> str:
        (tmp_path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        (tmp_path / "merges.txt").write_text(merges, encoding="utf-8")
        with pytest.raises(InputError) as error:
            read_byte_pairs(tmp_path, len(clip_words.pieces))
        assert str(tmp_path) in str(error.value)
        return str(error.value)

    pieces = clip_words.pieces
    assert "not a JSON object" in error_of([1], "t h")
    assert "lacks the piece 'th'" in error_of({k: v for k, v in pieces.items() if k != "th"}, "t h")
    assert "lacks the piece '!</w>'" in error_of(
        {k: v for k, v in pieces.items() if v != 256}, "t h"
    )
    assert "is not a pair of pieces" in error_of(pieces, "t h\nthe")
    assert "no pieces to merge" in error_of(pieces, "#version: 0.2\n")
    assert "a pair of pieces is listed twice" in error_of(pieces, "t h\nt h")
    assert "is number 10000000000" in error_of(pieces | {"x!": 10**10}, "t h")
    assert "is number True" in error_of(pieces | {"x!": True}, "t h")
