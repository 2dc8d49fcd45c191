"""PyTorch and TensorFlow in one process."""

from __future__ import annotations

import importlib.util
import sys

from mmrank.outputs import UserError

__all__ = ["load_torch_first"]

COMPILER = "triton"


def load_torch_first() -> None:
    """Loads PyTorch's compiler, which comes with its builds for GPUs, unless it is loaded.

    Loaded after TensorFlow it ends the process with a segmentation fault (Triton 3.8 with
    TensorFlow 2.21). PyTorch loads it with the first optimizer, and Stable-Baselines3 loads
    TensorFlow where it is installed, so that it has to be loaded before both.

    Raises:
      UserError: TensorFlow is loaded already.
    """
    if COMPILER in sys.modules or importlib.util.find_spec(COMPILER) is None:
        return
    if "tensorflow" in sys.modules:
        raise UserError(
            f"PyTorch's compiler cannot be loaded after TensorFlow; `import {COMPILER}` first, or "
            "install PyTorch without it (its builds for CPUs)"
        )
    importlib.import_module(COMPILER)
