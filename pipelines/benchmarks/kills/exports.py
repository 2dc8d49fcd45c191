"""Kills during an export, and during a copy of an export into the served folder."""

from __future__ import annotations

import pathlib
import random
import time

from mmrank.serving.versions import versions
from pipelines.benchmarks.kills.copying import AS_LISTED, LIST_FIRST, LIST_LAST, SHUFFLED
from pipelines.benchmarks.kills.killing import Part, finished, killed, moment, python
from pipelines.benchmarks.kills.stage import Stage

# The list of checksums last: a copy killed late then has all that TensorFlow reads, but no list.
COPIES = (LIST_LAST, AS_LISTED, LIST_FIRST, SHUFFLED)
COPY_SECONDS = 3.0
LATE = 0.6  # part of a copy's time after which a copy with the list last is killed
LOOKED, SETTLED = 10.0, 1.0  # seconds for the server to check the rest, and then again
HIDDEN = ".partial-*"
END = "END"


def first_export(stage: Stage, run: pathlib.Path, data: pathlib.Path) -> float:
    """Seconds from the hidden folder of an undisturbed export to its final folder, number 1."""

    def done() -> bool:
        return bool(versions(stage.models))

    seconds = finished(
        _export(stage, run, data), stage.log, lambda: done() or any(stage.models.glob(HIDDEN)), done
    )
    stage.whole[1] = stage.models / "1"
    return seconds


def kill_exports(
    stage: Stage,
    run: pathlib.Path,
    data: pathlib.Path,
    seconds: float,
    rounds: int,
    draw: random.Random,
) -> Part:
    """Kills exports while their hidden folder exists, then lets one finish.

    Args:
      stage: The stage, on which a server runs.
      run, data: The run to export, and its dataset.
      seconds: Seconds for which the hidden folder of an undisturbed export exists.
      rounds: Number of kills.
      draw: Chooses the moments.
    """
    part = Part("export", rounds)
    loaded = len(stage.loads())
    for number in part.rounds():
        before, hidden = set(versions(stage.models)), _hidden(stage)

        def began(hidden: set[pathlib.Path] = hidden) -> bool:
            return bool(_hidden(stage) - hidden)

        was = killed(
            _export(stage, run, data), stage.log, began, moment(draw, number, rounds, seconds)
        )
        new = set(versions(stage.models)) - before
        _take(stage, part, new)
        if was and not new:
            part.kills += 1
            part.left += len(_hidden(stage))
            time.sleep(SETTLED)  # for the server to check it
    new = _finish(stage, run, data)
    _take(stage, part, new)
    if len(new) != 1 or not stage.switches(max(new)):
        part.problems.append(f"the export that finished made {sorted(new)}, which does not answer")
    if _hidden(stage):
        part.problems.append(f"the finished export did not remove {len(_hidden(stage))} folders")
    part.loaded = [n for n, _ in stage.loads()[loaded:]]
    return part


def kill_copies(stage: Stage, export: pathlib.Path, rounds: int, draw: random.Random) -> Part:
    """Kills copies, each into a separate numbered folder, then lets one finish.

    Args:
      stage: The stage, on which a server runs.
      export: The export to copy.
      rounds: Number of kills.
      draw: Chooses the moments.
    """
    part = Part("copy of a version", rounds)
    loaded = len(stage.loads())
    for kill in part.rounds():
        number = cut_copy(stage, export, kill, rounds, draw)
        if number is None:
            continue
        part.kills += 1
        part.left += 1
        stage.comes_to(number, {END}, LOOKED)
        time.sleep(SETTLED)
        stage.remove(number)
    number = stage.number()
    stage.whole[number] = export
    finished(_copy(stage, export, number, AS_LISTED, 0), stage.log, lambda: True, lambda: False)
    if not stage.is_whole(number):
        part.problems.append(f"version {number} was copied to the end, but is not complete")
    if not stage.switches(number):
        part.problems.append(f"version {number} was copied to the end, but does not answer")
    part.loaded = [n for n, _ in stage.loads()[loaded:]]
    return part


def cut_copy(
    stage: Stage, export: pathlib.Path, kill: int, rounds: int, draw: random.Random
) -> int | None:
    """The number of a copy that was killed; None if it finished first.

    Args:
      stage: The stage to copy to.
      export: The export to copy.
      kill: The index of the kill, which selects the order of the files.
      rounds: Number of kills in all.
      draw: Chooses the moment.
    """
    number, order = stage.number(), COPIES[kill % len(COPIES)]
    seconds = moment(draw, kill, rounds, COPY_SECONDS)
    if order == LIST_LAST:
        seconds = COPY_SECONDS * (LATE + (1 - LATE) * seconds / COPY_SECONDS)
    began = (stage.models / str(number)).is_dir
    was = killed(_copy(stage, export, number, order, kill), stage.log, began, seconds)
    if was and not stage.is_whole(number):
        return number
    stage.whole[number] = export
    return None


def _export(stage: Stage, run: pathlib.Path, data: pathlib.Path) -> list[str]:
    return python("mmrank.export", "--run", run, "--data", data, "--out", stage.models)


def _copy(stage: Stage, export: pathlib.Path, number: int, order: str, seed: int) -> list[str]:
    target = stage.models / str(number)
    flags = ["--source", export, "--target", target, "--order", order, "--seed", seed]
    return python("pipelines.benchmarks.kills.copying", *flags, "--seconds", COPY_SECONDS)


def _hidden(stage: Stage) -> set[pathlib.Path]:
    return set(stage.models.glob(HIDDEN))


def _take(stage: Stage, part: Part, new: set[int]) -> None:
    """Records versions that an export made, which must be complete."""
    for number in new:
        if stage.is_whole(number):
            stage.whole[number] = stage.models / str(number)
        else:
            part.problems.append(f"version {number} exists, but is not complete")


def _finish(stage: Stage, run: pathlib.Path, data: pathlib.Path) -> set[int]:
    """Lets an export finish and returns the versions that it made."""
    before = set(versions(stage.models))
    finished(_export(stage, run, data), stage.log, lambda: True, lambda: False)
    return set(versions(stage.models)) - before
