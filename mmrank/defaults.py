"""The config of a stranger's run, chosen by what the schema has and by how much data there is.

Whatever a config says itself is taken as it stands; only the rest is chosen.
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

from mmrank.config import HYBRID, NETWORK, Config, from_mapping
from mmrank.data.checks import as_numbers
from mmrank.data.checks import texts as as_texts
from mmrank.data.tables import Dataset
from mmrank.schema import Schema

logger = logging.getLogger(__name__)
FEW, MANY = 500, 5000  # training lists below which a ranker is small, and from which it is large
STEPS = 1500  # what a ranker from nothing takes to settle
SAMPLE = 2000  # texts looked at
NO_TREES = ("tasks", "popularity_weight")  # of training, which trees know nothing of
PLAIN = ("number", "vector")  # kinds that are numbers as they stand
WORDS = ("category", "tags")  # kinds that may stand beside them in a shop of plain numbers
TOKENS = 16  # of items, from which on each is narrow
MEDIA = ("image", "video", "audio", "history")  # kinds whose worth a report tells unasked


@dataclasses.dataclass(frozen=True)
class Choice:
    """One value that nobody gave.

    Attributes:
      key: Where it stands in the config, as `--set` has it.
      value: The value.
      why: What in the data speaks for it.
    """

    key: str
    value: Any
    why: str


def default_config(
    schema: Schema, dataset: Dataset, given: Mapping[str, Any] | None = None
) -> Config:
    """The config for a dataset; each choice is told in one line.

    Args:
      schema: The dataset's schema.
      dataset: The dataset; it is looked at, and never changed.
      given: What the user's config says, as read from YAML.

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
    """The given config with every missing choice filled in, and those choices.

    Args:
      schema, dataset, given: As for `default_config`.
    """
    plain = copy.deepcopy(dict(given or {}))
    offered = choices(schema, dataset, _names_pretrained(plain), not _rules_out_trees(plain))
    return plain, [choice for choice in offered if _put(plain, choice)]


def choices(
    schema: Schema, dataset: Dataset, pretrained: bool = False, trees: bool = True
) -> list[Choice]:
    """All that is chosen for a dataset, in the order of the config.

    Args:
      schema, dataset: As for `default_config`.
      pretrained: Whether the user's config names an encoder that was trained elsewhere.
      trees: Whether trees go with what the user's config says.
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
        *(_plain_numbers(schema, dataset) if trees else []),  # what is chosen first stays
        *(_trees(schema, dataset) if trees else []),
        Choice("model.width", width, rows),
        *_encoders(schema, dataset, small, large),
        Choice("model.head.hidden", [2 * width, width], "twice and once the width"),
        Choice("model.head.dropout", 0.3 if small else 0.2 if pretrained else 0.1, rows),
        Choice("training.batch_lists", batch, rows),
        Choice("training.epochs", epochs, f"{steps:,} steps an epoch, at most about {STEPS:,}"),
        Choice("training.patience", 5 if small else 3, "epochs without a better NDCG@10"),
        Choice("training.learning_rate", 5e-4, "an encoder that was trained elsewhere")
        if pretrained
        else Choice("training.learning_rate", 2e-3, "encoders from nothing"),
        *_goals(schema, dataset),
        *_left_out(schema, dataset),
    ]
    relevant = _relevant_grade(schema, dataset)
    if relevant is not None:
        chosen.append(relevant)
    return chosen


def _trees(schema: Schema, dataset: Dataset) -> list[Choice]:
    """Trees beside the network where they have grades to learn from, and something to read."""
    if dataset.rows("train").empty:  # training lists in shards, which trees do not read
        return []
    sides = ("item", "query", "user", "pair")
    matched = all(any(f.kind == "text" for f in schema.side(side)) for side in ("item", "query"))
    plain = any(f.kind in PLAIN for f in schema.side(*sides))
    if schema.label("grade") is None or not (matched or plain):
        return []
    if importlib.util.find_spec("catboost") is None:
        why = "without CatBoost; pip install 'mmrank[trees]' sets trees beside it"
        return [Choice("model.name", NETWORK, why)]
    return [Choice("model.name", HYBRID, "grades, and numbers or words that trees can read")]


def _plain_numbers(schema: Schema, dataset: Dataset) -> list[Choice]:
    """The recipe for rankers of plain numbers and grades, where there is nothing else to read.

    It was chosen on the validation lists of MQ2008 and OHSUMED, but for doing without trees, which
    took from it on the test lists of both: see docs/results.md.
    """
    features = schema.side("item", "query", "user", "pair")
    kinds = [f.kind for f in features]
    numbers = sorted({k for k in kinds if k in PLAIN})
    if schema.label("grade") is None or not numbers or not {*kinds} <= {*PLAIN, *WORDS}:
        return []
    softmax = Choice("training.loss", {"name": "softmax_loss"}, "grades over plain features")
    scaled = {"quantiles": 200, "deviations": True, "layers": 0, "norm": False}
    return [
        Choice("model.name", NETWORK, "plain features, of which towers make an ensemble"),
        Choice("model.width", 64 if len(kinds) <= TOKENS else 16, f"{len(kinds)} plain features"),
        *(
            Choice(f"model.encoders.{kind}", scaled, "numbers of any scale, as they are")
            for kind in numbers
        ),
        Choice("model.head.hidden", [64, 32], "plain features"),
        Choice("model.head.dropout", 0.3, "plain features"),
        Choice("model.head.members", 8, "an ensemble in one network"),
        Choice("model.head.linear", True, "numbers may speak for themselves"),
        *([] if _are_means(schema, dataset) else [softmax]),
        Choice("training.learning_rate", 1e-3, "plain features"),
        Choice("training.weight_decay", 1e-2, "plain features"),
    ]


def _encoders(schema: Schema, dataset: Dataset, small: bool, large: bool) -> list[Choice]:
    """Sizes of the encoders whose kinds the schema has."""
    kinds = {f.kind for f in schema.features}
    chosen = []
    if "text" in kinds:
        words = _longest_words(schema, dataset)
        tokens = int(min(64, max(8, 8 * math.ceil((1.4 * words + 2) / 8))))
        hidden = 64 if small else 128
        text = {
            "layers": 2 if large else 1,
            "hidden": hidden,
            "heads": 4,
            "intermediate": 2 * hidden,
            "max_tokens": tokens,
            "vocabulary_size": 8000 if large else 3000,
        }
        chosen.append(
            Choice("model.encoders.text", text, f"19 of 20 texts have up to {words} words")
        )
    if "image" in kinds:
        side = 64 if large else 48
        scale = 0.5 if large else 0.35
        image = {
            "height": side,
            "width": side,
            "network": "EfficientNet",
            "width_coefficient": scale,
            "depth_coefficient": scale,
            "dropout": 0.1,
            "smallest_part": 0.7,
        }
        chosen.append(Choice("model.encoders.image", image, f"{len(dataset.catalog):,} items"))
    if "history" in kinds and dataset.events is not None and schema.events is not None:
        counts = dataset.events[schema.events.user].value_counts()
        usual = int(counts.quantile(0.75)) if len(counts) else 1
        length = int(np.clip(usual, 8, 64))
        why = f"three of four shoppers have up to {usual} events"
        chosen.append(Choice("model.encoders.history", {"length": length}, why))
    return chosen


def _goals(schema: Schema, dataset: Dataset) -> list[Choice]:
    """What is learned: the grade, or without one the labels of behaviour that there are."""
    label = schema.label("grade")
    if label is not None:
        if _are_means(schema, dataset):
            loss = {"name": "mean_squared_loss"}
            return [Choice("training.loss", loss, "grades between whole numbers are means")]
        loss = {"name": "softmax_loss", "lambda_weight": "ndcg_lambda_weight"}
        return [Choice("training.loss", loss, "grades, weighed by their gain in NDCG")]
    found = [n for n in ("click", "cart", "purchase") if schema.label(n) is not None]
    if not found:
        return []
    # One goal as a whole order; several as chances, which an order can be made of.
    tasks: dict[str, Any] = {n: {} for n in found}
    if len(found) == 1:
        tasks = {found[0]: {"loss": {"name": "softmax_loss"}}}
    return [Choice("training.tasks", tasks, "the schema has no grade")]


def _are_means(schema: Schema, dataset: Dataset) -> bool:
    """Whether some grade lies between whole numbers."""
    label = schema.label("grade")
    if label is None:
        return False
    grades = as_numbers(_seen(dataset)[label.column])
    return bool((grades[~np.isnan(grades)] % 1 != 0).any())


def _left_out(schema: Schema, dataset: Dataset) -> list[Choice]:
    """The media and the history that the report goes without, where that is cheap to compute."""
    kinds = {f.kind for f in schema.features if f.side in ("item", "user")}
    found = [kind for kind in MEDIA if kind in kinds]
    if not found or len(dataset.rows("test")) > len(dataset.rows("train")):
        return []
    return [Choice("evaluation.without", found, "tells what each is worth")]


def _seen(dataset: Dataset) -> pd.DataFrame:
    """The rows that choices look at, of no test list; of valid where shards are trained on."""
    rows = dataset.rows("train")
    return dataset.rows("valid") if rows.empty else rows


def _longest_words(schema: Schema, dataset: Dataset) -> int:
    """Words of the longest of twenty texts; a character of Chinese, Japanese or Korean is one."""
    longest = 1
    for feature in schema.features:
        if feature.kind != "text":
            continue
        table = dataset.catalog if feature.side == "item" else _seen(dataset)
        step = max(len(table) // SAMPLE, 1)
        counts = words(table[feature.column].iloc[::step])
        if len(counts):
            longest = max(longest, int(np.quantile(counts, 0.95)))
    return longest


def words(column: pd.Series) -> np.ndarray:
    """How many words each text that is there has, int64."""
    texts = as_texts(column)
    texts = texts[texts != ""]
    return texts.str.count(r"[぀-ヿ㐀-鿿가-힣]|[^\W぀-ヿ㐀-鿿가-힣]+").to_numpy(np.int64)


def _relevant_grade(schema: Schema, dataset: Dataset) -> Choice | None:
    """The grade from which an item is relevant, where the lowest one is no 0."""
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
    """Whether the encoders of a config begin with weights from elsewhere."""
    model = plain.get("model")
    encoders = model.get("encoders") if isinstance(model, Mapping) else None
    given = encoders.values() if isinstance(encoders, Mapping) else ()
    options = [o for o in given if isinstance(o, Mapping)]  # reading the config names what is none
    return any(o.get("handle") or o.get("weights", "none") != "none" for o in options)


def _rules_out_trees(plain: Mapping[str, Any]) -> bool:
    """Whether a config asks for what trees do not know: tasks, weights of rows, shards."""
    training, data = plain.get("training"), plain.get("data")
    asked = [training.get(k) for k in NO_TREES] if isinstance(training, Mapping) else []
    return any(asked) or (isinstance(data, Mapping) and data.get("records") is not None)


def _put(plain: dict[str, Any], choice: Choice) -> bool:
    """Whether a choice was put where nothing stood, or in part where something did."""
    *way, last = choice.key.split(".")
    place = plain
    for step in way:
        if place.get(step) is None:
            place[step] = {}
        place = place[step]
        if not isinstance(place, dict):
            return False  # a wrong value of the user's, which reading the config names
    if last in place:
        return False
    place[last] = choice.value
    return True
