"""The image tower of a CLIP or SigLIP as the folder of an imported network keeps it."""

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
    """What the folder says of its network.

    Attributes:
      network: `TRANSFORMER`.
      shape: Its architecture.
      mean, std, fit, interpolation: As of `Pixels`.
    """

    network: str
    shape: PhotoShape
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: str
    interpolation: str

    def model(self, height: int, width: int) -> tf.keras.Model:
        """The network [N, height, width, 3] → [N, D'], its weights not set.

        Raises:
          ConfigError: It sees photos of another size.
        """
        size = self.shape.size
        if (height, width) != (size, size):
            raise ConfigError(
                f"this tower sees photos of {size} x {size} pixels, not {height} x {width}; leave "
                "height and width out"
            )
        return photo_tower(self.shape, Conventions(mean=self.mean, std=self.std))

    def options(self) -> dict[str, object]:
        """The options of a photo that this network wants."""
        return {
            "height": self.shape.size,
            "width": self.shape.size,
            "fit": self.fit,
            "interpolation": self.interpolation,
        }
