"""The importer of text encoders in Hugging Face folders."""

from __future__ import annotations

import dataclasses
import pathlib

from mmrank.encoders.hf_bert import text_model
from mmrank.encoders.hf_folder import BertWords, read_folder, read_weights
from mmrank.encoders.text_import import Choices, Imported

ENTRY = "text: {{encoder: hub, handle: {handle}}}"


def import_hf_text(path: pathlib.Path, choices: Choices) -> Imported:
    """Returns the text encoder of a folder with a BERT or an XLM-R. An `Importer`; see there."""
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
        prefix=choices.prefix or "",
    )
    shape = folder.shape
    size = len(words.vocabulary) if isinstance(words, BertWords) else words.size
    facts = {
        "encoder": f"{shape.layers} layers, width {shape.hidden}, {size:,} word "
        f"pieces, {model.count_params():,} weights",
        "texts": f"{'lowercased' if words.lowercase else 'case kept'}, up to {max_tokens} tokens, "
        f"{pooling} pooling{', length 1' if normalize else ''}{text_choices(choices)}",
        "unused": ", ".join(unused) or "no tensor",
    }
    return Imported(model, facts, ENTRY)


def text_choices(choices: Choices) -> str:
    """Returns the description of the prefix, to append to other facts; empty without a prefix."""
    return f", each with the prefix {choices.prefix!r}" if choices.prefix else ""
