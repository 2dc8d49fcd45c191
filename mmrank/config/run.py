"""The configuration of a whole run, its file, and the names of the files in a run's folder."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from mmrank.config.data import Data
from mmrank.config.evaluation import Evaluation
from mmrank.config.mapping import read_plain
from mmrank.config.model import Model
from mmrank.config.reading import from_mapping
from mmrank.config.training import Training
from mmrank.ranges import Seed

# Files in the folder of a run.
CONFIG_FILE, FEATURES_FILE, STATE_FILE = "config.yaml", "features.json", "state.json"
METRICS_FILE = "metrics.json"
CALIBRATION_FILE = "calibration.json"
TREES_FILE = "trees.json"
TEACHER_FILE = "teacher.json"  # in a run that learned from a teacher
TEACHER_FOLDER = "teacher"  # subfolder with the run of a teacher trained for this run


@dataclasses.dataclass(frozen=True)
class Config:
    """The configuration of a whole run.

    Example:
      >>> import dataclasses
      >>> config = Config()
      >>> config.model.width, config.model.head.rank_model is None
      (64, True)
      >>> dataclasses.replace(config, seed=7).seed
      7
    """

    seed: Seed = 0
    data: Data = Data()
    model: Model = Model()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()


def load_config(path: str | pathlib.Path, overrides: Iterable[str] = ()) -> Config:
    """Returns the configuration in a YAML file, after `a.b=c` overrides.

    Args:
      path: The file.
      overrides: Texts such as `training.epochs=3`; the value is read as YAML.

    Raises:
      ConfigError: The file is missing or not YAML, a key is unknown, or a value does not fit.

    Example:
      >>> import pathlib
      >>> _ = pathlib.Path("shop.yaml").write_text("model: {width: 16}")
      >>> config = load_config("shop.yaml", ["training.epochs=3"])
      >>> config.model.width, config.training.epochs
      (16, 3)
    """
    return from_mapping(Config, read_plain(path, overrides), str(path))


def load_run_config(run: pathlib.Path) -> Config:
    """Returns the resolved configuration in a run's folder; errors as of `load_config`.

    A run saved before `model.match` existed is read with `match: none`.
    """
    file = run / CONFIG_FILE
    plain = read_plain(file)
    plain.setdefault("model", {}).setdefault("match", "none")
    return from_mapping(Config, plain, str(file))


def save_config(config: Config, file: pathlib.Path) -> None:
    """Writes the resolved configuration, with every default spelled out."""
    text = yaml.safe_dump(_plain(config), sort_keys=False, allow_unicode=True)
    file.write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
