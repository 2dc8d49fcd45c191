"""What an importer of a pretrained encoder is told, and what it gives back."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

import tensorflow as tf

from mmrank.outputs import InputError


@dataclasses.dataclass(frozen=True)
class Choices:
    """What the user says over what the source says of itself; None leaves it to the source.

    Attributes:
      pooling: mean, cls or max: tokens to one vector.
      normalize: Whether embeddings are scaled to length 1.
      max_tokens: Tokens of a text, those at its ends among them.
      lowercase: Whether texts are lowered first.
      prefix: What every text is begun with.
    """

    pooling: str | None = None
    normalize: bool | None = None
    max_tokens: int | None = None
    lowercase: bool | None = None
    prefix: str | None = None

    def check(self, model_type: str, known: frozenset[str]) -> None:
        """Nothing, if only these choices were made.

        Raises:
          InputError: Another one was, which an encoder of this type does not have.
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
      facts: What there is to tell of it, by a short heading.
      entry: How a config names it, `{handle}` standing for the written folder.
    """

    model: tf.keras.Model
    facts: Mapping[str, str]
    entry: str

    def write(self, folder: pathlib.Path) -> None:
        """Fills the folder, which is empty, with the encoder."""
        self.model.save(folder, include_optimizer=False, save_format="tf")


Importer = Callable[[pathlib.Path, Choices], Imported]
