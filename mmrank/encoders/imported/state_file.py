"""Reads tensors by name from a state file, safetensors or PyTorch's, without running its code."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmrank.encoders.imported.torch_file import ZIP_START, read_torch
from mmrank.outputs import InputError, require_extra, shown

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
_INNER = ("state_dict", "model", "state_dict_ema", "model_state")
_PICKLE = b"\x80"


def find_state_file(path: pathlib.Path) -> pathlib.Path:
    """Returns the state file of a path: the path itself, or the only one in a folder.

    Raises:
      InputError: The folder has no state file, or several of the first suffix that it has.
    """
    if path.is_file():
        return path
    for suffix in SUFFIXES:
        found = sorted(path.glob(f"*{suffix}"))
        if len(found) > 1:
            raise InputError(f"{path}: several {suffix} files; name one of them")
        if found:
            return found[0]
    raise InputError(f"{path}: neither a state file nor a folder with one ({', '.join(SUFFIXES)})")


def read_state(file: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns all tensors of a state file by name; floats as float32.

    If a checkpoint holds its weights under `state_dict` or `model`, these are read. The prefix
    `module.` of parallel training is removed.

    Raises:
      InputError: The file is damaged or of another form, or holds anything but tensors.

    Example:
      >>> import pathlib
      >>> import numpy as np
      >>> from safetensors.numpy import save_file
      >>> save_file({"stem.weight": np.ones([2, 3], np.float16)}, "model.safetensors")
      >>> state = read_state(pathlib.Path("model.safetensors"))
      >>> state["stem.weight"].shape, state["stem.weight"].dtype
      ((2, 3), dtype('float32'))
    """
    with file.open("rb") as opened:
        start = opened.read(9)
    # safetensors begins with the length of its JSON, whose first byte may look like a pickle's.
    torch = start[8:] != b"{" and start.startswith((ZIP_START, _PICKLE))
    tree = read_torch(file) if torch else _safetensors(file)
    for _ in range(2):
        inner = next((tree[k] for k in _INNER if isinstance(tree, Mapping) and k in tree), None)
        if isinstance(inner, Mapping):
            tree = inner
    if not isinstance(tree, Mapping) or not tree:
        raise InputError(f"{file}: holds {shown(type(tree).__name__)}, not tensors by name")
    state: dict[str, np.ndarray] = {}
    for name, value in tree.items():
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            raise InputError(f"{file}: {shown(name)} is {shown(value)}, not a named tensor")
        state[name.removeprefix("module.")] = value.astype(np.float32) if _float(value) else value
    return state


def _float(value: np.ndarray) -> bool:
    return value.dtype.kind == "f"


def _safetensors(file: pathlib.Path) -> dict[str, Any]:
    require_extra(f"reading {file.name}", "safetensors", "pretrained")
    import safetensors
    import safetensors.numpy

    try:
        return safetensors.numpy.load_file(file)
    except (safetensors.SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(
            f"{file}: neither safetensors that NumPy can read nor a PyTorch state file: {error}"
        ) from error
