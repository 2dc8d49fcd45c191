"""Default config of a run, chosen by what the schema has and by how much data there is.

Values that the user's config sets are never changed; only the rest is chosen.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mmrank.config import HYBRID, NETWORK, Config, ConfigError, from_mapping
from mmrank.config.mapping import section_of
from mmrank.data.checks import as_numbers
from mmrank.data.checks import texts as as_texts
from mmrank.data.kinds import KINDS, kind_of
from mmrank.data.kinds.base import BY_NAME, Seen
from mmrank.data.tables import Dataset
from mmrank.data.words import count_words
from mmrank.outputs import install_command
from mmrank.schema import Schema

logger = logging.getLogger(__name__)
FEW, MANY = 500, 5000  # training lists below which a ranker is small, and from which it is large
STEPS = 1500  # steps in which a ranker trained from scratch converges
NO_TREES = ("tasks", "popularity_weight")  # options of training that trees do not support
TOKENS = 16  # more features than this make each token narrow


@dataclasses.dataclass(frozen=True)
class Choice:
    """One value that the user did not give.

    Attributes:
      key: Its key in the config, as `--set` takes it.
      value: The value.
      why: The reason for it in the data.
    """

    key: str
    value: Any
    why: str


def default_config(
    schema: Schema, dataset: Dataset, given: Mapping[str, Any] | None = None
) -> Config:
    """The config for a dataset; each choice is logged in one line.

    Args:
      schema: The dataset's schema.
      dataset: The dataset; it is read but never changed.
      given: The user's config, as read from YAML.

    Raises:
      ConfigError: `given` has an unknown key, or a value of the wrong type.
    """
    plain, made = completed(schema, dataset, given)
    for choice in made:
        logger.info("chosen: %s %s (%s)", choice.key, choice.value, choice.why)
    return from_mapping(Config, plain, "config")


def completed(
    schema: Schema, dataset: Dataset, given: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], list[Choice]]:
    """The given config completed with every choice, and the choices that were used.

    Args:
      schema, dataset, given: As for `default_config`.
    """
    plain = copy.deepcopy(dict(given or {}))
    offered = choices(schema, dataset, _names_pretrained(plain), not _rules_out_trees(plain))
    return plain, [choice for choice in offered if _put(plain, choice)]


def choices(
    schema: Schema, dataset: Dataset, pretrained: bool = False, trees: bool = True
) -> list[Choice]:
    """All choices for a dataset, in the order of the config.

    Args:
      schema, dataset: As for `default_config`.
      pretrained: Whether the user's config names an encoder that was trained elsewhere.
      trees: Whether trees are compatible with the user's config.
    """
    train = dataset.rows("train")
    lists = train[schema.lists.list].nunique()
    rows = f"{lists:,} training lists"
    small, large = lists < FEW, lists >= MANY
    width = 32 if small else 64 if large else 48
    most = 32 if pretrained else 64
    batch = max(8, min(most, 2 ** round(math.log2(max(lists, 1) / 40 + 1))))
    steps = max(math.ceil(lists / batch), 1)
    epochs = int(np.clip(round(STEPS / steps), 3, 20))
    chosen = [
        *(_plain_numbers(schema, dataset) if trees else []),  # earlier choices take precedence
        *(_trees(schema, dataset) if trees else []),
        Choice("model.width", width, rows),
        *_encoders(schema, dataset, small, large),
        Choice("model.head.hidden", [2 * width, width], "twice the width, then the width"),
        Choice("model.head.dropout", 0.3 if small else 0.2 if pretrained else 0.1, rows),
        Choice("training.batch_lists", batch, rows),
        Choice("training.epochs", epochs, f"{steps:,} steps per epoch, about {STEPS:,} at most"),
        Choice("training.patience", 5 if small else 3, "epochs without an improvement of NDCG@10"),
        Choice("training.learning_rate", 5e-4, "a pretrained encoder")
        if pretrained
        else Choice("training.learning_rate", 2e-3, "encoders from random weights"),
        *_objectives(schema, dataset),
        *_left_out(schema, dataset),
    ]
    relevant = _relevant_grade(schema, dataset)
    if relevant is not None:
        chosen.append(relevant)
    return chosen


def _trees(schema: Schema, dataset: Dataset) -> list[Choice]:
    """The choice of trees in addition to the network, if they have grades and features to read."""
    if dataset.rows("train").empty:  # training lists are in shards, which trees cannot read
        return []
    sides = ("item", "query", "user", "pair")
    matched = all(
        any(kind_of(f.kind).typed for f in schema.side(side)) for side in ("item", "query")
    )
    plain = any(kind_of(f.kind).numeric for f in schema.side(*sides))
    if schema.label("grade") is None or not (matched or plain):
        return []
    if importlib.util.find_spec("catboost") is None:
        why = f"CatBoost, which adds trees, is not installed: {install_command('trees')}"
        return [Choice("model.name", NETWORK, why)]
    return [Choice("model.name", HYBRID, "grades, and numbers or texts that trees can read")]


def _plain_numbers(schema: Schema, dataset: Dataset) -> list[Choice]:
    """Choices for rankers of plain numbers and grades, if the schema has no other features.

    They were made on the validation lists of MQ2008 and OHSUMED, except the choice to leave out
    trees: trees lowered the figures on the test lists of both, see docs/results.md.
    """
    features = schema.side("item", "query", "user", "pair")
    kinds = [f.kind for f in features]
    numbers = sorted({k for k in kinds if kind_of(k).numeric})
    named = {k for k in kinds if kind_of(k).matched_by == BY_NAME}
    if schema.label("grade") is None or not numbers or not {*kinds} <= {*numbers, *named}:
        return []
    softmax = Choice("training.loss", {"name": "softmax_loss"}, "grades and only plain features")
    scaled = {"quantiles": 200, "deviations": True, "layers": 0, "norm": False}
    return [
        Choice("model.name", NETWORK, "plain features, for an ensemble of towers"),
        Choice("model.width", 64 if len(kinds) <= TOKENS else 16, f"{len(kinds)} plain features"),
        *(Choice(f"model.encoders.{kind}", scaled, "unscaled numbers") for kind in numbers),
        Choice("model.head.hidden", [64, 32], "plain features"),
        Choice("model.head.dropout", 0.3, "plain features"),
        Choice("model.head.members", 8, "an ensemble of towers in one network"),
        Choice("model.head.linear", True, "a direct linear path for numbers"),
        *([] if _are_means(schema, dataset) else [softmax]),
        Choice("training.learning_rate", 1e-3, "plain features"),
        Choice("training.weight_decay", 1e-2, "plain features"),
    ]


def _encoders(schema: Schema, dataset: Dataset, small: bool, large: bool) -> list[Choice]:
    """Sizes of the encoders for the kinds that the schema has."""
    kinds = {f.kind for f in schema.features}
    seen = Seen(schema, dataset, _seen(dataset), small, large)
    sizes = {name: kind.default_size(seen) for name, kind in KINDS.items() if name in kinds}
    return [Choice(f"model.encoders.{name}", *size) for name, size in sizes.items() if size]


def _objectives(schema: Schema, dataset: Dataset) -> list[Choice]:
    """The objective: the grade, or without a grade the labels of behaviour that exist."""
    label = schema.label("grade")
    if label is not None:
        if _are_means(schema, dataset):
            loss = {"name": "mean_squared_loss"}
            return [Choice("training.loss", loss, "grades that are not integers are means")]
        loss = {"name": "softmax_loss", "lambda_weight": "ndcg_lambda_weight"}
        return [Choice("training.loss", loss, "grades, weighted by their gain in NDCG")]
    found = [n for n in ("click", "cart", "purchase") if schema.label(n) is not None]
    if not found:
        return []
    # One objective is learned as an order; several are learned as probabilities to combine.
    tasks: dict[str, Any] = {n: {} for n in found}
    if len(found) == 1:
        tasks = {found[0]: {"loss": {"name": "softmax_loss"}}}
    return [Choice("training.tasks", tasks, "the schema has no grade")]


def _are_means(schema: Schema, dataset: Dataset) -> bool:
    """Whether some grade is not an integer."""
    label = schema.label("grade")
    if label is None:
        return False
    grades = as_numbers(_seen(dataset)[label.column])
    return bool((grades[~np.isnan(grades)] % 1 != 0).any())


def _left_out(schema: Schema, dataset: Dataset) -> list[Choice]:
    """The media and the history to leave out in turn in the report, if that is cheap to compute."""
    kinds = {f.kind for f in schema.features if f.side in ("item", "user")}
    found = [name for name, kind in KINDS.items() if kind.left_out and name in kinds]
    if not found or len(dataset.rows("test")) > len(dataset.rows("train")):
        return []
    return [Choice("evaluation.without", found, "shows what each feature contributes")]


def _seen(dataset: Dataset) -> pd.DataFrame:
    """The rows that choices inspect, never test lists; valid lists if training is in shards."""
    rows = dataset.rows("train")
    return dataset.rows("valid") if rows.empty else rows


def words(column: pd.Series) -> np.ndarray:
    """How many words each non-empty text has, int64."""
    return count_words(as_texts(column))


def _relevant_grade(schema: Schema, dataset: Dataset) -> Choice | None:
    """The grade from which an item is relevant, if the lowest grade is 1 or more."""
    label = schema.label("grade")
    if label is None:
        return None
    grades = as_numbers(_seen(dataset)[label.column])
    low, high = float(np.nanmin(grades)), float(np.nanmax(grades))
    if low < 1 or low == high:
        return None
    middle = (low + high) / 2
    return Choice("evaluation.relevant_grade", middle, f"grades run from {low:g} to {high:g}")


def _names_pretrained(plain: Mapping[str, Any]) -> bool:
    """Whether the encoders of a config begin with pretrained weights."""
    model = plain.get("model")
    encoders = model.get("encoders") if isinstance(model, Mapping) else None
    given = encoders.values() if isinstance(encoders, Mapping) else ()
    options = [o for o in given if isinstance(o, Mapping)]  # from_mapping reports any other value
    return any(o.get("handle") or o.get("weights", "none") != "none" for o in options)


def _rules_out_trees(plain: Mapping[str, Any]) -> bool:
    """Whether a config uses options that trees do not support: tasks, weights of rows, shards."""
    training, data = plain.get("training"), plain.get("data")
    asked = [training.get(k) for k in NO_TREES] if isinstance(training, Mapping) else []
    return any(asked) or (isinstance(data, Mapping) and data.get("records") is not None)


def _put(plain: dict[str, Any], choice: Choice) -> bool:
    """Sets a value that the config lacks; returns whether it did."""
    *way, last = choice.key.split(".")
    try:
        section = section_of(plain, way, choice.key)
    except ConfigError:
        return False  # a wrong value of the user's, which from_mapping reports
    if last in section:
        return False
    section[last] = choice.value
    return True
