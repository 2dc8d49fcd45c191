"""Kills in the middle of an export, and of a copy of one into the folder that is served."""

from __future__ import annotations

import pathlib
import random
import time

from mmrank.serving.versions import versions
from pipelines.benchmarks.kills.copying import AS_LISTED, LIST_FIRST, LIST_LAST, SHUFFLED
from pipelines.benchmarks.kills.killing import Part, finished, killed, moment, python
from pipelines.benchmarks.kills.stage import Stage

# The list last: a copy killed late then holds all that TensorFlow reads, and not yet its list.
COPIES = (LIST_LAST, AS_LISTED, LIST_FIRST, SHUFFLED)
COPY_SECONDS = 3.0
LATE = 0.6  # of the time of a copy, from which on one with the list last is killed
LOOKED, SETTLED = 10.0, 1.0  # seconds in which the server looks at what is left, and then again
HIDDEN = ".partial-*"
END = "END"


def first_export(stage: Stage, run: pathlib.Path, data: pathlib.Path) -> float:
    """Seconds from the hidden folder of an undisturbed export to its number, which is 1."""

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
    """What came of exports killed while their hidden folder was there, and of one let finish.

    Args:
      stage: A server runs on it.
      run, data: The run to export, and its dataset.
      seconds: That the hidden folder of an undisturbed export is there.
      rounds: Kills.
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
            time.sleep(SETTLED)  # for the server to look at it
    new = _finish(stage, run, data)
    _take(stage, part, new)
    if len(new) != 1 or not stage.switches(max(new)):
        part.problems.append(f"the export let finish made {sorted(new)}, which does not answer")
    if _hidden(stage):
        part.problems.append(f"the export let finish did not remove {len(_hidden(stage))} folders")
    part.loaded = [n for n, _ in stage.loads()[loaded:]]
    return part


def kill_copies(stage: Stage, export: pathlib.Path, rounds: int, draw: random.Random) -> Part:
    """What came of copies killed in the open, each into a number of its own, and of one whole.

    Args:
      stage: A server runs on it.
      export: What is copied.
      rounds: Kills.
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
        part.problems.append(f"version {number} was copied to the end, and is not whole")
    if not stage.switches(number):
        part.problems.append(f"version {number} was copied to the end, and does not answer")
    part.loaded = [n for n, _ in stage.loads()[loaded:]]
    return part


def cut_copy(
    stage: Stage, export: pathlib.Path, kill: int, rounds: int, draw: random.Random
) -> int | None:
    """The number of a copy that was killed in the middle; None if it came to its end.

    Args:
      stage: Where to.
      export: What is copied.
      kill: The number of the kill; it chooses the order of the files.
      rounds: Kills in all.
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
    told = ["--source", export, "--target", target, "--order", order, "--seed", seed]
    return python("pipelines.benchmarks.kills.copying", *told, "--seconds", COPY_SECONDS)


def _hidden(stage: Stage) -> set[pathlib.Path]:
    return set(stage.models.glob(HIDDEN))


def _take(stage: Stage, part: Part, new: set[int]) -> None:
    """Notes versions that an export made, which have to be whole."""
    for number in new:
        if stage.is_whole(number):
            stage.whole[number] = stage.models / str(number)
        else:
            part.problems.append(f"version {number} is there, and is not whole")


def _finish(stage: Stage, run: pathlib.Path, data: pathlib.Path) -> set[int]:
    """The versions that an export makes which is let finish."""
    before = set(versions(stage.models))
    finished(_export(stage, run, data), stage.log, lambda: True, lambda: False)
    return set(versions(stage.models)) - before
