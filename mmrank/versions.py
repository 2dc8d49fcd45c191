"""The two sets of library versions that work together, checked without importing a library."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Mapping
from importlib import metadata

from packaging.specifiers import SpecifierSet

LEGACY_KERAS = "TF_USE_LEGACY_KERAS"


@dataclasses.dataclass(frozen=True)
class VersionSet:
    """A set of versions that work together.

    Attributes:
      name: Name of the set.
      python: The Python versions that it is for.
      bounds: Supported versions of each distribution; setup.cfg pins one exact version inside each
        bound that is one minor version wide.
      alone: Distributions that are installed without their dependencies (`--no-deps`), since these
        conflict with the rest.
      legacy_keras: Whether Keras 2 must be requested, through the environment and before Keras is
        imported.
    """

    name: str
    python: str
    bounds: Mapping[str, str]
    alone: frozenset[str] = frozenset()
    legacy_keras: bool = False


_SHARED = {
    "tensorflow-ranking": "==0.5.5",
    "tensorflow-hub": "==0.16.*",
    "keras-nlp": "==0.12.*",
    "setuptools": "<82",
}
CLASSIC = VersionSet(
    "classic",
    "==3.11.*",
    {
        "tensorflow": "==2.15.*",
        "keras": "==2.15.*",
        "tf-keras": "==2.15.*",
        "tensorflow-text": "==2.15.*",
        "numpy": ">=1.23.5,<2",
        "pyarrow": "<26",
        **_SHARED,
    },
)
CURRENT = VersionSet(
    "current",
    ">=3.12,<3.14",
    {
        "tensorflow": "==2.21.*",
        "tf-keras": "==2.21.*",
        "tensorflow-text": "==2.21.*",
        "numpy": ">=2,<3",
        **_SHARED,
    },
    alone=frozenset({"tensorflow-ranking"}),
    legacy_keras=True,
)


class VersionError(ImportError):
    """Raised for libraries that do not work together; the message says how to fix it."""


def version_set_of(version: tuple[int, int] = sys.version_info[:2]) -> VersionSet:
    """The set of versions for a Python version, by default the running one.

    Raises:
      VersionError: No set of versions is for this Python.
    """
    python = f"{version[0]}.{version[1]}"
    for version_set in (CURRENT, CLASSIC):
        if SpecifierSet(version_set.python).contains(python):
            return version_set
    raise VersionError(f"mmrank runs on Python 3.11, 3.12 and 3.13; this is Python {python}")


def check_versions(
    version: Callable[[str], str] = metadata.version, version_set: VersionSet | None = None
) -> None:
    """Checks that the installed libraries work together.

    Args:
      version: Returns a distribution's installed version, or raises `PackageNotFoundError`.
      version_set: The versions to check against; None for those of this Python.

    Raises:
      VersionError: A library is missing or outside its bounds; one line names all such libraries.
    """
    version_set = version_set or version_set_of()
    wrong = []
    for name, bounds in version_set.bounds.items():
        try:
            found = version(name)
        except metadata.PackageNotFoundError:
            found = "none"
        if found == "none" or not SpecifierSet(bounds).contains(found, prereleases=True):
            wrong.append((name, bounds, found))
    if wrong:
        what = ", ".join(f"{name} {bounds} (found {found})" for name, bounds, found in wrong)
        named = {name: f"'{name}{bounds}'" for name, bounds, _ in wrong}
        together = [text for name, text in named.items() if name not in version_set.alone]
        alone = [text for name, text in named.items() if name in version_set.alone]
        commands = [f"pip install {' '.join(together)}"] if together else []
        commands += [f"pip install --no-deps {' '.join(alone)}"] if alone else []
        raise VersionError(f"mmrank needs {what}; run: {' && '.join(commands)}")


def ask_for_keras_2(version_set: VersionSet | None = None) -> None:
    """Makes TensorFlow use Keras 2 as `tf.keras`, where that must be requested.

    Args:
      version_set: The versions in use; None for those of this Python.

    Raises:
      VersionError: Keras 3 is imported already, or the environment asks for it.
    """
    version_set = version_set or version_set_of()
    if not version_set.legacy_keras:
        return
    given = os.environ.get(LEGACY_KERAS)
    if given is not None and given.lower() not in ("1", "true"):
        raise VersionError(
            f"mmrank needs Keras 2, but the environment has {LEGACY_KERAS}={given}; set it to 1"
        )
    # TensorFlow reads the environment when it is imported, and when `tf.keras` is first used.
    if given is None and "tensorflow" in sys.modules:
        raise VersionError(
            "mmrank needs Keras 2, but TensorFlow was already imported with Keras 3; restart "
            "Python (in a notebook, the runtime), then import mmrank before tensorflow, or set "
            f"{LEGACY_KERAS}=1 before either"
        )
    os.environ[LEGACY_KERAS] = "1"
