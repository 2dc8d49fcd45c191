"""Reads how a CLIP or SigLIP image tower takes photos, from its preprocessor_config.json."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from mmrank.encoders.aligned.shapes import read_json
from mmrank.encoders.fitting import CROP, STRETCH
from mmrank.outputs import InputError, shown

PREPROCESSOR_FILE = "preprocessor_config.json"
# Filters by their numbers in Pillow, under TensorFlow's names.
_FILTERS = {1: "lanczos3", 2: "bilinear", 3: "bicubic"}
_MOST = 1e6


@dataclasses.dataclass(frozen=True)
class Pixels:
    """How photos are brought to a tower's size and scale.

    Attributes:
      mean, std: By colour, of pixels from 0 to 255: the network receives (x − mean) / std.
      fit: How a photo of other proportions is fitted, one of `FITS`.
      interpolation: How photos are scaled, one of `INTERPOLATIONS`.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: str
    interpolation: str


def read_pixels(path: pathlib.Path, size: int) -> Pixels:
    """Returns a folder's settings for photos.

    Args:
      path: The folder.
      size: Pixels that the tower takes, each way.

    Raises:
      InputError: The file is missing, or its settings do not fit a tower of this size.
    """
    file = path / PREPROCESSOR_FILE
    given = read_json(file)
    if given.get("do_resize", True) is not True:
        raise InputError(
            f"{file}: do_resize is {shown(given['do_resize'])}, but photos of different sizes "
            "must be resized"
        )
    scaled = given.get("size")
    shortest = scaled.get("shortest_edge") if isinstance(scaled, dict) else scaled
    crops = given.get("do_center_crop", shortest is not None) is True
    if shortest is None and not crops:
        fit, sizes = STRETCH, [scaled]
    elif crops and shortest is not None:
        fit, sizes = CROP, [shortest, given.get("crop_size", shortest)]
    else:
        raise InputError(
            f"{file}: size {shown(scaled)} with do_center_crop {shown(crops)} means neither a "
            "stretched photo nor one scaled by its shorter side and cropped"
        )
    for value in sizes:
        edges = (value.get("height"), value.get("width")) if isinstance(value, dict) else (value,)
        if any(edge != size for edge in edges):
            raise InputError(f"{file}: size {shown(value)}, but the tower reads {size} x {size}")
    resample = given.get("resample", 3)
    if not isinstance(resample, int) or resample not in _FILTERS:
        raise InputError(f"{file}: resample is {shown(resample)}; known: {list(_FILTERS)}")
    factor = 1.0
    if given.get("do_rescale", True) is True:
        (factor,) = _numbers(file, "rescale_factor", [given.get("rescale_factor", 1 / 255)], 1)
    mean: tuple[float, ...] = (0.0,) * 3
    std: tuple[float, ...] = (1.0,) * 3
    if given.get("do_normalize", True) is True:
        mean = _numbers(file, "image_mean", given.get("image_mean"), 3)
        std = _numbers(file, "image_std", given.get("image_std"), 3)
    if not factor > 0 or not min(std) > 0:
        raise InputError(f"{file}: rescale_factor and image_std must be above 0")
    return Pixels(
        tuple(m / factor for m in mean),
        tuple(s / factor for s in std),
        fit,
        _FILTERS[resample],
    )


def _numbers(file: pathlib.Path, key: str, values: Any, count: int) -> tuple[float, ...]:
    right = isinstance(values, list) and len(values) == count
    right = right and all(type(v) in (int, float) and abs(v) < _MOST for v in values)
    if not right:
        raise InputError(f"{file}: {key} is {shown(values)}, not {count} numbers")
    return tuple(float(v) for v in values)
