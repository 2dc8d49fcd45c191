"""Reads the vocabularies of CLIP and SigLIP folders: byte pairs, and a SentencePiece model."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmrank.encoders.aligned.byte_pairs import BytePairs
from mmrank.encoders.aligned.shapes import TOKENIZER_CONFIG, read_json
from mmrank.encoders.aligned.sticky_pieces import StickyPieces
from mmrank.encoders.sentence_proto import CONTROL, begins_with_space, read_pieces
from mmrank.outputs import InputError, shown

VOCABULARY, MERGES, FAST, PIECES = "vocab.json", "merges.txt", "tokenizer.json", "spiece.model"
START, END, ENDING = "<|startoftext|>", "<|endoftext|>", "</w>"
_STEPS = {"NFC", "Lowercase", "Replace"}  # steps of a tokenizer.json that the graph performs


def read_byte_pairs(path: pathlib.Path, rows: int) -> BytePairs:
    """Returns the byte pairs of a CLIP folder.

    Args:
      path: The folder, with vocab.json and merges.txt, or else tokenizer.json.
      rows: Rows of the tower's token table.

    Raises:
      InputError: The files are missing, or do not fit each other or the tower.
    """
    lowercase = True
    if (path / VOCABULARY).is_file() and (path / MERGES).is_file():
        file = path / VOCABULARY
        vocabulary: Any = read_json(file)
        merges: Any = _lines(path / MERGES)
    elif (path / FAST).is_file():
        file = path / FAST
        vocabulary, merges, lowercase = _of_fast(file)
    else:
        raise InputError(f"{path}: no vocabulary: neither {VOCABULARY} with {MERGES}, nor {FAST}")
    for piece, number in vocabulary.items():
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < rows:
            raise InputError(
                f"{file}: {shown(piece)} is number {shown(number)}, but the tower has {rows} tokens"
            )

    def number_of(piece: str) -> int:
        if piece not in vocabulary:
            raise InputError(f"{file}: lacks the piece {shown(piece)}")
        return vocabulary[piece]

    letters = byte_letters()
    first = [number_of(letter + ending) for ending in ("", ENDING) for letter in letters]
    pairs = _pairs(merges, path / MERGES if file.name == VOCABULARY else file)
    return BytePairs(
        size=rows,
        first=np.array(first, np.int64),
        pairs=np.array([[number_of(one), number_of(other)] for one, other in pairs], np.int64),
        merged=np.array([number_of(one + other) for one, other in pairs], np.int64),
        start=number_of(START),
        end=number_of(END),
        lowercase=lowercase,
    )


def read_sticky_pieces(path: pathlib.Path, rows: int) -> StickyPieces:
    """Returns the SentencePiece model of a SigLIP folder.

    Args:
      path: The folder, with spiece.model.
      rows: Rows of the tower's token table.

    Raises:
      InputError: The file is missing, or does not fit the tower.
    """
    file = path / PIECES
    if not file.is_file():
        raise InputError(f"{path}: no {PIECES}, the vocabulary of a SigLIP")
    model = file.read_bytes()
    pieces = read_pieces(model, file)
    if len(pieces) > rows:
        raise InputError(
            f"{file}: {len(pieces)} pieces, but the tower has {rows} tokens; the two are of "
            "different models"
        )
    if not begins_with_space(model):
        raise InputError(f"{file}: adds no space before a text, but SigLIP's tokenizer does")
    control = {piece.text: number for number, piece in enumerate(pieces) if piece.kind == CONTROL}
    given = read_json(path / TOKENIZER_CONFIG, needed=False)
    marks: list[int] = []
    for key in ("eos_token", "pad_token"):
        mark = given.get(key, "</s>")
        mark = mark.get("content") if isinstance(mark, dict) else mark
        if mark not in control:
            raise InputError(f"{file}: lacks the special piece {shown(mark)} ({key})")
        marks.append(control[mark])
    return StickyPieces(
        model, marks[0], marks[1], lowercase=given.get("do_lower_case", True) is True
    )


def byte_letters() -> list[str]:
    """Returns the letter that a vocabulary writes for each of the 256 bytes.

    Printable bytes are themselves; the others are the letters from 256 on.

    Source: Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.2.
    """
    printing = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printing else chr(next(others)) for byte in range(256)]


def _lines(file: pathlib.Path) -> list[str]:
    # Not splitlines(): a piece may contain Unicode line separators.
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8: {error}") from error
    return [line.removesuffix("\r") for line in lines if line and not line.startswith("#version")]


def _pairs(merges: Sequence[Any], file: pathlib.Path) -> list[tuple[str, str]]:
    """Returns the two pieces of every merge, which newer files write as a list."""
    pairs = []
    for merge in merges:
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(parts, list) or len(parts) != 2 or not all(map(_is_piece, parts)):
            raise InputError(f"{file}: {shown(merge)} is not a pair of pieces to merge")
        pairs.append((parts[0], parts[1]))
    if not pairs:
        raise InputError(f"{file}: no pieces to merge")
    if len(set(pairs)) < len(pairs):
        raise InputError(f"{file}: a pair of pieces is listed twice")
    return pairs


def _is_piece(part: Any) -> bool:
    return isinstance(part, str) and part != ""


def _of_fast(file: pathlib.Path) -> tuple[Mapping[str, int], Sequence[Any], bool]:
    """Returns a tokenizer.json's vocabulary and merges, and whether it converts to lower case."""
    given = read_json(file)
    model, normalizer = given.get("model"), given.get("normalizer") or {}
    if not isinstance(model, dict) or not isinstance(normalizer, dict):
        raise InputError(f"{file}: not a tokenizer of byte pairs")
    kind, ending = model.get("type", "BPE"), model.get("end_of_word_suffix")
    if kind != "BPE" or ending != ENDING:
        raise InputError(
            f"{file}: its model is {shown(kind)} with the word ending {shown(ending)}; CLIP's is "
            f"BPE with {ENDING!r}"
        )
    vocabulary: Any = model.get("vocab")
    merges: Any = model.get("merges")
    steps = normalizer.get("normalizers", [normalizer] if normalizer else [])
    right = isinstance(vocabulary, dict) and isinstance(merges, list) and isinstance(steps, list)
    if not right or not all(isinstance(step, dict) for step in steps):
        raise InputError(f"{file}: not a tokenizer of byte pairs")
    names = {str(step.get("type")) for step in steps}
    if not names <= _STEPS:
        raise InputError(f"{file}: its normalizer {sorted(names - _STEPS)[0]!r} cannot be imported")
    return vocabulary, merges, "Lowercase" in names
