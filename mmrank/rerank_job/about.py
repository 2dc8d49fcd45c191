"""What a policy that learned from pages of a ranker has to be given."""

from __future__ import annotations

import pathlib

from mmrank.rerank_job.source import Source
from mmrank.reranking.columns import PageColumns
from mmrank.reranking.trained import About
from mmrank.serving.fingerprint import item_fingerprint
from mmrank.trained_run import Run

__all__ = ["about_of_ranker", "print_next"]


def about_of_ranker(run: Run, columns: PageColumns, width: int) -> About:
    """Returns what a policy for pages of a ranker has to be given.

    Args:
      run: The ranker.
      columns: The features and tasks of the config.
      width: Width of the vectors.

    Raises:
      ConfigError: A column that was named does not exist.
    """
    tasks = () if run.outputs is None else run.outputs.names
    known = columns.of_ranker(run.fitted.schema, tasks)
    return About(width, known, item_fingerprint(run.model, run.fitted))


def print_next(source: Source, out: pathlib.Path) -> None:
    """Prints the command that exports the policy, if it is one of a ranker."""
    if source.run is not None:
        print(f"\nnext: python -m mmrank.export --run {source.run} --policy {out}")
