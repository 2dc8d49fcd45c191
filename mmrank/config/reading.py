"""Reads a frozen dataclass strictly from the plain mapping that YAML was parsed into."""

from __future__ import annotations

import dataclasses
import pathlib
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from mmrank.outputs import UserError, shown
from mmrank.ranges import OneOf, Range
from mmrank.schema import did_you_mean

T = TypeVar("T")


class ConfigError(UserError):
    """A configuration that cannot be used. The message names the key and the remedy."""

    __module__ = "mmrank.config"  # tracebacks name the path that it is imported by


def from_mapping(cls: type[T], plain: Mapping[str, Any], where: str) -> T:
    """Returns an instance of a (nested) dataclass, read strictly from a plain mapping.

    Args:
      cls: A dataclass whose fields are plain values, tuples, mappings or dataclasses.
      plain: The mapping that YAML was parsed into.
      where: Start of every error message: the file, or the file and section.

    Raises:
      ConfigError: A key is unknown, or a value has the wrong type or is out of its range.

    Example:
      >>> from mmrank.config import Config
      >>> config = from_mapping(Config, {"seed": 7, "model": {"width": 16}}, "example")
      >>> config.seed, config.model.width
      (7, 16)
      >>> from_mapping(Config, {"model": {"widht": 16}}, "example")
      Traceback (most recent call last):
      mmrank.config.ConfigError: example: model: unknown key 'widht'; did you mean 'width'?
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
                raise ConfigError(f"{where}: expected {mark}, got {value!r}")
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
        # YAML 1.1 reads 1e-3 as a string.
        try:
            return float(value)
        except ValueError:
            pass
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is pathlib.Path and isinstance(value, str):
        return pathlib.Path(value)
    if hint is Any or (isinstance(value, hint) and not (hint is int and isinstance(value, bool))):
        return value
    raise ConfigError(f"{where}: expected {hint.__name__}, got {shown(value)}")
