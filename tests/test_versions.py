"""The version check: silent for both pinned sets, one clear line for any other set."""

from __future__ import annotations

import configparser
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from mmrank.versions import (
    CLASSIC,
    CURRENT,
    LEGACY_KERAS,
    VersionError,
    VersionSet,
    ask_for_keras_2,
    check_versions,
    version_set_of,
)

SETUP = pathlib.Path(__file__).resolve().parent.parent / "setup.cfg"
SHARED = {
    "tensorflow-ranking": "0.5.5",
    "tensorflow-hub": "0.16.1",
    "keras-nlp": "0.12.1",
    "setuptools": "80.9.0",
}
GOOD = {
    CLASSIC.name: SHARED
    | {
        "tensorflow": "2.15.1",
        "keras": "2.15.0",
        "tf-keras": "2.15.1",
        "tensorflow-text": "2.15.0",
        "numpy": "1.26.4",
        "pyarrow": "25.0.1",
    },
    CURRENT.name: SHARED
    | {
        "tensorflow": "2.21.0",
        "tf-keras": "2.21.0",
        "tensorflow-text": "2.21.1",
        "numpy": "2.4.6",
    },
}
VERSION_SETS = pytest.mark.parametrize(
    "version_set", [CLASSIC, CURRENT], ids=lambda version_set: version_set.name
)


def installed(version_set: VersionSet, **changes: str | None) -> Callable[[str], str]:
    versions = GOOD[version_set.name] | {n.replace("_", "-"): v for n, v in changes.items()}

    def version(name: str) -> str:
        found = versions[name]
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    return version


@VERSION_SETS
def test_the_pinned_set_passes(version_set: VersionSet) -> None:
    check_versions(installed(version_set), version_set)


def test_the_installed_versions_pass() -> None:
    check_versions()


@pytest.mark.parametrize(
    ("python", "version_set"), [((3, 11), CLASSIC), ((3, 12), CURRENT), ((3, 13), CURRENT)]
)
def test_python_selects_the_set_of_versions(
    python: tuple[int, int], version_set: VersionSet
) -> None:
    assert version_set_of(python) is version_set


@pytest.mark.parametrize("python", [(3, 10), (3, 14)])
def test_other_pythons_are_refused(python: tuple[int, int]) -> None:
    with pytest.raises(VersionError, match="runs on Python 3.11, 3.12 and 3.13"):
        version_set_of(python)


@pytest.mark.parametrize(
    ("version_set", "name", "version"),
    [
        (CLASSIC, "tensorflow", "2.16.1"),
        (CLASSIC, "keras", "3.0.0"),
        (CLASSIC, "numpy", "2.0.0"),
        (CURRENT, "tensorflow", "2.20.0"),
        (CURRENT, "tf-keras", "2.15.1"),
        (CURRENT, "numpy", "1.26.4"),
        *((version_set, "keras-nlp", "0.14.0") for version_set in (CLASSIC, CURRENT)),
        *((version_set, "setuptools", "82.0.0") for version_set in (CLASSIC, CURRENT)),
    ],
)
def test_a_version_outside_is_named_with_the_command(
    version_set: VersionSet, name: str, version: str
) -> None:
    with pytest.raises(VersionError) as caught:
        check_versions(installed(version_set, **{name: version}), version_set)
    text = str(caught.value)
    assert f"{name} " in text
    assert f"found {version}" in text
    assert f"pip install '{name}" in text
    assert "\n" not in text


def test_all_wrong_versions_are_in_one_line() -> None:
    with pytest.raises(VersionError) as caught:
        check_versions(installed(CLASSIC, tensorflow="2.21.0", keras=None), CLASSIC)
    text = str(caught.value)
    assert "tensorflow ==2.15.* (found 2.21.0)" in text
    assert "keras ==2.15.* (found none)" in text
    assert text.endswith("pip install 'tensorflow==2.15.*' 'keras==2.15.*'")


def test_tf_ranking_is_installed_alone_where_its_bounds_refuse_tensorflow() -> None:
    with pytest.raises(VersionError) as caught:
        check_versions(installed(CURRENT, tensorflow_ranking=None, numpy="1.26.4"), CURRENT)
    assert str(caught.value).endswith(
        "pip install 'numpy>=2,<3' && pip install --no-deps 'tensorflow-ranking==0.5.5'"
    )
    with pytest.raises(VersionError, match=r"run: pip install 'tensorflow-ranking==0.5.5'$"):
        check_versions(installed(CLASSIC, tensorflow_ranking=None), CLASSIC)


@VERSION_SETS
def test_setup_cfg_pins_are_within_the_bounds(version_set: VersionSet) -> None:
    setup = configparser.ConfigParser()
    setup.read(SETUP, encoding="utf-8")
    lines = filter(None, setup["options"]["install_requires"].split("\n"))
    python = {CLASSIC.name: "3.11", CURRENT.name: "3.13"}[version_set.name]
    asked = [
        r
        for r in map(Requirement, lines)
        if r.marker is None or r.marker.evaluate({"python_version": python})
    ]
    pins = {r.name: r.specifier for r in asked}
    assert len(pins) == len(asked)
    for name, bounds in version_set.bounds.items():
        if name in version_set.alone:
            assert name not in pins, f"{name} cannot be installed with the rest"
            continue
        assert name in pins, f"setup.cfg does not name {name}"
        for pin in pins[name]:
            if pin.operator == "==":
                check_versions(installed(version_set, **{name: pin.version}), version_set)
            else:
                assert pin.operator in ("<", ">="), bounds


def test_keras_2_is_requested_if_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LEGACY_KERAS, raising=False)
    for name in [n for n in sys.modules if n == "tensorflow"]:
        monkeypatch.delitem(sys.modules, name)
    ask_for_keras_2(CLASSIC)
    assert LEGACY_KERAS not in os.environ
    ask_for_keras_2(CURRENT)
    assert os.environ[LEGACY_KERAS] == "1"
    ask_for_keras_2(CURRENT)  # as when the package is imported a second time


def test_keras_3_is_a_one_line_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", object())
    monkeypatch.delenv(LEGACY_KERAS, raising=False)
    with pytest.raises(VersionError, match="import mmrank before tensorflow, or set TF_USE_LEGACY"):
        ask_for_keras_2(CURRENT)
    ask_for_keras_2(CLASSIC)
    monkeypatch.setenv(LEGACY_KERAS, "0")
    with pytest.raises(VersionError, match="has TF_USE_LEGACY_KERAS=0; set it to 1"):
        ask_for_keras_2(CURRENT)
    monkeypatch.setenv(LEGACY_KERAS, "True")
    ask_for_keras_2(CURRENT)


def test_a_notebook_that_imported_tensorflow_first_gets_the_remedy() -> None:
    """As in a Colab cell that begins with `import tensorflow`."""
    given = {n: v for n, v in os.environ.items() if n != LEGACY_KERAS}
    code = "import tensorflow; import mmrank"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=given, timeout=120
    )
    if version_set_of().legacy_keras:
        assert done.returncode == 1
        assert "VersionError: mmrank needs Keras 2" in done.stderr.splitlines()[-1]
    else:
        assert done.returncode == 0, done.stderr
