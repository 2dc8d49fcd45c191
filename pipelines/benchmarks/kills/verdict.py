"""Whether anything half-written was loaded, from everything that was seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.benchmarks.kills.asking import Answer
from pipelines.benchmarks.kills.killing import Part

TOLERANCE = 1e-5  # of a score


@dataclasses.dataclass(frozen=True)
class Seen:
    """What was seen from beginning to end.

    Attributes:
      answers: To every request.
      expected: The scores of every whole version, undisturbed, in the order of the request.
      served: Versions that a server loaded by its log or called AVAILABLE in its status.
      deaths: From when to when there was no server.
      parts: What came of the kills.
    """

    answers: Sequence[Answer]
    expected: Mapping[int, np.ndarray]
    served: frozenset[int]
    deaths: Sequence[tuple[float, float]]
    parts: Sequence[Part]


def judge(seen: Seen) -> list[tuple[bool, str]]:
    """Each thing that has to hold: whether it does, and what it is."""
    good = [a for a in seen.answers if not a.error]
    failed = [a for a in seen.answers if a.error and not _excused(a, seen.deaths)]
    partial = sorted(seen.served - set(seen.expected))
    strays = sorted({a.version for a in good} - set(seen.expected))
    off = max((_off(a, seen.expected) for a in good), default=float("inf"))
    first = f", the first: {failed[0].error}" if failed else ""
    checks = [
        (not partial, f"no version was loaded that is not whole{_listed(partial)}"),
        (
            bool(good) and not strays,
            f"{len(good)} answers, each of a whole version{_listed(strays)}",
        ),
        (
            off <= TOLERANCE,
            f"scores within {TOLERANCE:g} of their version's; at most {off:.1e} off",
        ),
        (not failed, f"no request failed while there was a server: {len(failed)} did{first}"),
    ]
    for part in seen.parts:
        cut = [f"loaded {n}, which is not whole" for n in part.loaded if n not in seen.expected]
        problems = [*part.problems, *cut]
        told = "; ".join(problems) or "nothing half-written was taken for whole"
        kills = f"{part.kills} of {part.wanted} kills"
        held = part.kills == part.wanted and not problems
        checks.append((held, f"{part.name}: {kills}; {told}"))
    return checks


def table(parts: Sequence[Part]) -> str:
    """What was killed, how often, what it left, and what was loaded meanwhile."""
    lines = [f"{'killed':20}{'kills':>6}{'left partial':>14}  loaded versions"]
    for part in parts:
        loaded = " ".join(map(str, part.loaded)) or "-"
        lines.append(f"{part.name:20}{part.kills:6}{part.left:14}  {loaded}")
    return "\n".join(lines)


def _excused(answer: Answer, deaths: Sequence[tuple[float, float]]) -> bool:
    """Whether a request was cut off because the server was dead."""
    return answer.cut and any(answer.end >= start and answer.start <= end for start, end in deaths)


def _off(answer: Answer, expected: Mapping[int, np.ndarray]) -> float:
    """The largest distance of an answer's scores from those of its version."""
    scores = expected.get(answer.version)
    if scores is None or len(scores) != len(answer.scores):
        return float("inf")
    off = float(np.abs(scores - np.array(answer.scores)).max())
    return off if off == off else float("inf")


def _listed(numbers: Sequence[int]) -> str:
    return f"; not whole: {', '.join(map(str, numbers))}" if numbers else ""
