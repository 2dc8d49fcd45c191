"""Grows the trees whose scores a network reads; in training it reads out-of-fold scores."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mmrank.build import build_model
from mmrank.config import TREES_FILE, Config
from mmrank.data.batches import Batches
from mmrank.data.kinds import kind_of
from mmrank.data.runs import run_starts
from mmrank.data.tables import DataError, Dataset
from mmrank.features import Features
from mmrank.models import TREE_SCORE
from mmrank.scoring import ListScorer, traced_numbers
from mmrank.training.forest import as_part, gains_to_choose_by, growing
from mmrank.training.listwise import lists_with_a_gain, ndcg_by_list
from mmrank.training.sources import TrainingBatches
from mmrank.training.state import TrainingError
from mmrank.training.validation import figure_of
from mmrank.trees.part import Part
from mmrank.trees.stack import Stack, assign_folds, grow_stack, in_chunks

logger = logging.getLogger(__name__)


def trees_ahead(
    config: Config,
    dataset: Dataset,
    features: Features,
    items: Mapping[str, np.ndarray],
    run: pathlib.Path,
    begun: bool = False,
) -> tuple[Stack, np.ndarray]:
    """Returns the trees, and their scores [rows] float32 of the training lists.

    A training list is scored by trees that were grown without this list and without other lists of
    its query. The trees are saved as RUN/trees.json. A resumed run loads them from this file.

    Args:
      config: The config of a stacked run.
      dataset: The run's dataset. Loss, depth and number of trees are chosen by the validation
        lists; the test lists are not used.
      features: Fitted features.
      items: The item arrays of the dataset's catalogue.
      run: The run's folder.
      begun: Whether a network has already been trained with the trees.

    Raises:
      DataError: No validation list has candidates of different grades, or there are fewer queries
        than folds.
      MissingExtra, UserError: As for `grow`.
      TrainingError: The run was begun and its trees are missing, or they were grown on other lists.
    """
    file = run / TREES_FILE
    model = build_model(config, features)
    scorer = ListScorer(
        model, config.training.batch_lists, config.data.buckets, encode=traced_numbers(model)
    )
    rows = dataset.rows("train")
    train = as_part(model, scorer, features.arrays(dataset, rows, items))
    if file.is_file():
        stack = Stack.load(file)
    elif begun:
        raise TrainingError(
            f"{file}: missing, so the run cannot continue; restore it, or start a new run"
        )
    else:
        valid_arrays = features.arrays(dataset, dataset.rows("valid"), items)
        valid = as_part(model, scorer, valid_arrays)
        gains_to_choose_by(valid)
        trees = config.model.trees
        try:
            parts = assign_folds(
                query_keys(dataset, rows), np.diff(train.offsets), trees.folds, config.seed
            )
        except ValueError as error:
            raise DataError(
                f"{dataset.folder}: {error} of training lists; lower model.trees.folds"
            ) from error
        logger.info("growing trees on %d numbers of %d rows", *train.features.shape[::-1])
        figure = figure_of(config, valid_arrays)
        names = model.plain_names
        stack = grow_stack(train, valid, figure, names, parts, **growing(trees), seed=config.seed)
        _log_stack(stack, train, valid)
        stack.save(file)
    try:
        scores = stack.out_of_fold(train.features, train.offsets)
    except ValueError as error:
        raise TrainingError(f"{file}: {error}; start a new run with another --out") from error
    return stack, scores


def query_keys(dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """Returns a key for the query of each list, [lists] of str, the same for equal queries.

    Queries are equal if their texts are equal, ignoring case and white space. If the schema has no
    query text, all features of the query are compared. A list without a query has a key of its own.

    Args:
      dataset: The dataset.
      rows: Rows of the dataset's lists; the rows of a list are consecutive.
    """
    lists = dataset.schema.lists.list
    first = rows.iloc[run_starts(rows[lists].to_numpy())]
    features = dataset.schema.side("query")
    chosen = [f for f in features if kind_of(f.kind).typed] or features
    columns = [first[f.column].map(_as_text) for f in chosen]
    own = [f"list {name}" for name in first[lists]]
    asked = ["\x1f".join(values) for values in zip(*columns, strict=True)] if columns else own
    return np.array(
        ["query " + a if a.strip("\x1f") else o for a, o in zip(asked, own, strict=True)]
    )


def _as_text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list) and pd.isna(value):
        return ""
    return " ".join(str(value).casefold().split())


def with_tree_scores(batches: TrainingBatches, scores: np.ndarray) -> Batches:
    """Returns the batches with the trees' scores of the training rows, as `tree_score` [B, L].

    Args:
      batches: Batches of the training lists.
      scores: The trees' scores, [rows].
    """
    assert isinstance(batches, Batches)
    arrays = batches.arrays
    pairs = {**arrays.pairs, TREE_SCORE: scores}
    return dataclasses.replace(batches, arrays=dataclasses.replace(arrays, pairs=pairs))


def _log_stack(stack: Stack, train: Part, valid: Part) -> None:
    """Logs the quality and spread of the trees' scores in training and on validation lists."""
    of = {
        "out-of-fold, training": (train, stack.out_of_fold(train.features, train.offsets)),
        "all forests, validation": (valid, in_chunks(stack.forest, valid.features)),
    }
    for name, (part, scores) in of.items():
        gains = np.exp2(part.grades.astype(np.float64)) - 1.0
        lists = lists_with_a_gain(part.offsets, gains)
        if not lists:
            continue
        inside = np.concatenate([scores[r] - scores[r].mean() for r in lists])
        reached = ndcg_by_list(scores, gains, lists).mean()
        logger.info("trees %s: NDCG@10 %.4f, spread %.2f", name, reached, inside.std())
