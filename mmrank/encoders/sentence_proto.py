"""SentencePiece model files: reads their pieces, and writes a model of a list of pieces."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from mmrank.outputs import InputError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4
_UNIGRAM = 1


@dataclasses.dataclass(frozen=True)
class Piece:
    """One piece: its text (`▁` for a space), its log probability, and its kind.

    Attributes:
      kind: NORMAL, UNKNOWN, CONTROL (never matched in a text) or USER_DEFINED.
    """

    text: str
    score: float
    kind: int = NORMAL


def read_pieces(model: bytes, file: pathlib.Path) -> list[Piece]:
    """Returns the pieces of a serialized model; a piece's index is its id.

    Args:
      model: The file's content.
      file: The file that an error names.

    Raises:
      InputError: The content is not a SentencePiece model.
    """
    proto = _message()
    try:
        proto.ParseFromString(model)
    except message.DecodeError as error:
        raise InputError(f"{file}: not a SentencePiece model: {error}") from error
    pieces = [Piece(p.piece, p.score, p.type) for p in proto.pieces]
    if not any(p.kind == UNKNOWN for p in pieces):
        raise InputError(f"{file}: not a SentencePiece model, since it has no unknown piece")
    return pieces


def special_ids(pieces: Sequence[Piece], file: pathlib.Path) -> tuple[int, int, int]:
    """Returns the ids of the unknown piece, of `<s>` and of `</s>`.

    Raises:
      InputError: `<s>` or `</s>` is missing.
    """
    unknown = next(i for i, piece in enumerate(pieces) if piece.kind == UNKNOWN)
    control = {p.text: i for i, p in enumerate(pieces) if p.kind == CONTROL}
    for piece in ("<s>", "</s>"):
        if piece not in control:
            raise InputError(f"{file}: lacks the special piece {piece!r}")
    return unknown, control["<s>"], control["</s>"]


def begins_with_space(model: bytes) -> bool:
    """Returns whether a model that `read_pieces` accepted puts a space before every text."""
    proto = _message()
    proto.ParseFromString(model)
    return bool(proto.normalizer_spec.add_dummy_prefix)


def write_model(pieces: Sequence[Piece], charsmap: bytes) -> bytes:
    """Returns a serialized unigram model.

    Args:
      pieces: The pieces, one of them UNKNOWN.
      charsmap: The compiled rules of normalisation; empty for none.
    """
    proto = _message()
    for piece in pieces:
        proto.pieces.add(piece=piece.text, score=piece.score, type=piece.kind)
    proto.trainer_spec.model_type = _UNIGRAM
    proto.normalizer_spec.precompiled_charsmap = charsmap
    return bytes(proto.SerializeToString())


@functools.cache
def _class() -> Any:
    """Returns the message `ModelProto` with the needed fields; other fields are kept unread.

    Source: sentencepiece_model.proto, for the numbers of the fields.
    """
    kinds = descriptor_pb2.FieldDescriptorProto
    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    file = descriptor_pb2.FileDescriptorProto(
        name="mmrank_sentence_pieces.proto", package="mmrank_sentence_pieces", syntax="proto2"
    )
    parts: dict[str, list[dict[str, Any]]] = {
        "SentencePiece": [
            {"name": "piece", "number": 1, "type": kinds.TYPE_STRING},
            {"name": "score", "number": 2, "type": kinds.TYPE_FLOAT},
            {"name": "type", "number": 3, "type": kinds.TYPE_INT32, "default_value": str(NORMAL)},
        ],
        "TrainerSpec": [{"name": "model_type", "number": 3, "type": kinds.TYPE_INT32}],
        "NormalizerSpec": [
            {"name": "precompiled_charsmap", "number": 2, "type": kinds.TYPE_BYTES},
            {
                "name": "add_dummy_prefix",
                "number": 3,
                "type": kinds.TYPE_BOOL,
                "default_value": "true",
            },
        ],
        "ModelProto": [
            {"name": "pieces", "number": 1, "label": many, "type_name": "SentencePiece"},
            {"name": "trainer_spec", "number": 2, "type_name": "TrainerSpec"},
            {"name": "normalizer_spec", "number": 3, "type_name": "NormalizerSpec"},
        ],
    }
    for name, fields in parts.items():
        made = file.message_type.add(name=name)
        for field in fields:
            made.field.add(**({"label": one} | field))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName("mmrank_sentence_pieces.ModelProto")
    return message_factory.GetMessageClass(descriptor)


def _message() -> Any:
    return _class()()
