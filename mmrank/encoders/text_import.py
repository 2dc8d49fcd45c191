"""The options and the result of an importer of a pretrained encoder."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

import tensorflow as tf

from mmrank.outputs import InputError


@dataclasses.dataclass(frozen=True)
class Choices:
    """The user's choices, which override the source's own settings; None keeps the source's.

    Attributes:
      pooling: mean, cls or max: how tokens become one vector.
      normalize: Whether embeddings are scaled to length 1.
      max_tokens: Maximum number of tokens of a text, including those at its ends.
      lowercase: Whether texts are converted to lower case first.
      prefix: Text put before every text.
    """

    pooling: str | None = None
    normalize: bool | None = None
    max_tokens: int | None = None
    lowercase: bool | None = None
    prefix: str | None = None

    def check(self, model_type: str, known: frozenset[str]) -> None:
        """Checks that only known choices were made.

        Raises:
          InputError: A choice was made that an encoder of this type does not have.
        """
        given = {name for name, value in vars(self).items() if value is not None}
        for name in sorted(given - known):
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag}: not for a model of type {model_type!r}; leave it out")


@dataclasses.dataclass(frozen=True)
class Imported:
    """A pretrained encoder, ready to be written as a TF-Hub SavedModel.

    Attributes:
      model: From one input, texts [N] or samples [n], to embeddings [N, D] or [T, D].
      facts: Descriptions to print, by short headings.
      entry: The config entry that uses it, with `{handle}` for the written folder.
    """

    model: tf.keras.Model
    facts: Mapping[str, str]
    entry: str

    def write(self, folder: pathlib.Path) -> None:
        """Writes the encoder to the folder, which is empty."""
        self.model.save(folder, include_optimizer=False, save_format="tf")


Importer = Callable[[pathlib.Path, Choices], Imported]
