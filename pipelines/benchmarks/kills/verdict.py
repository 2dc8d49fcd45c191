"""Decides from all observations whether anything incomplete was loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.benchmarks.kills.asking import Answer
from pipelines.benchmarks.kills.killing import Part

TOLERANCE = 1e-5  # largest difference of a score


@dataclasses.dataclass(frozen=True)
class Seen:
    """All observations.

    Attributes:
      answers: Answers to all requests.
      expected: The undisturbed scores of every complete version, in the order of the request.
      served: Versions that a server loaded by its log or reported as AVAILABLE.
      deaths: Start and end of each time without a server.
      parts: The results of the kills.
    """

    answers: Sequence[Answer]
    expected: Mapping[int, np.ndarray]
    served: frozenset[int]
    deaths: Sequence[tuple[float, float]]
    parts: Sequence[Part]


def judge(seen: Seen) -> list[tuple[bool, str]]:
    """Each requirement: whether it holds, and its description."""
    good = [a for a in seen.answers if not a.error]
    failed = [a for a in seen.answers if a.error and not _is_excusable(a, seen.deaths)]
    partial = sorted(seen.served - set(seen.expected))
    unexpected = sorted({a.version for a in good} - set(seen.expected))
    off = max((_off(a, seen.expected) for a in good), default=float("inf"))
    first = f", the first: {failed[0].error}" if failed else ""
    checks = [
        (not partial, f"every loaded version is complete{_listed(partial)}"),
        (
            bool(good) and not unexpected,
            f"{len(good)} answers, each from a complete version{_listed(unexpected)}",
        ),
        (
            off <= TOLERANCE,
            f"scores within {TOLERANCE:g} of their version's; largest difference {off:.1e}",
        ),
        (not failed, f"no request failed while a server ran: {len(failed)} did{first}"),
    ]
    for part in seen.parts:
        cut = [f"loaded {n}, which is not complete" for n in part.loaded if n not in seen.expected]
        problems = [*part.problems, *cut]
        text = "; ".join(problems) or "no incomplete version was accepted"
        kills = f"{part.kills} of {part.wanted} kills"
        held = part.kills == part.wanted and not problems
        checks.append((held, f"{part.name}: {kills}; {text}"))
    return checks


def table(parts: Sequence[Part]) -> str:
    """The kills of each kind, what they left behind, and what was loaded meanwhile."""
    lines = [f"{'killed':20}{'kills':>6}{'left partial':>14}  loaded versions"]
    for part in parts:
        loaded = " ".join(map(str, part.loaded)) or "-"
        lines.append(f"{part.name:20}{part.kills:6}{part.left:14}  {loaded}")
    return "\n".join(lines)


def _is_excusable(answer: Answer, deaths: Sequence[tuple[float, float]]) -> bool:
    """Whether a request failed because the server was dead."""
    return answer.cut and any(answer.end >= start and answer.start <= end for start, end in deaths)


def _off(answer: Answer, expected: Mapping[int, np.ndarray]) -> float:
    """The largest difference between an answer's scores and those of its version."""
    scores = expected.get(answer.version)
    if scores is None or len(scores) != len(answer.scores):
        return float("inf")
    off = float(np.abs(scores - np.array(answer.scores)).max())
    return off if off == off else float("inf")


def _listed(numbers: Sequence[int]) -> str:
    return f"; not complete: {', '.join(map(str, numbers))}" if numbers else ""
