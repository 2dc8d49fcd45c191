"""Sizes that a config.json may state, before a network of them is made."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

from mmrank.outputs import InputError

# Each far above any published encoder of texts or images.
MOST = {
    "vocabulary_size": 5_000_000,
    "hidden": 32_768,
    "layers": 512,
    "heads": 1_024,
    "intermediate": 262_144,
    "positions": 1_000_000,
}


def check_sizes(file: pathlib.Path, sizes: Mapping[str, int], weights: pathlib.Path) -> None:
    """Nothing, if the sizes of a transformer can be, and its weights are in its file.

    A config.json of some bytes could else ask for more memory than there is.

    Args:
      file: The config.json, to begin a message with.
      sizes: By the names of `MOST`; not all of them have to be there.
      weights: The file that holds the weights, of at least a byte each.

    Raises:
      InputError: They cannot.
    """
    for name, most in MOST.items():
        size = sizes.get(name, 1)
        if isinstance(size, bool) or not 1 <= size <= most:
            raise InputError(
                f"{file}: {name} is {size}; it has to be 1 to {most:,}, so this is no config of a "
                "pretrained encoder; fetch the folder anew"
            )
    hidden, heads = sizes.get("hidden", 1), sizes.get("heads", 1)
    if hidden % heads:
        raise InputError(f"{file}: {hidden} hidden units are not a multiple of {heads} heads")
    rows = sizes.get("vocabulary_size", 0) + sizes.get("positions", 0)
    layer = 4 * hidden**2 + 2 * hidden * sizes.get("intermediate", 0)
    count = rows * hidden + sizes.get("layers", 0) * layer
    held = weights.stat().st_size if weights.is_file() else count
    if count > held:
        raise InputError(
            f"{file}: describes {count:,} weights, but {weights.name} has {held:,} bytes; the two "
            "files are of different models, or one is damaged; fetch the folder anew"
        )
