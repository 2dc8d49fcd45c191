"""The image tower of a CLIP or SigLIP, as the folder of an imported network describes it."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.encoders.aligned.shapes import PhotoShape
from mmrank.encoders.aligned.towers import photo_tower
from mmrank.encoders.imported.conventions import Conventions

TRANSFORMER = "VisionTransformer"


@dataclasses.dataclass(frozen=True)
class ImportedTransformer:
    """The description of the network in the folder.

    Attributes:
      network: `TRANSFORMER`.
      shape: The architecture.
      mean, std, fit, interpolation: As in `Pixels`.
    """

    network: str
    shape: PhotoShape
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: str
    interpolation: str

    def model(self, height: int, width: int) -> tf.keras.Model:
        """Returns the network [N, height, width, 3] → [N, D'], its weights not set.

        Raises:
          ConfigError: The network takes photos of another size.
        """
        size = self.shape.size
        if (height, width) != (size, size):
            raise ConfigError(
                f"this tower reads photos of {size} x {size} pixels, not {height} x {width}; "
                "leave height and width out"
            )
        return photo_tower(self.shape, Conventions(mean=self.mean, std=self.std))

    def options(self) -> dict[str, object]:
        """Returns the options of a photo feature that this network requires."""
        return {
            "height": self.shape.size,
            "width": self.shape.size,
            "fit": self.fit,
            "interpolation": self.interpolation,
        }
