"""The pages that a policy learns from and is compared on, of a trained ranker."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmrank.config import ConfigError
from mmrank.data.tables import DataError, Dataset
from mmrank.reranking.columns import PageColumns
from mmrank.reranking.page import Page
from mmrank.reranking.ranked_pages import ranked_pages
from mmrank.reranking.shop_truth import ShopTruth
from mmrank.trained_run import Run

__all__ = ["RankerPages", "pages_of_ranker"]


@dataclasses.dataclass(frozen=True)
class RankerPages:
    """Pages of a ranker.

    Attributes:
      train: Pages of the training lists.
      test: Pages of the test lists.
      columns: What a policy sees of their candidates.
    """

    train: Sequence[Page]
    test: Sequence[Page]
    columns: PageColumns

    def draw(self, rng: np.random.Generator) -> Page:
        """Returns a page of the training lists."""
        return self.train[int(rng.integers(len(self.train)))]


def pages_of_ranker(
    run: Run, dataset: Dataset, columns: PageColumns, size: int, most_test: int
) -> RankerPages:
    """Returns the pages of a ranker's training and test lists.

    What users do with a candidate is that of the simulated shop, if the dataset is one; otherwise
    it is what the ranker predicts, which takes a task of clicks.

    Args:
      run: The ranker.
      dataset: Its dataset, or another one of its schema.
      columns: What the policy shall see.
      size: Most candidates of a page.
      most_test: Most test pages.

    Raises:
      ConfigError: A column does not exist, or the ranker does not predict clicks.
      DataError: There are no training or no test lists of two candidates.
    """
    tasks = () if run.outputs is None else run.outputs.names
    known = columns.of_ranker(run.fitted.schema, tasks)
    truth = ShopTruth.of(dataset)
    if truth is None and not known.click:
        raise ConfigError(
            f"{run.folder}: the ranker has no task of clicks, so that nothing says what users do "
            "on a page; train with training.tasks, or learn from shown pages with --log"
        )
    found = {}
    for split in ("train", "test"):
        rows = dataset.rows(split)
        pages = ranked_pages(run, dataset, rows, known, size, truth) if len(rows) else []
        found[split] = [page for page in pages if page.size > 1]
        if not found[split]:
            raise DataError(f"{dataset.folder}: no {split} list has two candidates")
    return RankerPages(found["train"], found["test"][:most_test], known)
