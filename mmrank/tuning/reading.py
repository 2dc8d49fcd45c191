"""Reads a search space strictly from its file: an unknown key or an invalid range is an error.

This module imports neither TensorFlow nor Optuna, which take seconds to import.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import pathlib
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from mmrank.config import Config, ConfigError
from mmrank.outputs import shown
from mmrank.schema import did_you_mean
from mmrank.schema.yaml_text import read_yaml_file
from mmrank.tuning.space import Choices, Range, Space

RANGE_KEYS = ("low", "high", "log", "step")
# Keys that cannot be searched: trials are compared by them, or a trial does not use them.
FIXED = {
    "data.path": "name the dataset with --data",
    "data.simulate": "name the dataset with --data",
    "data.records": "trials are compared on one dataset",
    "training.select_metric": "trials are compared by it",
    "training.select_by": "trials are compared by it",
    "training.strategy": "a trial has one process",
    "evaluation": "a trial ends with its validation, and evaluates nothing",
}


def read_space(file: pathlib.Path, base: Mapping[str, Any]) -> Space:
    """Returns the space in a YAML file: dotted keys, each with a range or a list.

    Args:
      file: The file.
      base: The config that gives the values of all keys outside the space.

    Raises:
      ConfigError: The file cannot be read, a key is unknown or cannot be searched, or a value is
        not a valid range or list.

    Example:
      >>> import pathlib
      >>> text = "training.learning_rate: {low: 1e-4, high: 1e-2, log: true}"
      >>> _ = pathlib.Path("space.yaml").write_text(text)
      >>> [setting] = read_space(pathlib.Path("space.yaml"), base={}).settings
      >>> setting.key, setting.low, setting.high, setting.log
      ('training.learning_rate', 0.0001, 0.01, True)
    """
    if not file.is_file():
        raise ConfigError(f"--space {file}: no such file")
    plain = read_yaml_file(file, ConfigError)
    if not isinstance(plain, dict) or not plain:
        raise ConfigError(f"{file}: expected keys of a config, each with a range or a list")
    settings = tuple(_setting(str(file), str(key), value) for key, value in plain.items())
    for one in settings:
        for other in settings:
            if other.key.startswith(f"{one.key}."):
                raise ConfigError(f"{file}: {one.key} holds {other.key}; leave one of them out")
    return Space(str(file), settings, base)


def _setting(file: str, key: str, value: Any) -> Range | Choices:
    where = f"{file}: {key}"
    for fixed, why in FIXED.items():
        if key == fixed or key.startswith(f"{fixed}."):
            raise ConfigError(f"{where}: cannot be searched: {why}")
    hint = _hint(file, key)
    if isinstance(value, list):
        return _choices(where, key, value)
    if isinstance(value, dict) and {"low", "high"} & set(value):
        return _range(where, key, value, hint)
    nested = isinstance(value, dict) and dataclasses.is_dataclass(hint)
    remedy = "".join(
        f"; write {key}.{k} as one key, with dots" for k in (list(value)[:1] if nested else [])
    )
    raise ConfigError(
        f"{where}: expected {{low: …, high: …}} or a list of choices, got {shown(value)}{remedy}"
    )


def _choices(where: str, key: str, values: list[Any]) -> Choices:
    made = Choices(key, tuple(values))
    if len(values) < 2:
        raise ConfigError(f"{where}: give two choices or more, or set it in the config")
    for text in made.texts:
        if made.texts.count(text) > 1:
            raise ConfigError(f"{where}: {text} is listed twice")
    return made


def _range(where: str, key: str, bounds: Mapping[str, Any], hint: Any) -> Range:
    for name in bounds:
        if name not in RANGE_KEYS:
            raise ConfigError(f"{where}: unknown key {name!r}{did_you_mean(str(name), RANGE_KEYS)}")
    for name in ("low", "high"):
        if bounds.get(name) is None:
            raise ConfigError(f"{where}: has no {name}; a range has both ends")
    log = bounds.get("log", False)
    if not isinstance(log, bool):
        raise ConfigError(f"{where}: log: expected true or false, got {shown(log)}")
    ends = {n: _number(f"{where}: {n}", bounds[n]) for n in ("low", "high", "step") if n in bounds}
    if hint is float or not all(isinstance(end, int) for end in ends.values()):
        ends = {name: float(end) for name, end in ends.items()}
    low, high, step = ends["low"], ends["high"], ends.get("step")
    if not low < high:
        raise ConfigError(f"{where}: low {low} is not below high {high}")
    if log and low <= 0:
        raise ConfigError(f"{where}: low {low}: a range with log: true begins above 0")
    if log and step is not None:
        raise ConfigError(f"{where}: log and step do not go together; leave one of them out")
    if step is not None:
        if step <= 0:
            raise ConfigError(f"{where}: step {step}: give a number above 0")
        steps = (high - low) / step
        if not math.isclose(steps, round(steps)):
            raise ConfigError(f"{where}: no whole number of steps of {step} from {low} to {high}")
    return Range(key, low, high, log, step)


def _number(where: str, value: Any) -> float:
    if isinstance(value, str):  # YAML 1.1 parses 1e-3 as a string
        try:
            value = float(value)
        except ValueError as error:
            raise ConfigError(f"{where}: expected a number, got {shown(value)}") from error
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigError(f"{where}: expected a number, got {shown(value)}")
    return value


def _hint(file: str, key: str) -> Any:
    """Returns the type of a config's key; Any inside a section whose keys the config does not type.

    Raises:
      ConfigError: The key is unknown.
    """
    hint: Any = Config
    steps = key.split(".")
    for depth, step in enumerate(steps):
        if dataclasses.is_dataclass(hint):
            hints = typing.get_type_hints(hint)
            if step not in hints:
                near = difflib.get_close_matches(key, list(_keys(Config)), n=1)
                names = f"; did you mean {near[0]!r}?" if near else did_you_mean(step, hints)
                raise ConfigError(f"{file}: unknown key {key!r}{names}")
            hint = _without_none(hints[step])
        elif _is_mapping(hint):
            hint = _without_none(typing.get_args(hint)[1])
        elif hint is Any:
            return Any
        else:
            raise ConfigError(f"{file}: {key}: {'.'.join(steps[:depth])} is a value, not a section")
    return hint


def _is_mapping(hint: Any) -> bool:
    origin = typing.get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _keys(cls: type, before: str = "") -> Iterator[str]:
    """Yields all dotted keys of a config's dataclass."""
    for name, hint in typing.get_type_hints(cls).items():
        yield before + name
        inner = _without_none(hint)
        if isinstance(inner, type) and dataclasses.is_dataclass(inner):
            yield from _keys(inner, f"{before}{name}.")


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(a for a in typing.get_args(hint) if a is not type(None))
    return hint
