"""A Beam job run from a command line: its flags, its runner, and errors for the user to fix."""

from __future__ import annotations

import json
import logging
import pathlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import pandas as pd
from apache_beam.options.pipeline_options import PipelineOptions

from mmrank.data.shards import whole_shard
from mmrank.data.tables import DataError
from mmrank.outputs import UserError
from pipelines.beam.pieces import Piece

REFUSED, MAIN = "refused", "main"
COUNTERS = "mmrank"
BROKEN_MEDIA, SHORT_PAGES = "media files missing or broken", "pages with fewer than two items"
SHOWN = 3
LOCAL = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


class Step(beam.DoFn):
    """A step of a job; a `UserError` in it ends the job, not the worker."""

    def process(self, element: Any, *side: Any) -> Iterator[Any]:
        try:
            yield from self.work(element, *side)
        except UserError as error:
            yield beam.pvalue.TaggedOutput(REFUSED, str(error))

    def work(self, element: Any, *side: Any) -> Iterator[Any]:
        """Yields the results for an element."""
        raise NotImplementedError


class Job:
    """A pipeline being built, and the errors of its steps."""

    def __init__(self, pipeline: beam.Pipeline):
        self.pipeline = pipeline
        self._refused: list[Any] = []

    def do(self, label: str, elements: Any, step: Step, *side: Any) -> Any:
        """The results for some elements."""
        done = elements | label >> beam.ParDo(step, *side).with_outputs(REFUSED, main=MAIN)
        self._refused.append(done[REFUSED])
        return done[MAIN]

    def table(self, label: str, pieces: Sequence[Piece]) -> Any:
        """The rows of a table, one frame per piece."""
        spread = self.pipeline | f"{label} pieces" >> beam.Create(list(pieces))
        spread = spread | f"{label} to workers" >> beam.Reshuffle()
        return self.do(f"{label} rows", spread, ReadPiece())

    def report_refused(self, file: pathlib.Path) -> None:
        """Writes the first errors to a file, if there are any."""
        refused = self._refused | "refused by any step" >> beam.Flatten()
        first = refused | "refused first" >> beam.combiners.Top.Smallest(SHOWN)
        _ = first | "write refused" >> beam.Map(_write_refused, file)


class ReadPiece(Step):
    """The rows of a piece."""

    def work(self, piece: Piece) -> Iterator[pd.DataFrame]:
        yield piece.read()


def run_job(
    build: Callable[[Job], None],
    folder: pathlib.Path,
    flags: Sequence[str] = (),
    workers: int = 1,
    running: str | None = None,
) -> dict[str, int]:
    """Runs a pipeline to its end and returns the counters of its steps by name.

    Args:
      build: Adds the job's steps.
      folder: Folder for the errors; every worker must see it under this name.
      flags: Flags of Beam. Without a runner among them the job runs on this machine.
      workers: Processes on this machine.
      running: How several workers run, as Beam's `direct_running_mode`; processes by default.

    Raises:
      DataError: A step found an error, or a flag is unknown to Beam.
    """
    # Beam would interpret the annotations, which are for mypy.
    options = [*flags, "--no_pipeline_type_check"]
    if not any(flag.startswith("--runner") for flag in options):
        alone = "in_memory" if workers == 1 else "multi_processing"
        options += [
            f"--runner={LOCAL}",
            f"--direct_num_workers={workers}",
            f"--direct_running_mode={running or alone}",
        ]
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    file = folder / f"refused-{uuid.uuid4().hex}.json"
    try:
        with beam.Pipeline(options=PipelineOptions(options)) as pipeline:
            job = Job(pipeline)
            build(job)
            job.report_refused(file)
        if file.is_file():
            raise DataError(json.loads(file.read_text(encoding="utf-8"))[0])
        counters = pipeline.result.metrics().query()["counters"]
        return {c.key.metric.name: c.result for c in counters if c.key.metric.namespace == COUNTERS}
    finally:
        file.unlink(missing_ok=True)


def _write_refused(messages: list[str], file: pathlib.Path) -> None:
    if messages:
        text = json.dumps(messages)
        whole_shard(file.parent, file.name, lambda f: f.write_text(text, encoding="utf-8"))
