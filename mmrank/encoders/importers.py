"""The importers of pretrained encoders, by the type of model in the files.

A new architecture is one file and one entry in `IMPORTERS`.
"""

from __future__ import annotations

import json
import pathlib

from mmrank.encoders.aligned.importing import import_clip, import_siglip
from mmrank.encoders.aligned.shapes import CLIP, SIGLIP
from mmrank.encoders.hf_text import import_hf_text
from mmrank.encoders.speech_embedding import SUFFIX, import_speech
from mmrank.encoders.text_import import Choices, Imported, Importer
from mmrank.encoders.use import holds_use, import_use
from mmrank.outputs import InputError
from mmrank.schema import did_you_mean

IMPORTERS: dict[str, Importer] = {
    "bert": import_hf_text,
    "xlm-roberta": import_hf_text,
    CLIP: import_clip,
    SIGLIP: import_siglip,
    "use": import_use,
    "speech_embedding": import_speech,
}


def import_model(source: pathlib.Path, model_type: str | None, choices: Choices) -> Imported:
    """Returns the encoder in some files.

    Args:
      source: A folder or file of the encoder.
      model_type: A name from `IMPORTERS`; None detects it from the source.
      choices: The user's choices, which override the source's own settings.

    Raises:
      InputError: The source is missing, of an unknown type, or cannot be used.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    kind = model_type or type_of(source)
    if kind not in IMPORTERS:
        raise InputError(
            f"{source}: cannot import a model of type {kind!r}{did_you_mean(kind, IMPORTERS)}; "
            f"known: {', '.join(IMPORTERS)}"
        )
    return IMPORTERS[kind](source, choices)


def type_of(source: pathlib.Path) -> str:
    """Returns the type of model that a folder or file holds.

    Raises:
      InputError: The source does not say its type.
    """
    if source.suffix == SUFFIX:
        return "speech_embedding"
    config = source / "config.json"
    if config.is_file():
        try:
            given = json.loads(config.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{config}: not JSON: {error}") from error
        return str(given.get("model_type", "bert"))
    if holds_use(source):
        return "use"
    raise InputError(
        f"{source}: holds no config.json with a model type; give the type with --type: "
        f"{', '.join(IMPORTERS)}"
    )
