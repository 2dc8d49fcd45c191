"""A ranker of numeric arrays with the interface of scikit-learn, trained as all runs are."""

from __future__ import annotations

import contextlib
import pathlib
import random
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from mmrank.build import build_features, build_model
from mmrank.config import Config, from_mapping
from mmrank.config_checks import check_config
from mmrank.data.numbering import number_lists
from mmrank.data.tables import Dataset
from mmrank.evaluation.metrics import per_list
from mmrank.schema import schema_from_dict
from mmrank.trained_run import Run
from mmrank.training.forest import add_trees
from mmrank.training.loop import train_run

PART = 32  # rows of a list that is drawn from rows without groups
PIECE = 64  # rows scored as one list, so that shapes, and with them the sums, are always the same
FEATURE = "x"
SCHEMA = schema_from_dict(
    {
        "name": "arrays",
        "lists": {"split": "split"},
        "features": [
            {"name": FEATURE, "kind": "vector", "side": "item"},
            {"name": "grade", "kind": "number", "side": "label"},
        ],
    }
)


class RankerEstimator(BaseEstimator):
    """Learns to order the rows of each group by their grades; `predict` gives scores.

    Scores are comparable within a group; higher is better. Every row is scored separately, so
    `predict` needs no groups. Copying, pickling and cloning work as for scikit-learn's estimators.

    Args:
      width: Width of the embedding of a row.
      hidden: Widths of the hidden layers of the scorer.
      dropout: Share of their units dropped in training.
      loss: A loss of TF-Ranking by name.
      epochs: Maximal number of passes over the groups.
      batch_lists: Number of groups a step.
      learning_rate: Peak of the schedule.
      patience: Epochs without a better NDCG@10 before training stops.
      validation_fraction: Share of the groups that decide when to stop; with fewer than two
        groups, the training groups decide.
      config: Further sections of a config, which override the other arguments, or None.
      random_state: Seed, or a generator.

    Attributes:
      n_features_in_, feature_names_in_: As in scikit-learn.
      n_groups_: Number of groups used for training and validation.

    Example:
      >>> import numpy as np
      >>> X = np.random.default_rng(0).normal(size=(40, 2))
      >>> y, group = (X[:, 0] > 0).astype(int), np.repeat(np.arange(8), 5)
      >>> estimator = RankerEstimator(width=8, hidden=(8,), epochs=1).fit(X, y, group)
      >>> estimator.predict(X[:3]).shape, estimator.n_groups_
      ((3,), 8)
      >>> 0.0 <= estimator.score(X, y, group) <= 1.0
      True
    """

    def __init__(
        self,
        width: int = 32,
        hidden: tuple[int, ...] = (64, 32),
        dropout: float = 0.1,
        loss: str = "softmax_loss",
        epochs: int = 20,
        batch_lists: int = 16,
        learning_rate: float = 2e-3,
        patience: int = 5,
        validation_fraction: float = 0.1,
        config: Mapping[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ):
        self.width = width
        self.hidden = hidden
        self.dropout = dropout
        self.loss = loss
        self.epochs = epochs
        self.batch_lists = batch_lists
        self.learning_rate = learning_rate
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.config = config
        self.random_state = random_state

    def fit(self, X: Any, y: Any, group: Any = None) -> RankerEstimator:  # noqa: N803
        """Learns from graded rows, and returns the estimator itself.

        Args:
          X: Numbers [rows, features]: an array or a DataFrame.
          y: Grades [rows] from 0; higher is better.
          group: The group of each row [rows], or the sizes of the groups in their order, as
            LightGBM takes them. Without it all rows are one group, and the ranker learns from
            random parts of it.

        Raises:
          ValueError: The arrays do not fit together, or there are fewer than two rows.
        """
        X, y = validate_data(self, X, y, dtype=np.float32, y_numeric=True, ensure_min_samples=2)
        y = np.asarray(y, np.float32)
        if y.min() < 0:
            raise ValueError(f"y: the lowest grade is {y.min():g}; grades begin at 0")
        draws = check_random_state(self.random_state)
        groups = _groups(group, len(X), draws)
        config = self._settings(int(draws.randint(2**31)))
        check_config(config)
        dataset = _dataset(X, y, *self._split(groups, draws))
        with _own_draws(), tempfile.TemporaryDirectory(prefix="mmrank-") as folder:
            run = add_trees(train_run(config, dataset, pathlib.Path(folder)), dataset)
        self.n_groups_ = len(np.unique(groups))
        self._config = config
        self._state = run.fitted.columns[FEATURE].state()
        self._weights = run.model.network.get_weights()
        self._blend, self._stack = run.model.blend, run.model.stack
        self._run = run
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns scores [rows] float64; only differences within a group mean anything.

        Args:
          X: Numbers [rows, features] as in `fit`.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        count = len(X)
        padded = np.zeros([-(-count // PIECE) * PIECE, X.shape[1]], np.float32)
        padded[:count] = X
        pieces = np.arange(len(padded)) // PIECE
        dataset = _dataset(padded, np.zeros(len(padded), np.float32), pieces, np.array(["test"]))
        with _own_draws():
            scores = self._model().score(dataset, dataset.rows("all"))
        return scores[:count].astype(np.float64)

    def score(self, X: Any, y: Any, group: Any = None) -> float:  # noqa: N803
        """Returns the mean NDCG@10 over the groups that have a row graded above 0.

        Args:
          X, y, group: As for `fit`; without `group` all rows are one group.
        """
        scores, y = self.predict(X), np.asarray(y, np.float64)
        groups = np.zeros(len(y), np.int64) if group is None else _groups(group, len(y), None)
        order = np.argsort(groups, kind="stable")
        offsets = np.r_[np.flatnonzero(np.r_[True, np.diff(groups[order]) > 0]), len(y)]
        each = per_list(scores[order], y[order], offsets, metrics=["ndcg@10"])["ndcg@10"]
        return float(np.nanmean(each)) if np.isfinite(each).any() else 0.0

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.positive_only = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        # A copy rebuilds the network from its weights, which are plain arrays.
        return {k: v for k, v in super().__getstate__().items() if k != "_run"}

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_groups_")

    def _settings(self, seed: int) -> Config:
        plain = {
            "seed": seed,
            "data": {"cache": None},
            "model": {
                "width": self.width,
                "head": {"hidden": list(self.hidden), "dropout": self.dropout},
            },
            "training": {
                "loss": {"name": self.loss},
                "epochs": self.epochs,
                "batch_lists": self.batch_lists,
                "learning_rate": self.learning_rate,
                "patience": self.patience,
            },
        }
        for section, values in (self.config or {}).items():
            below = plain.get(section)
            both = isinstance(below, dict) and isinstance(values, Mapping)
            plain[section] = {**below, **values} if both else values  # type: ignore[dict-item]
        return from_mapping(Config, plain, "config")

    def _split(
        self, groups: np.ndarray, draws: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the group of each row, numbered from 0, and the split of each group."""
        count = int(groups.max()) + 1
        wanted = round(self.validation_fraction * count)
        split = np.full(count, "train", object)
        if count > 1:
            split[draws.permutation(count)[: min(max(wanted, 1), count - 1)]] = "valid"
        return groups, split

    def _model(self) -> Run:
        """Returns the ranker; rebuilds it in a copy."""
        if not hasattr(self, "_run"):
            features = build_features(self._config, SCHEMA)
            features.columns[FEATURE].restore(self._state)
            # An estimator that was pickled before stacked rankers existed has no `_stack`.
            stack = getattr(self, "_stack", None)
            model = build_model(self._config, features, stack=stack)
            model.network.set_weights(self._weights)
            run = Run(pathlib.Path(), self._config, pathlib.Path(), features, model)
            self._run = run if self._blend is None else run.with_trees(self._blend)
        return self._run


def _groups(group: Any, rows: int, draws: np.random.RandomState | None) -> np.ndarray:
    """Returns the number of each row's group, from 0, [rows] int64."""
    if group is None:
        assert draws is not None
        parts = -(-rows // PART)
        return draws.permutation(rows) % parts
    values = np.asarray(group)
    if values.ndim != 1:
        raise ValueError(f"group: expected one dimension, got {values.ndim}")
    if len(values) == rows:
        return pd.factorize(values)[0].astype(np.int64)
    if np.issubdtype(values.dtype, np.integer) and (values > 0).all() and values.sum() == rows:
        return np.repeat(np.arange(len(values)), values)
    raise ValueError(
        f"group: {len(values)} values for {rows} rows; give each row's group, or the sizes of "
        "all groups, which add up to the rows"
    )


def _dataset(X: np.ndarray, y: np.ndarray, groups: np.ndarray, split: np.ndarray) -> Dataset:  # noqa: N803
    """Returns a dataset in memory; if all groups are for training, they also validate."""
    ids = np.arange(len(X)).astype(str).astype(object)
    catalog = pd.DataFrame({"item_id": ids, FEATURE: list(X)})
    of_rows = split[np.minimum(groups, len(split) - 1)]
    lists = pd.DataFrame(
        {"list_id": groups.astype(str), "item_id": ids, "grade": y, "split": of_rows}
    )
    if set(split) == {"train"}:
        copies = lists.assign(list_id="again-" + lists["list_id"], split="valid")
        lists = pd.concat([lists, copies], ignore_index=True)
    numbers = pd.Series(np.arange(len(ids), dtype=np.int32), index=ids)
    return Dataset(pathlib.Path(), SCHEMA, catalog, number_lists(SCHEMA, lists, numbers), None)


@contextlib.contextmanager
def _own_draws() -> Iterator[None]:
    """Restores the generators of Python and NumPy afterwards, since training seeds them."""
    kept = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
