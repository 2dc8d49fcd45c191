"""The one set of library versions that works together, checked without importing any of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import metadata

from packaging.specifiers import SpecifierSet

# The bounds within which the parts work; setup.cfg pins one exact version inside each.
LANE: Mapping[str, str] = {
    "tensorflow": "==2.15.*",
    "keras": "==2.15.*",
    "tensorflow-ranking": "==0.5.5",
    "tensorflow-hub": "==0.16.*",
    "tensorflow-text": "==2.15.*",
    "keras-nlp": "==0.12.*",
    "numpy": ">=1.23.5,<2",
    "pyarrow": "<26",
    "setuptools": "<82",
}


class LaneError(ImportError):
    """Installed libraries that do not work together; the message holds the mending command."""


def check_lane(version: Callable[[str], str] = metadata.version) -> None:
    """Nothing, if the installed libraries work together.

    Args:
      version: Gives a distribution's installed version, or raises `PackageNotFoundError`.

    Raises:
      LaneError: A library is missing or outside its bounds; all of them are named in one line.
    """
    wrong = []
    for name, bounds in LANE.items():
        try:
            found = version(name)
        except metadata.PackageNotFoundError:
            found = "none"
        if found == "none" or not SpecifierSet(bounds).contains(found, prereleases=True):
            wrong.append((name, bounds, found))
    if wrong:
        what = ", ".join(f"{name} {bounds} (found {found})" for name, bounds, found in wrong)
        command = " ".join(f"'{name}{bounds}'" for name, bounds, _ in wrong)
        raise LaneError(f"mmrank needs {what}; run: pip install {command}")
