"""Names of a package that are imported only when they are used (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions `__getattr__` and `__dir__` of a package whose public names load on first use.

    Importing one module of a package imports the package too, so a package that imported all its
    public names would load TensorFlow for every command.

    Args:
      package: The package's `__name__`.
      homes: The public names by the full name of the module that defines them. A public name must
        not be that of a module of the package: importing this module would hide the name.

    Example:
      >>> get, names = lazy_names("mmrank.lazy", {"math": ["floor"]})
      >>> get("floor")(2.5)
      2
      >>> "floor" in names()
      True
      >>> get("round")
      Traceback (most recent call last):
      AttributeError: module 'mmrank.lazy' has no attribute 'round'
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def get(name: str) -> Any:
        if name in home_of:
            return getattr(importlib.import_module(home_of[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*vars(importlib.import_module(package)), *home_of})

    return get, names
