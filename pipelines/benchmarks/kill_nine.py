"""SIGKILL during exports, copies, loads and embedding jobs, while a server gets requests."""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import random
import sys
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmrank.config import ConfigError
from mmrank.outputs import InputError, exit_code, log_progress, refuse_filled, require_extra
from pipelines.beam.arguments import positive
from pipelines.benchmarks.kills.verdict import Seen, judge, table

if TYPE_CHECKING:
    from mmrank.data.tables import Dataset
    from mmrank.trained_run import Run

CANDIDATES = 20
CHANGE = 0.3  # relative change of a weight
DIFFERS = 1e-3  # least difference of scores that distinguishes two exports
EXAMPLE = """example:
  python -m pipelines.benchmarks.kill_nine --run runs/quickstart-1 --rounds 3

Exports the run, serves the export, and requests the same ranking continuously. Meanwhile it kills,
each --rounds times at random moments: exports while their hidden folder exists; copies of another
export into the served folder; embedding jobs; and the server while it loads. In the end each of
them may finish. Exit code 0: every answer came from a complete version, with its scores; requests
failed only while the server was dead; and the resumed embedding job wrote the same files as an
undisturbed one. Exit code 1: otherwise. Nothing is written into the run.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 passed, 1 not, 2 for wrong input.

    Args:
      argv: The arguments; those of the process by default.
    """
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    for module, extra in (
        ("starlette", "serving"),
        ("uvicorn", "serving"),
        ("apache_beam", "pipelines"),
    ):
        require_extra("kill_nine", module, extra)
    settings = _settings(args.set)
    if not args.run.is_dir():
        raise InputError(f"--run: {args.run}: no such folder; train a run with mmrank.train")
    if args.keep is not None:
        refuse_filled(args.keep)
    # TensorFlow takes seconds to import, so wrong input is reported first.
    from mmrank.data.tables import load_dataset
    from mmrank.trained_run import load_run
    from pipelines.benchmarks.kills.stage import ServerDied

    run = load_run(args.run)
    data = run.data if args.data is None else args.data
    if not data.is_dir():
        raise InputError(f"{data}: no such folder; give the run's dataset with --data")
    with contextlib.ExitStack() as stack:
        folder = args.keep
        if folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mmrank-kills-"))
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            seen = watch(run, load_dataset(data), folder, args.rounds, args.seed, settings)
        except ServerDied as error:
            print(f"FAILED  {error}")
            return 1
    print(table(seen.parts))
    checks = judge(seen)
    for held, words in checks:
        print(f"{'passed' if held else 'FAILED'}  {words}")
    return 0 if all(held for held, _ in checks) else 1


def watch(
    run: Run,
    dataset: Dataset,
    folder: pathlib.Path,
    rounds: int,
    seed: int,
    settings: dict[str, str],
) -> Seen:
    """Kills everything in turn and returns the observations.

    Args:
      run: The run to export.
      dataset: Dataset of the catalogue and of the request.
      folder: An empty folder.
      rounds: Number of kills of each kind.
      seed: Seed of the moments, the request, and the weights of the other export.
      settings: Settings of the server's config.
    """
    from mmrank.serving.card import read_card
    from pipelines.benchmarks.kills.embeddings import kill_embeddings
    from pipelines.benchmarks.kills.exports import first_export, kill_copies, kill_exports
    from pipelines.benchmarks.kills.servers import kill_servers
    from pipelines.benchmarks.kills.stage import Stage, request_body
    from pipelines.benchmarks.serving_ways import Lists

    draw = random.Random(seed)
    other = other_export(run, dataset, folder / "other", seed)
    lists = Lists.draw(read_card(other), dataset, CANDIDATES, seed)
    asked = lists.asked(0)
    stage = Stage(folder, request_body(asked, lists.items), settings)
    _print_step("making an undisturbed export")
    seconds = first_export(stage, run.folder, dataset.folder)
    export = stage.models / "1"
    scores = {path: reference_scores(path, asked, lists.items) for path in (export, other)}
    if np.abs(scores[export] - scores[other]).max() < DIFFERS:
        raise InputError(f"--run {run.folder}: other weights give the same scores")
    with stage.serving():
        _print_step(f"killing exports in their last {seconds:.1f} s")
        parts = [kill_exports(stage, run.folder, dataset.folder, seconds, rounds, draw)]
        _print_step("killing copies")
        parts.append(kill_copies(stage, other, rounds, draw))
        _print_step("killing embedding jobs")
        items = len(dataset.item_ids)
        jobs = kill_embeddings(export, dataset.folder, items, folder, rounds, draw)
    _print_step("killing servers")
    parts += [kill_servers(stage, other, rounds, draw), jobs]
    for path in set(stage.whole.values()) - set(scores):
        scores[path] = reference_scores(path, asked, lists.items)
    return Seen(
        stage.asker.answers,
        {number: scores[path] for number, path in stage.whole.items()},
        frozenset(stage.asker.available | {number for number, _ in stage.loads()}),
        stage.deaths,
        parts,
    )


def other_export(run: Run, dataset: Dataset, out: pathlib.Path, seed: int) -> pathlib.Path:
    """The folder of an export of the same run with other weights and therefore other scores."""
    from mmrank.serving.export import export_run

    generator = np.random.default_rng(seed)
    for weight in run.model.network.trainable_weights:
        factors = 1 + CHANGE * generator.normal(size=weight.shape)
        weight.assign(weight * factors.astype(weight.dtype.as_numpy_dtype))
    return export_run(run, out, dataset)


def reference_scores(export: pathlib.Path, asked: dict[str, Any], items: list[str]) -> np.ndarray:
    """Scores [candidates] of an export, in this process; its checksums are verified first."""
    from mmrank.serving.ranker import Ranker

    return Ranker.load(export, verify=True).scores(candidates=items, **asked)


def _settings(given: Sequence[str]) -> dict[str, str]:
    """Settings such as a.b=c by name."""
    pairs = [text.partition("=") for text in given]
    for name, sign, _ in pairs:
        if not name or not sign:
            raise ConfigError(f"--set {name}: must be A.B=C")
    return {name: value for name, _, value in pairs}


def _print_step(line: str) -> None:
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.kill_nine",
        description="Kills exports, copies, jobs and servers, and checks what is served.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    path = pathlib.Path
    parser.add_argument("--run", type=path, required=True, help="folder of a trained run")
    parser.add_argument("--data", type=path, help="dataset of the run (default: the run's own)")
    parser.add_argument("--rounds", type=positive, default=3, help="kills per kind (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (%(default)s)")
    parser.add_argument(
        "--keep", type=path, metavar="DIR", help="work in this new folder, and keep it"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="server config value"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
