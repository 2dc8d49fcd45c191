"""A Beam job from a command line: its flags, its runner, and errors that are the user's to mend."""

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
    """A step of a job; a `UserError` of it ends the job, not the worker."""

    def process(self, element: Any, *side: Any) -> Iterator[Any]:
        try:
            yield from self.work(element, *side)
        except UserError as error:
            yield beam.pvalue.TaggedOutput(REFUSED, str(error))

    def work(self, element: Any, *side: Any) -> Iterator[Any]:
        """What becomes of an element."""
        raise NotImplementedError


class Job:
    """A pipeline being built, and everything that its steps refuse."""

    def __init__(self, pipeline: beam.Pipeline):
        self.pipeline = pipeline
        self._refused: list[Any] = []

    def do(self, label: str, elements: Any, step: Step, *side: Any) -> Any:
        """What becomes of some elements."""
        done = elements | label >> beam.ParDo(step, *side).with_outputs(REFUSED, main=MAIN)
        self._refused.append(done[REFUSED])
        return done[MAIN]

    def table(self, label: str, pieces: Sequence[Piece]) -> Any:
        """The rows of a table, a frame a piece."""
        spread = self.pipeline | f"{label} pieces" >> beam.Create(list(pieces))
        spread = spread | f"{label} to workers" >> beam.Reshuffle()
        return self.do(f"{label} rows", spread, ReadPiece())

    def tell_refused(self, file: pathlib.Path) -> None:
        """Writes the first lines of what was refused to a file, if anything was."""
        refused = self._refused | "refused by any step" >> beam.Flatten()
        first = refused | "refused first" >> beam.combiners.Top.Smallest(SHOWN)
        _ = first | "tell refused" >> beam.Map(_write_refused, file)


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
    """Runs a pipeline to its end and returns what its steps counted, by name.

    Args:
      build: Adds the job's steps.
      folder: Where what was refused is written; every worker sees it under this name.
      flags: Of Beam. Without a runner among them it runs on this machine.
      workers: Of this machine.
      running: How several workers run, as Beam's `direct_running_mode`; processes unless given.

    Raises:
      DataError: A step refused something, or Beam does not know a flag.
    """
    # Beam would read the annotations, which say what mypy needs to know.
    told = [*flags, "--no_pipeline_type_check"]
    if not any(flag.startswith("--runner") for flag in told):
        alone = "in_memory" if workers == 1 else "multi_processing"
        told += [
            f"--runner={LOCAL}",
            f"--direct_num_workers={workers}",
            f"--direct_running_mode={running or alone}",
        ]
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    file = folder / f"refused-{uuid.uuid4().hex}.json"
    try:
        with beam.Pipeline(options=PipelineOptions(told)) as pipeline:
            job = Job(pipeline)
            build(job)
            job.tell_refused(file)
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
