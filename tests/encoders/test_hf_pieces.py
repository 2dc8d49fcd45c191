"""SentencePiece vocabularies of Hugging Face folders, against SentencePiece itself and by hand."""

from __future__ import annotations

import base64
import io
import json
import pathlib

import numpy as np
import pytest
import sentencepiece
import tensorflow as tf
from google.protobuf import empty_pb2, unknown_fields

from mmrank.encoders.hf_pieces import piece_words
from mmrank.encoders.piece_tokens import PieceTokens, PieceWords, Prefixed
from mmrank.outputs import InputError

CORPUS = ["red summer dress", "blue dress for summer", "红色连衣裙 夏天", "iphone 手机壳 case"] * 5
TEXTS = ["red  dress ", "红色dress", "", "☃☃☃ ｒｅｄ dresses x", "summer " * 20]


@pytest.fixture(scope="module")
def model() -> bytes:
    """A unigram model with XLM-R's normalisation rules."""
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=made,
        vocab_size=34,
        model_type="unigram",
        character_coverage=1.0,
        minloglevel=2,
    )
    return made.getvalue()


def cut(words: PieceWords, texts: list[str], max_tokens: int) -> list[list[int]]:
    """The ids of each text, without padding."""
    ids, mask = PieceTokens(words, max_tokens)(tf.constant(texts))
    assert np.all(np.where(mask, words.padding, ids) == words.padding)
    return [row[:size].tolist() for row, size in zip(ids.numpy(), mask.numpy().sum(1), strict=True)]


def test_ids_of_a_model_equal_those_of_fairseq(tmp_path, model):
    """<s> 0, <pad> 1, </s> 2, <unk> 3, then the model's own pieces from its fourth piece on."""
    (tmp_path / "sentencepiece.bpe.model").write_bytes(model)
    file, words = piece_words(tmp_path)
    assert file.name == "sentencepiece.bpe.model"
    own = sentencepiece.SentencePieceProcessor(model_proto=model)
    expected = [[0, *[i + 1 if i else 3 for i in own.encode(t)][:6], 2] for t in TEXTS]
    assert cut(words, TEXTS, 8) == expected
    assert 3 in expected[3]


def test_ids_of_a_tokenizer_file_are_its_indices(tmp_path, model):
    own = sentencepiece.SentencePieceProcessor(model_proto=model)
    specials = [["<s>", 0.0], ["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0]]
    pieces = [[own.id_to_piece(i), own.get_score(i)] for i in range(3, own.vocab_size())]
    added = [{"id": i, "content": text} for i, (text, _) in enumerate(specials)]
    given = {
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Precompiled", "precompiled_charsmap": charsmap(model)},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            ],
        },
        "added_tokens": added,
        "model": {"type": "Unigram", "unk_id": 3, "vocab": specials + pieces},
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(given), encoding="utf-8")
    file, words = piece_words(tmp_path)
    assert (file.name, words.size) == ("tokenizer.json", own.vocab_size() + 1)
    expected = [[0, *[i + 1 if i else 3 for i in own.encode(t)][:6], 2] for t in TEXTS]
    assert cut(words, TEXTS, 8) == expected


def charsmap(model: bytes) -> str:
    """The compiled normalisation rules of a model (field 3, and field 2 within it), in base 64."""
    for number in (3, 2):
        fields = unknown_fields.UnknownFieldSet(empty_pb2.Empty.FromString(model))
        (model,) = (field.data for field in fields if field.field_number == number)
    return base64.b64encode(model).decode()


def test_the_best_pieces_by_hand(tmp_path):
    """`▁ab` beats `▁a` + `b` (-1.5 against -1 - 1); adjacent unknown characters are one unknown."""
    vocab = [["<s>", 0], ["<pad>", 0], ["</s>", 0], ["<unk>", 0]]
    vocab += [["▁", -3.0], ["▁a", -1.0], ["b", -1.0], ["▁ab", -1.5], ["c", -2.0]]
    model = {"type": "Unigram", "unk_id": 3, "vocab": vocab}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}), encoding="utf-8")
    _, words = piece_words(tmp_path)
    texts = ["ab", "a b", "abc zz", "<s> a"]
    assert cut(words, texts, 9)[:3] == [[0, 7, 2], [0, 5, 4, 6, 2], [0, 7, 8, 4, 3, 2]]
    assert cut(words, texts, 9)[3].count(0) == 1  # `<s>` within a text is not a start piece


def test_a_prefix_is_added_to_every_text():
    given = Prefixed("query: ")(tf.constant(["red dress", "壳"])).numpy()
    assert [text.decode() for text in given] == ["query: red dress", "query: 壳"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("other.txt", b"", "no vocabulary: neither vocab.txt"),
        ("sentencepiece.bpe.model", b"\xff\xff", "not a SentencePiece model"),
        ("sentencepiece.bpe.model", b"", "no unknown piece"),
        ("tokenizer.json", b"{", "not a tokenizer with a unigram model"),
        ("tokenizer.json", b'{"model": {"type": "BPE"}}', "its model is BPE; only Unigram"),
        ("tokenizer.json", b'{"model": {"unk_id": 0, "vocab": [["<unk>", 0]]}}', "piece '<s>'"),
        (
            "tokenizer.json",
            b'{"normalizer": {"type": "NFC"}, "model": {"unk_id": 0, "vocab": [["<unk>", 0]]}}',
            "normalizer 'NFC' cannot",
        ),
    ],
)
def test_wrong_vocabularies_are_refused_in_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as actual:
        piece_words(tmp_path)
    assert "\n" not in str(actual.value)
    assert str(tmp_path) in str(actual.value)


def test_a_model_of_another_family_is_refused(tmp_path):
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=made, vocab_size=34, pad_id=3, unk_id=2,
        bos_id=0, eos_id=1, character_coverage=1.0, minloglevel=2,
    )  # fmt: skip
    (tmp_path / "sentencepiece.bpe.model").write_bytes(made.getvalue())
    with pytest.raises(InputError, match="does not begin with <unk>, <s> and </s>"):
        piece_words(pathlib.Path(tmp_path))
