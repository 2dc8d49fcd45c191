"""Kills of the server while it loads a version."""

from __future__ import annotations

import pathlib
import random
import time

from pipelines.benchmarks.kills.asking import AVAILABLE
from pipelines.benchmarks.kills.exports import cut_copy
from pipelines.benchmarks.kills.killing import Part, moment
from pipelines.benchmarks.kills.stage import Stage

LOADING = frozenset({"START", "LOADING"})


def kill_servers(stage: Stage, export: pathlib.Path, rounds: int, draw: random.Random) -> Part:
    """Kills servers while they load, and checks the servers that are started afterwards.

    In addition to the version that was being loaded, each finds an incomplete copy of another.

    Args:
      stage: The stage, on which no server runs.
      export: The export that is added as a new version.
      rounds: Number of kills.
      draw: Chooses the moments.
    """
    part = Part("server that loads", rounds)
    before, cut, newest = len(stage.loads()), None, max(stage.whole)
    for kill in part.rounds():
        with stage.serving() as server:
            _check_restart(stage, part, newest, cut)
            newest = stage.publish(export)
            stage.comes_to(newest, {*LOADING, AVAILABLE})
            time.sleep(moment(draw, kill, rounds, 0.9 * stage.loads()[-1][1]))
            state = stage.state(newest)
            stage.kill(server)
        if state in LOADING and newest not in [n for n, _ in stage.loads()]:
            part.kills += 1
        cut = cut_copy(stage, export, kill, rounds, draw)
        if cut is None:
            newest = max(stage.whole)
        else:
            part.left += 1
    with stage.serving():
        _check_restart(stage, part, newest, cut)
    part.loaded = [n for n, _ in stage.loads()[before:]]
    return part


def _check_restart(stage: Stage, part: Part, newest: int, cut: int | None) -> None:
    """Records what a server wrongly serves after its start; removes the incomplete copy."""
    available = {n for n, (state, _) in stage.states().items() if state == AVAILABLE}
    if available != {newest}:
        part.problems.append(f"after a restart {sorted(available)} serve, not only {newest}")
    elif not stage.switches(newest):
        part.problems.append(f"after a restart version {newest} does not answer")
    if cut is not None:
        stage.remove(cut)
