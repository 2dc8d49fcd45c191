"""Importers of the text encoders that Hugging Face folders hold."""

from __future__ import annotations

import dataclasses
import pathlib

from mmrank.encoders.hf_bert import text_model
from mmrank.encoders.hf_folder import read_folder, read_weights
from mmrank.encoders.imported import Choices, Imported

ENTRY = "text: {{encoder: hub, handle: {handle}}}"


def import_bert(path: pathlib.Path, choices: Choices) -> Imported:
    """The text encoder of a folder with a BERT. An `Importer`; see there."""
    choices.check("bert", frozenset({"pooling", "normalize", "max_tokens", "lowercase"}))
    folder = read_folder(path)
    words = folder.words
    if choices.lowercase is not None:
        words = dataclasses.replace(words, lowercase=choices.lowercase)
    pooling = choices.pooling or folder.pooling
    normalize = folder.normalize if choices.normalize is None else choices.normalize
    max_tokens = folder.max_tokens if choices.max_tokens is None else choices.max_tokens
    model, unused = text_model(
        folder.shape,
        words,
        read_weights(path),
        pooling=pooling,
        normalize=normalize,
        max_tokens=max_tokens,
    )
    shape = folder.shape
    facts = {
        "encoder": f"{shape.layers} layers, width {shape.hidden}, {len(words.vocabulary):,} word "
        f"pieces, {model.count_params():,} weights",
        "texts": f"{'lowered' if words.lowercase else 'case kept'}, up to {max_tokens} tokens, "
        f"{pooling} pooling{', length 1' if normalize else ''}",
        "unused": ", ".join(unused) or "no tensor",
    }
    return Imported(model, facts, ENTRY)
