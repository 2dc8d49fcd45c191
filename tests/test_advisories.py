"""The check against known holes: bounds, installed versions, and the age of the list."""

from __future__ import annotations

import datetime
import importlib.util
import pathlib
import sys
from types import ModuleType

import pytest
from packaging.requirements import Requirement

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def check() -> ModuleType:
    file = ROOT / ".ci" / "check_advisories.py"
    spec = importlib.util.spec_from_file_location("check_advisories", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def listed(check) -> tuple:
    return check.read_advisories(ROOT / ".ci" / "advisories.yaml")[1]


def test_no_bound_of_ours_admits_a_known_hole(check, listed) -> None:
    wanted = list(check.requirements(ROOT / "setup.cfg"))
    assert {"pyarrow", "pillow", "starlette", "orjson"} <= {r.name for r in wanted}
    assert check.admitted(iter(wanted), listed) == []


@pytest.mark.parametrize(
    ("requirement", "holes"),
    [
        ("pyarrow>=14,<26", ["CVE-2023-47248", "CVE-2026-25087"]),
        ("pyarrow>=14.0.1,<26", ["CVE-2026-25087"]),
        ("pyarrow>=23.0.1,<26", []),
        ("pillow>=12.2", ["PYSEC-2026-2253 to 2257"]),
        ("tqdm", ["CVE-2024-34062"]),
        ("protobuf>=4.25.8,<5", []),  # that one is accepted, with its reason
        ("scipy==1.9.3; python_version < '3'", ["CVE-2023-25399"]),
        ("unheard-of", []),
    ],
)
def test_bounds_that_admit_one(check, listed, requirement: str, holes: list[str]) -> None:
    told = check.admitted(iter([Requirement(requirement)]), listed)
    assert len(told) == len(holes)
    for line, hole in zip(told, holes, strict=True):
        assert hole in line
        assert line.startswith("setup.cfg: ")


def test_installed_versions_with_one(check, listed) -> None:
    versions = {"Pillow": "12.0.0", "PyYAML": "6.0.2", "h11": "0.14.0", "protobuf": "4.25.9"}
    told = check.installed(versions, listed)
    assert [line.split()[1:3] for line in told] == [["h11", "0.14.0"]] + [["pillow", "12.0.0"]] * 3
    assert check.installed({"pillow": "12.3.0", "other": "1"}, listed) == []


def test_an_old_list_is_not_believed(check) -> None:
    date = datetime.date(2026, 1, 1)
    assert check.outdated(date, date + datetime.timedelta(days=90)) == []
    (told,) = check.outdated(date, date + datetime.timedelta(days=91))
    assert "renew it" in told


def test_what_is_accepted_has_a_reason(check, listed) -> None:
    assert all(len(a.accepted) > 40 for a in listed if a.accepted)
    assert len({(a.package, a.name) for a in listed}) == len(listed)
