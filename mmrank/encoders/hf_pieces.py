"""Reads the SentencePiece vocabulary of a Hugging Face folder, from either file that has one."""

from __future__ import annotations

import base64
import binascii
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from mmrank.encoders.piece_tokens import PieceWords
from mmrank.encoders.sentence_proto import (
    CONTROL,
    NORMAL,
    UNKNOWN,
    Piece,
    read_pieces,
    special_ids,
    write_model,
)
from mmrank.outputs import InputError

MODEL, FAST = "sentencepiece.bpe.model", "tokenizer.json"
# Ids of XLM-R's special pieces as fairseq numbers them. The pieces of the model follow; its first
# three are <unk>, <s> and </s>.
_SPECIAL = ("<s>", "<pad>", "</s>")
_START, _PADDING, _END, _UNKNOWN, _OFFSET = 0, 1, 2, 3, 1


def piece_words(path: pathlib.Path) -> tuple[pathlib.Path, PieceWords]:
    """Returns the file that holds the vocabulary, and the vocabulary.

    Args:
      path: The folder, with sentencepiece.bpe.model, or tokenizer.json with a unigram model.

    Raises:
      InputError: Neither file exists, or the file cannot be used.
    """
    if (path / MODEL).is_file():
        return path / MODEL, _of_model(path / MODEL)
    if (path / FAST).is_file():
        return path / FAST, _of_fast(path / FAST)
    raise InputError(f"{path}: no vocabulary: neither vocab.txt (WordPiece) nor {MODEL} or {FAST}")


def _of_model(file: pathlib.Path) -> PieceWords:
    model = file.read_bytes()
    pieces = read_pieces(model, file)
    if special_ids(pieces, file) != (0, 1, 2):
        raise InputError(f"{file}: does not begin with <unk>, <s> and </s>, as XLM-R's does")
    return PieceWords(model, len(pieces), 0, _OFFSET, _UNKNOWN, _START, _END, _PADDING)


def _of_fast(file: pathlib.Path) -> PieceWords:
    try:
        given = json.loads(file.read_text(encoding="utf-8"))
        model = given["model"]
        kind = model.get("type", "Unigram" if "unk_id" in model else "unknown")
        if kind != "Unigram":
            raise InputError(f"{file}: its model is {kind}; only Unigram can be imported")
        vocabulary = [(str(text), float(score)) for text, score in model["vocab"]]
        unknown = int(model["unk_id"])
        control = {str(token["content"]) for token in given.get("added_tokens", [])}
        charsmap = b"".join(
            base64.b64decode(step["precompiled_charsmap"]) for step in _steps(given, file)
        )
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file}: not a tokenizer with a unigram model: {error!r}") from error
    ids = {text: index for index, (text, _) in enumerate(vocabulary)}
    for piece in _SPECIAL:
        if piece not in ids:
            raise InputError(f"{file}: lacks the special piece {piece!r}")
    # CONTROL pieces never match, so text that looks like a special piece remains text.
    kinds = dict.fromkeys([*_SPECIAL, *control], CONTROL) | {vocabulary[unknown][0]: UNKNOWN}
    pieces = [Piece(text, score, kinds.get(text, NORMAL)) for text, score in vocabulary]
    return PieceWords(
        model=write_model(pieces, charsmap),
        size=len(pieces),
        model_unknown=unknown,
        offset=0,
        unknown=unknown,
        start=ids[_SPECIAL[0]],
        padding=ids[_SPECIAL[1]],
        end=ids[_SPECIAL[2]],
    )


def _steps(given: Mapping[str, Any], file: pathlib.Path) -> Iterator[Mapping[str, Any]]:
    """Yields the normalizer's steps with compiled rules; SentencePiece handles spaces by itself.

    Raises:
      InputError: The normalizer has a step that SentencePiece does not perform.
    """
    normalizer = given.get("normalizer") or {"type": "Sequence", "normalizers": []}
    steps = normalizer["normalizers"] if normalizer["type"] == "Sequence" else [normalizer]
    for step in steps:
        spaces = step["type"] == "Replace" and step["content"] in (" ", "▁")
        if step["type"] == "Precompiled":
            yield step
        elif step["type"] != "Strip" and not spaces:
            raise InputError(f"{file}: its normalizer {step['type']!r} cannot be imported")
