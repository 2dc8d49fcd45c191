"""The version check: silent for the pinned set, one clear line for any other."""

from __future__ import annotations

import configparser
import pathlib
from collections.abc import Callable
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from mmrank.lane import LANE, LaneError, check_lane

GOOD = {
    "tensorflow": "2.15.1",
    "keras": "2.15.0",
    "tensorflow-ranking": "0.5.5",
    "tensorflow-hub": "0.16.1",
    "tensorflow-text": "2.15.0",
    "keras-nlp": "0.12.1",
    "numpy": "1.26.4",
    "pyarrow": "25.0.1",
    "setuptools": "65.5.0",
}


def installed(**changes: str | None) -> Callable[[str], str]:
    versions = GOOD | {name.replace("_", "-"): version for name, version in changes.items()}

    def version(name: str) -> str:
        found = versions[name]
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    return version


def test_the_pinned_set_passes() -> None:
    check_lane(installed())


def test_what_is_installed_here_passes() -> None:
    check_lane()


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("tensorflow", "2.16.1"),
        ("tensorflow", "2.14.0"),
        ("keras", "3.0.0"),
        ("keras-nlp", "0.14.0"),
        ("numpy", "2.0.0"),
        ("setuptools", "82.0.0"),
    ],
)
def test_a_version_outside_is_named_with_the_command(name: str, version: str) -> None:
    with pytest.raises(LaneError) as caught:
        check_lane(installed(**{name: version}))
    text = str(caught.value)
    assert f"{name} " in text
    assert f"found {version}" in text
    assert f"pip install '{name}" in text
    assert "\n" not in text


def test_all_offenders_stand_in_one_line() -> None:
    with pytest.raises(LaneError) as caught:
        check_lane(installed(tensorflow="2.21.0", keras=None))
    text = str(caught.value)
    assert "tensorflow ==2.15.* (found 2.21.0)" in text
    assert "keras ==2.15.* (found none)" in text
    assert text.endswith("pip install 'tensorflow==2.15.*' 'keras==2.15.*'")


def test_setup_cfg_pins_lie_inside_the_lane() -> None:
    setup = configparser.ConfigParser()
    setup.read(pathlib.Path(__file__).resolve().parent.parent / "setup.cfg", encoding="utf-8")
    lines = setup["options"]["install_requires"].split("\n")
    pins = {r.name: r.specifier for r in map(Requirement, filter(None, lines))}
    for name in LANE:
        assert name in pins, f"setup.cfg does not name {name}"
    for name, bounds in LANE.items():
        for pin in pins[name]:
            if pin.operator == "==":
                check_lane(installed(**{name: pin.version}))
            else:
                assert pin.operator in ("<", ">="), bounds
