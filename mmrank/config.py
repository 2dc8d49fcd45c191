"""How a run is set up: frozen dataclasses read strictly from YAML. No TensorFlow here.

An unknown key fails and names its nearest neighbour; a value of the wrong type says which type
is wanted. `model.encoders` is passed on as it stands: only the kind of a feature knows its options.
"""

from __future__ import annotations

import dataclasses
import pathlib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar

import yaml

from mmrank.outputs import UserError, shown
from mmrank.ranges import Count, Dropped, Kept, OneOf, Positive, Range, Seed, Share, Weight, Whole
from mmrank.schema import did_you_mean
from mmrank.schema.yaml_text import read_yaml, read_yaml_file

# What the folder of a run holds.
CONFIG_FILE, FEATURES_FILE, STATE_FILE = "config.yaml", "features.json", "state.json"
CALIBRATION_FILE = "calibration.json"
TREES_FILE = "trees.json"
NETWORK, HYBRID, TREES = MODELS = ("network", "hybrid", "trees")
TEACHER_FILE = "teacher.json"  # of a run that learned from another
TEACHER_FOLDER = "teacher"  # where a ranker that was trained for that has its run
NO_TEACHER, SELF = "none", "self"
MOST_DEPTH = 10  # of trees: a level more doubles their leaves
T = TypeVar("T")


class ConfigError(UserError):
    """A configuration that cannot be used; the message names the key and the remedy."""


@dataclasses.dataclass(frozen=True)
class Simulate:
    """The simulated shop that a run makes for itself when it is given no data.

    Attributes:
      items, queries, users: Its size.
      seed: Same seed, same shop.
      clips, sounds: Share of the items with a clip, and with a recording.
      kind: overlapping, or complementary: text, photo, numbers and history each tell what the
        others do not.
    """

    items: Count = 2000
    queries: Count = 3000
    users: Count = 500
    seed: Seed = 0
    clips: Share = 0.0
    sounds: Share = 0.0
    kind: str = "overlapping"


@dataclasses.dataclass(frozen=True)
class Data:
    """Which lists are read and how they are cut.

    Attributes:
      path: Folder of the prepared dataset; `--data` overrides it.
      simulate: Make the simulated shop instead, in RUN/data.
      buckets: Lists are padded to the smallest of these lengths that holds them.
      max_candidates: Training lists are cut to this many candidates, relevant ones kept first.
      cache: Folder in which the embeddings of frozen encoders are kept for other runs: `auto` for
        mmrank/embeddings in XDG_CACHE_HOME or ~/.cache; null keeps them in memory.
      records: Folder with TFRecord shards of the training lists, which are then not read from the
        dataset's tables.
      window_lists: Neighbouring lists of a shard that are in memory, and shuffled, together.
      fit_lists: Lists of the shards that vocabularies and means are fitted on, evenly from all.
    """

    path: str | None = None
    simulate: Simulate | None = None
    buckets: tuple[Count, ...] = (8, 16, 32, 64, 128, 256)
    max_candidates: Annotated[int, Range(2)] = 256
    cache: str | None = "auto"
    records: str | None = None
    window_lists: Count = 512
    fit_lists: Count = 100_000


@dataclasses.dataclass(frozen=True)
class Fusion:
    """How an item's modalities become one vector, by name, with that fusion's options."""

    name: str = "concat"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Head:
    """The listwise head.

    Attributes:
      hidden: Widths of the hidden layers of the scoring tower.
      dropout: Share of units dropped in training.
      rank_model: How candidates of a list reach one another's scores: none, attention, gru or
        attention_gru. Null is attention where `attention_layers` is given and above 0, else none.
      attention_layers: Layers of attention across the candidates; null is 1 if the rank model has
        attention.
      attention_heads, attention_width: Shape of that attention.
      gru_units: Width of the GRU that reads the candidates in the order of their initial scores.
      gru_top: How many of the best it reads; null for all. The others keep their initial scores.
      gru_bidirectional: Whether a second GRU reads the other way.
      members: Scoring towers side by side, each with weights of its own, whose mean is the score:
        an ensemble of seeds in one network. For one score, without a GRU or a cross-encoder.
      linear: Whether a linear function of the candidate's vector is added to each tower's score.
    """

    hidden: tuple[Count, ...] = (128, 64)
    dropout: Dropped = 0.1
    rank_model: str | None = None
    attention_layers: Whole | None = None
    attention_heads: Count = 2
    attention_width: Count = 64
    gru_units: Count = 64
    gru_top: Count | None = None
    gru_bidirectional: bool = False
    members: Count = 1
    linear: bool = False


@dataclasses.dataclass(frozen=True)
class Trees:
    """Gradient-boosted trees over match features and numbers, beside the network or alone.

    They learn from the training lists. Loss, depth and rounds are those that serve the validation
    lists best, and so is what trees weigh beside the network.

    Attributes:
      losses: CatBoost's names of losses to try: YetiRank, QueryRMSE, RMSE, LambdaMart, ...
      depths: Depths to try.
      rounds: Trees at most.
      learning_rate: Share of each tree's answer that is taken.
      patience: Rounds without a better NDCG@10 of the validation lists before no more are grown.
    """

    losses: tuple[str, ...] = ("QueryRMSE", "YetiRank")
    depths: tuple[Annotated[int, Range(1, MOST_DEPTH)], ...] = (6,)
    rounds: Count = 500
    learning_rate: Kept = 0.05
    patience: Count = 50


@dataclasses.dataclass(frozen=True)
class Multitask:
    """How several tasks share the scoring tower, by name, with that way's options."""

    name: str = "shared_bottom"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Cross:
    """A cross-encoder: one BERT that reads the query and a candidate's texts together.

    Attributes:
      weights: Hugging Face folder of the BERT that it begins as, with its vocabulary; `none` for
        one that is trained from nothing.
      query: The query feature that is read.
      fields: Item features that are read, in this order, with the most tokens of each.
      query_tokens: Most tokens of the query.
      vocabulary_size, layers, heads, hidden, intermediate: Of one that is trained from nothing.
      rescore: How many of the best it reads where lists are ranked; null for all. In training it
        reads all candidates.
      alone: Whether its score is the only one, without towers and match features.
      trainable: Whether the BERT learns.
      sub_batch: Pairs that go through the BERT at a time.
      recompute: Whether training computes a sub-batch once more for its gradient rather than keep
        all that the BERT has computed: a third more work, and memory for one sub-batch alone.
    """

    weights: str = "none"
    query: str = "query"
    fields: Mapping[str, Count] = dataclasses.field(default_factory=dict)
    query_tokens: Count = 16
    vocabulary_size: Count = 8000
    layers: Count = 2
    heads: Count = 4
    hidden: Count = 128
    intermediate: Count = 256
    rescore: Count | None = None
    alone: bool = False
    trainable: bool = True
    sub_batch: Count = 64
    recompute: bool = True


@dataclasses.dataclass(frozen=True)
class Model:
    """The ranker.

    Attributes:
      name: `network`; `hybrid`, the network and trees; or `trees` alone, for which nothing but
        match features is fitted before they are grown.
      width: Width D of every modality embedding.
      encoders: Options by feature name, or by kind for all features of a kind.
      drop: Features left out of the model, for comparisons.
      modality_dropout: Chance that training hides a modality of an item, by feature name: the
        ranker learns to do without it, and the other modalities to carry more.
      match: Whether queries and candidates are also compared directly, by words, numbers, names and
        by the vectors of encoders that both share: `auto`, as far as the schema has such features,
        or `none`.
      cross: A cross-encoder beside the towers, or in their place; null for none.
      fusion, head, trees, multitask: See there; `multitask` is for several tasks alone.
      order: How several tasks make one score: a formula over their names such as
        `click^0.3 * purchase^0.7`.
    """

    name: str = NETWORK
    width: Count = 64
    encoders: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    drop: tuple[str, ...] = ()
    modality_dropout: Mapping[str, Dropped] = dataclasses.field(default_factory=dict)
    match: str = "auto"
    cross: Cross | None = None
    fusion: Fusion = Fusion()
    head: Head = Head()
    trees: Trees = Trees()
    multitask: Multitask = Multitask()
    order: str | None = None


@dataclasses.dataclass(frozen=True)
class Loss:
    """A TF-Ranking Keras loss by name, with its options and optional lambda weight.

    Attributes:
      name: As in `tfr.keras.losses.RankingLossKey`, such as softmax_loss or approx_ndcg_loss.
      options: Further arguments of that loss, such as temperature.
      lambda_weight: A name such as ndcg_lambda_weight, or None.
      lambda_options: Arguments of the lambda weight, such as topn.
    """

    name: str = "softmax_loss"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    lambda_weight: str | None = None
    lambda_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class PositionBias:
    """How a task learns from clicks that the position of an item had a part in.

    Attributes:
      name: none; `tower`, a logit for each position that training adds and serving leaves out; or
        `ipw`, clicks weighted by inverse propensity.
      propensities: Table of `python -m mmrank.propensity` (ipw).
      clip: Propensities below this count as this (ipw).
      dropout: Share of the positions that training hides from the tower (tower).
      behaviours: Ways to read a page, under mixture_em_loss (tower).
    """

    name: str = "none"
    propensities: str | None = None
    clip: Kept = 0.05
    dropout: Dropped = 0.1
    behaviours: Count = 2


@dataclasses.dataclass(frozen=True)
class Task:
    """One goal of the ranker, such as click or purchase.

    Attributes:
      label: A label of the schema; null for the one that bears the task's name.
      loss: The loss on it; its default gives a probability.
      weight: Factor on the loss.
      transform: none or log1p, of the label before its loss. Null is log1p for dwell, else none.
      among: A label: candidates of which it is not above 0 are no part of the task.
      given: Another task, without which this one cannot happen. The network then learns the chance
        of this one given that one, and their product is what the loss sees, on all candidates.
      position_bias: See there.
    """

    label: str | None = None
    loss: Loss = Loss(name="sigmoid_cross_entropy_loss")
    weight: Weight = 1.0
    transform: str | None = None
    among: str | None = None
    given: str | None = None
    position_bias: PositionBias = PositionBias()


@dataclasses.dataclass(frozen=True)
class FineTune:
    """How one encoder learns beside the rest of the model.

    Attributes:
      schedule: `full` from the start, `gradual` from the top layer downward, or `frozen`.
      unfreeze_epoch: Epochs before the first layers begin to learn (gradual).
      layers_per_epoch: How many layers begin then and in each later epoch; null for all at once.
      layers: How many layers from the top learn at all; null for every one. Those below cost no
        gradient and keep their statistics.
      learning_rate: Factor on the rate that everything else learns at.
      layer_decay: Further factor for each layer below the top.
    """

    schedule: str = "full"
    unfreeze_epoch: int = 1
    layers_per_epoch: int | None = None
    layers: int | None = None
    learning_rate: float = 1.0
    layer_decay: float = 1.0


@dataclasses.dataclass(frozen=True)
class Teacher:
    """Another ranker's opinion in the labels of the training lists.

    Attributes:
      run: `none`; `self`, a ranker of the same config, trained first; `trees`, trees alone, grown
        first; or the folder of a trained run, such as one with a cross-encoder. What is trained
        first stays in RUN/teacher.
      temperature: What the teacher's scores are divided by; above 1 its opinion spreads over more
        candidates.
      share: Of the teacher in the labels; the rest is the grades'. A list without a grade above 0
        has the teacher's opinion alone.
    """

    run: str = "none"
    temperature: Positive = 1.0
    share: Kept = 0.5


@dataclasses.dataclass(frozen=True)
class Training:
    """The optimisation.

    Attributes:
      strategy: auto, one_device, mirrored, multi_worker or tpu.
      batch_lists: Lists a step on each replica.
      epochs: Passes over the training lists, unless stopped early.
      block_lists: Neighbouring lists of the file that stay together when the order is shuffled.
        Where neighbours share items, a batch of them has fewer items to encode.
      steps_per_epoch: Steps between two validations and checkpoints; None for one whole pass.
      learning_rate: Peak of the schedule: linear warm-up, then cosine decay to zero.
      warmup: Share of all steps spent warming up.
      weight_decay: Decoupled weight decay of AdamW.
      clip_norm: Bound on the global norm of the gradient.
      patience: Validations without a better figure of `select_metric` before training stops.
      tasks: The goals by name; without any, one on `grade` under `loss`.
      task_weights: fixed, each task's own `weight`, or uncertainty, learned.
      select_by: The label whose validation figure chooses the best weights. Null is the first
        task's, or `grade` without tasks.
      select_metric: That figure: ndcg, mrr, map, precision or recall, `@k` added for a cutoff. To
        all but NDCG what reaches `evaluation.relevant_grade` is relevant.
      popularity_weight: Rows weigh (1 + training events of the item)^−power, of mean 1 and capped;
        0 for equal weights.
      pseudo_weight: What rows weigh whose grade a ranker gave (the label `pseudo`).
      teacher: See there; labels become probabilities, which softmax_loss learns.
      mixed_precision: float32, mixed_bfloat16 or mixed_float16.
      deterministic: Make every TensorFlow op deterministic (slower).
      fine_tune: How encoders learn, by feature name or by kind, and the cross-encoder's BERT under
        `cross`; without an entry, like the rest, but a BERT with weights at 0.06 of the rate.
    """

    strategy: str = "auto"
    batch_lists: Count = 16
    epochs: Count = 10
    block_lists: Count = 1
    steps_per_epoch: Count | None = None
    loss: Loss = Loss()
    tasks: Mapping[str, Task] = dataclasses.field(default_factory=dict)
    task_weights: str = "fixed"
    select_by: str | None = None
    select_metric: str = "ndcg@10"
    learning_rate: Positive = 1e-3
    warmup: Share = 0.05
    weight_decay: Weight = 1e-4
    clip_norm: Positive = 1.0
    patience: Count = 3
    popularity_weight: Weight = 0.0
    pseudo_weight: Weight = 1.0
    teacher: Teacher = Teacher()
    mixed_precision: str = "float32"
    deterministic: bool = False
    fine_tune: Mapping[str, FineTune] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What is reported at the end of a run.

    Attributes:
      split: The split that the final table reports.
      baselines: Scorers compared on the same lists: random, popularity, bm25, dense; with events
        also itemknn, userknn, pmi, als and gmf; and peers that are trained and tuned on the train
        and valid lists: lambdamart, regression_trees, yetirank, xgboost, tfr_dnn, gam.
      peer_trials: Settings of each peer that are tried on the valid lists.
      dense: TF-Hub text encoder of the baseline dense; null for the ranker's own.
      without: Features, or kinds for all features of a kind but those of the query: the model is
        also scored without each of these, as if absent, and compared, to tell what it is worth.
        A kind that the schema has none of is passed over.
      no_relevant: What a list without a relevant item counts: skip, zero or one.
      relevant_grade: The lowest grade that counts as relevant for all metrics but NDCG.
      calibration: How the tasks' chances are corrected on the validation lists: none, platt or
        temperature.
    """

    split: str = "test"
    baselines: tuple[str, ...] = ("random", "popularity", "bm25")
    peer_trials: Count = 12
    dense: str | None = None
    without: tuple[str, ...] = ()
    no_relevant: str = "skip"
    relevant_grade: Positive = 1.0
    calibration: str = "none"


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole run."""

    seed: Seed = 0
    data: Data = Data()
    model: Model = Model()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()


def load_config(path: str | pathlib.Path, overrides: Iterable[str] = ()) -> Config:
    """The configuration in a YAML file, after `a.b=c` overrides.

    Args:
      path: The file.
      overrides: Texts such as `training.epochs=3`; the value is read as YAML.

    Raises:
      ConfigError: The file is missing or not YAML, a key is unknown, or a value does not fit.
    """
    return from_mapping(Config, read_plain(path, overrides), str(path))


def load_run_config(run: pathlib.Path) -> Config:
    """The resolved configuration in a run's folder; arguments and errors as of `load_config`.

    A run that was kept before there was `model.match` compares nothing directly.
    """
    file = run / CONFIG_FILE
    plain = read_plain(file)
    plain.setdefault("model", {}).setdefault("match", "none")
    return from_mapping(Config, plain, str(file))


def read_plain(path: str | pathlib.Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """What a YAML file says, after `a.b=c` overrides; arguments and errors as of `load_config`."""
    file = pathlib.Path(path)
    if not file.is_file():
        near = sorted(p.name for p in file.parent.glob("*.yaml")) if file.parent.is_dir() else []
        raise ConfigError(f"{file}: no such file{did_you_mean(file.name, near)}")
    plain = read_yaml_file(file, ConfigError) or {}
    if not isinstance(plain, dict):
        raise ConfigError(f"{file}: expected a mapping at the top")
    for override in overrides:
        apply_override(plain, override)
    return plain


def save_config(config: Config, file: pathlib.Path) -> None:
    """Writes the resolved configuration, every default spelled out."""
    text = yaml.safe_dump(_plain(config), sort_keys=False, allow_unicode=True)
    file.write_text(text, encoding="utf-8")


def apply_override(plain: dict[str, Any], override: str) -> None:
    """Sets one `a.b=c` in a nested mapping, in place.

    Raises:
      ConfigError: There is no `=`, or a key on the way holds a plain value.
    """
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override!r}: write it as a.b=value, e.g. training.epochs=3")
    try:
        value = read_yaml(text, ConfigError)
    except ConfigError as error:
        raise ConfigError(f"--set {shown(override)}: {error}") from error
    set_key(plain, key.strip(), value, f"--set {override!r}")


def set_key(plain: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Sets the value of a key with dots in a nested mapping, in place.

    Args:
      plain: The mapping; sections that it lacks are made.
      key: Such as training.epochs.
      value: The value.
      where: Start of the error message.

    Raises:
      ConfigError: A key on the way holds a plain value.
    """
    *way, last = key.split(".")
    place = plain
    for step in way:
        if place.get(step) is None:
            place[step] = {}
        place = place[step]
        if not isinstance(place, dict):
            raise ConfigError(f"{where}: {step!r} holds a value, not a section")
    place[last] = value


def from_mapping(cls: type[T], plain: Mapping[str, Any], where: str) -> T:
    """An instance of a (nested) dataclass, read strictly from a plain mapping.

    Args:
      cls: A dataclass whose fields are plain values, tuples, mappings or dataclasses.
      plain: What the YAML said.
      where: Start of every error message: the file, or the file and section.

    Raises:
      ConfigError: An unknown key, or a value of the wrong type or out of its range.
    """
    if not isinstance(plain, Mapping):
        raise ConfigError(f"{where}: expected a section with keys, got {shown(plain)}")
    hints = typing.get_type_hints(cls, include_extras=True)
    names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for key in plain:
        if key not in names:
            raise ConfigError(f"{where}: unknown key {key!r}{did_you_mean(str(key), names)}")
    values = {k: _fit(hints[k], v, f"{where}: {k}") for k, v in plain.items()}
    return cls(**values)


def _fit(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        fitted = _fit(arguments[0], value, where)
        for mark in arguments[1:]:
            if isinstance(mark, (Range, OneOf)) and fitted not in mark:
                raise ConfigError(f"{where}: {value!r}; give {mark}")
        return fitted
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _fit(next(a for a in arguments if a is not type(None)), value, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_mapping(hint, value, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where}: expected a list, got {shown(value)}")
        return tuple(_fit(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a section with keys, got {shown(value)}")
        if dataclasses.is_dataclass(arguments[1]) or typing.get_origin(arguments[1]) is Annotated:
            return {k: _fit(arguments[1], v, f"{where}: {k}") for k, v in value.items()}
        return dict(value)
    if hint is float and isinstance(value, str):
        # YAML 1.1 reads 1e-3 as a text.
        try:
            return float(value)
        except ValueError:
            pass
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Any or (isinstance(value, hint) and not (hint is int and isinstance(value, bool))):
        return value
    raise ConfigError(f"{where}: expected {hint.__name__}, got {shown(value)}")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
