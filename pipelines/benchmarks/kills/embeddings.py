"""Kills in the middle of a job that computes item vectors."""

from __future__ import annotations

import pathlib
import random
import shutil

from mmrank.data.shards import MANIFEST, PARTIAL
from mmrank.data.tables import DataError
from mmrank.serving.computed import Computed
from pipelines.benchmarks.kills.killing import Part, finished, killed, moment, python
from pipelines.embed_catalog import PLAN

SHARDS, MOST_BATCH = 8, 128
SHARD_FILES = "items-*"


def kill_embeddings(
    export: pathlib.Path,
    data: pathlib.Path,
    items: int,
    folder: pathlib.Path,
    rounds: int,
    draw: random.Random,
) -> Part:
    """Kills a job repeatedly, lets it finish, and compares it with an undisturbed job.

    Args:
      export: The model.
      data: The dataset whose catalogue is encoded.
      items: Number of items of the catalogue.
      folder: Folder for the results of both jobs.
      rounds: Number of kills.
      draw: Chooses the moments.
    """
    part, log = Part("embedding job", rounds), folder / "embedding.log"
    alone, out = folder / "vectors", folder / "vectors-killed"
    flags = ["--shards", SHARDS, "--batch", max(1, min(MOST_BATCH, items // SHARDS))]

    def command(target: pathlib.Path) -> list[str]:
        paths = ["--export", export, "--data", data, "--out", target]
        return python("pipelines.embed_catalog", *paths, *flags)

    seconds = finished(command(alone), log, (alone / PLAN).is_file, (alone / MANIFEST).is_file)
    times = sorted(file.stat().st_mtime for file in alone.glob(SHARD_FILES))
    between = (times[-1] - times[0]) / len(times)
    for kill in part.rounds():
        if (out / MANIFEST).is_file():  # it finished before it was killed
            shutil.rmtree(out)
        fresh, there = not (out / PLAN).is_file(), _written(out)

        def began(fresh: bool = fresh, there: set[str] = there) -> bool:
            return (out / PLAN).is_file() if fresh else bool(_written(out) - there)

        # The first kill is between plan and manifest, later ones while shards are written.
        after = draw.random() * 0.9 * seconds if fresh else moment(draw, kill, rounds, between)
        was = killed(command(out), log, began, after)
        if not was or (out / MANIFEST).is_file():
            continue
        part.kills += 1
        part.left += 1
        try:
            Computed.open(out)
        except DataError:
            pass
        else:
            part.problems.append(f"{out.name} is readable although its job was killed")
    kept = _stamps(out)
    finished(command(out), log, lambda: True, lambda: False)
    if kept.items() - _stamps(out).items():
        part.problems.append("the job that finished wrote existing shards again")
    part.problems += [f"{out.name}: {problem}" for problem in differences(alone, out)]
    return part


def differences(alone: pathlib.Path, out: pathlib.Path) -> list[str]:
    """The differences, byte for byte, between two finished folders of vectors."""
    try:
        Computed.open(out)
    except DataError as error:
        return [str(error)]
    names = [MANIFEST, *sorted(_shards(alone) | _shards(out))]
    other = [name for name in names if not _same(alone, out, name)]
    found = [f"{name} differs from that of an undisturbed job" for name in other]
    return found + [f"{left.name} was left behind" for left in sorted(out.glob(f".*{PARTIAL}"))]


def _same(one: pathlib.Path, other: pathlib.Path, name: str) -> bool:
    files = one / name, other / name
    return all(f.is_file() for f in files) and files[0].read_bytes() == files[1].read_bytes()


def _written(folder: pathlib.Path) -> set[str]:
    """The existing shards, and those being written."""
    return _shards(folder) | {file.name for file in folder.glob(f".*{PARTIAL}")}


def _shards(folder: pathlib.Path) -> set[str]:
    return {file.name for file in folder.glob(SHARD_FILES)}


def _stamps(folder: pathlib.Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in folder.glob(SHARD_FILES)}
