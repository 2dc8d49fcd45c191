"""The check against known vulnerabilities: bounds, installed versions, and the age of the list."""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Callable
from types import ModuleType

import pytest
from packaging.requirements import Requirement

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def check(load_ci_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_ci_script("check_advisories")


@pytest.fixture(scope="module")
def listed(check) -> tuple:
    return check.read_advisories(ROOT / ".ci" / "advisories.yaml")[1]


def test_no_bound_admits_a_known_vulnerability(check, listed) -> None:
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
        ("protobuf>=4.25.8,<5", []),  # accepted, with a reason
        ("scipy==1.9.3; python_version < '3'", ["CVE-2023-25399"]),
        ("unheard-of", []),
    ],
)
def test_bounds_that_admit_a_vulnerability_are_found(
    check, listed, requirement: str, holes: list[str]
) -> None:
    actual = check.admitted(iter([Requirement(requirement)]), listed)
    assert len(actual) == len(holes)
    for line, hole in zip(actual, holes, strict=True):
        assert hole in line
        assert line.startswith("setup.cfg: ")


def test_installed_versions_with_a_vulnerability_are_found(check, listed) -> None:
    versions = {"Pillow": "12.0.0", "PyYAML": "6.0.2", "h11": "0.14.0", "protobuf": "4.25.9"}
    actual = check.installed(versions, listed)
    assert [line.split()[1:3] for line in actual] == [["h11", "0.14.0"]] + [
        ["pillow", "12.0.0"]
    ] * 3
    assert check.installed({"pillow": "12.3.0", "other": "1"}, listed) == []


def test_an_outdated_list_is_refused(check) -> None:
    date = datetime.date(2026, 1, 1)
    assert check.outdated(date, date + datetime.timedelta(days=90)) == []
    (actual,) = check.outdated(date, date + datetime.timedelta(days=91))
    assert "renew it" in actual


def test_accepted_advisories_need_a_reason(check, listed) -> None:
    assert all(len(a.accepted) > 40 for a in listed if a.accepted)
    assert len({(a.package, a.name) for a in listed}) == len(listed)
