"""Checks the sizes that a config.json states, before a network of these sizes is built."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

from mmrank.outputs import InputError

# Each bound is far above any published encoder of texts or images.
MOST = {
    "vocabulary_size": 5_000_000,
    "hidden": 32_768,
    "layers": 512,
    "heads": 1_024,
    "intermediate": 262_144,
    "positions": 1_000_000,
}


def check_sizes(file: pathlib.Path, sizes: Mapping[str, int], weights: pathlib.Path) -> None:
    """Checks that the sizes of a transformer are possible and that its file can hold its weights.

    Otherwise a config.json of a few bytes could request more memory than the machine has.

    Args:
      file: The config.json, with which messages begin.
      sizes: Sizes by the names of `MOST`; some may be missing.
      weights: The file that holds the weights, of at least one byte each.

    Raises:
      InputError: A size is out of range, or the sizes need more weights than the file has bytes.
    """
    for name, most in MOST.items():
        size = sizes.get(name, 1)
        if isinstance(size, bool) or not 1 <= size <= most:
            raise InputError(
                f"{file}: {name} is {size}; it must be 1 to {most:,}, so this is not the config "
                "of a pretrained encoder; download the folder again"
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
            "files are of different models, or one is damaged; download the folder again"
        )
