"""Whether setup.cfg admits a version with a known hole, or one is installed: no network needed.

`python .ci/check_advisories.py` compares the lower bounds of setup.cfg, and with --installed what
is installed here, with .ci/advisories.yaml. It ends with 1 and a line for each that is affected.
"""

from __future__ import annotations

import argparse
import configparser
import dataclasses
import datetime
import importlib.metadata
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

CI = pathlib.Path(__file__).resolve().parent
LONGEST = datetime.timedelta(days=90)  # for which a list is believed


@dataclasses.dataclass(frozen=True)
class Advisory:
    """A hole of a package.

    Attributes:
      package: Its canonical name.
      name: The advisory's.
      affected: The versions, as any of several specifiers.
      what: What it is, in a few words.
      accepted: Why it may stay; empty for one that may not.
    """

    package: str
    name: str
    affected: tuple[SpecifierSet, ...]
    what: str
    accepted: str = ""

    def hits(self, version: Version) -> bool:
        """Whether a version has the hole."""
        return any(s.contains(version, prereleases=True) for s in self.affected)


def read_advisories(file: pathlib.Path) -> tuple[datetime.date, tuple[Advisory, ...]]:
    """The date of a list, and what it holds."""
    plain = yaml.safe_load(file.read_text(encoding="utf-8"))
    read = []
    for entry in plain["advisories"]:
        ranges = entry["affected"]
        ranges = [ranges] if isinstance(ranges, str) else ranges
        read.append(
            Advisory(
                canonicalize_name(entry["package"]),
                entry["id"],
                tuple(map(SpecifierSet, ranges)),
                entry["what"],
                entry.get("accepted", ""),
            )
        )
    return plain["date"], tuple(read)


def requirements(file: pathlib.Path) -> Iterator[Requirement]:
    """Everything that a setup.cfg asks for, in any extra."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(file, encoding="utf-8")
    texts = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    for line in "\n".join(texts).splitlines():
        line = line.split("#")[0].strip()
        if line and not line.startswith("%("):  # another extra
            yield Requirement(line)


def lowest(requirement: Requirement) -> Version | None:
    """The lowest version that a requirement admits; None for one without a lower bound."""
    bounds = [Version(s.version) for s in requirement.specifier if s.operator in (">=", "==", "~=")]
    return max(bounds, default=None)


def admitted(wanted: Iterator[Requirement], advisories: Sequence[Advisory]) -> list[str]:
    """A line for each bound below which there is a hole.

    Args:
      wanted: What is asked for.
      advisories: The known holes.
    """
    found = []
    for requirement in wanted:
        name, low = canonicalize_name(requirement.name), lowest(requirement)
        known = [a for a in advisories if a.package == name and not a.accepted]
        if low is None and known:
            found.append(f"setup.cfg: {requirement}: no lower bound, and {known[0].name} is known")
        found += [
            f"setup.cfg: {requirement}: admits {low}, which has {a.name} ({a.what})"
            for a in known
            if low is not None and _admits(requirement, a, low)
        ]
    return found


def _admits(requirement: Requirement, advisory: Advisory, low: Version) -> bool:
    """Whether a requirement lets in a version that is affected: its lowest, or a range's lowest."""
    ends = [Version(s.version) for r in advisory.affected for s in r if s.operator == ">="]
    return any(
        advisory.hits(v) and requirement.specifier.contains(v, prereleases=True)
        for v in (low, *ends)
    )


def installed(versions: Mapping[str, str], advisories: Sequence[Advisory]) -> list[str]:
    """A line for each installed package with a hole.

    Args:
      versions: By name.
      advisories: The known holes.
    """
    by_name = {canonicalize_name(n): Version(v) for n, v in versions.items()}
    return [
        f"installed: {a.package} {by_name[a.package]} has {a.name} ({a.what})"
        for a in advisories
        if a.package in by_name and not a.accepted and a.hits(by_name[a.package])
    ]


def outdated(date: datetime.date, today: datetime.date) -> list[str]:
    """A line for a list that is too old to be believed."""
    if today - date <= LONGEST:
        return []
    return [f"advisories.yaml: of {date}, more than {LONGEST.days} days old; renew it as it says"]


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 without a hole, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--installed", action="store_true", help="also what is installed here")
    args = parser.parse_args(argv)
    date, advisories = read_advisories(CI / "advisories.yaml")
    # A warning, not a failure: what passed yesterday does not fail today without a change.
    for line in outdated(date, datetime.date.today()):
        print(f"warning: {line}")
    found = admitted(requirements(CI.parent / "setup.cfg"), advisories)
    if args.installed:
        here = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
        found += installed(here, advisories)
    for line in found:
        print(line)
    if not found:
        print(f"no known hole among {len(advisories)} advisories of {date}")
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
