"""The plain mapping in the YAML file of a config, and overrides of its keys."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from mmrank.config.reading import ConfigError
from mmrank.outputs import shown
from mmrank.schema import did_you_mean
from mmrank.schema.yaml_text import read_yaml, read_yaml_file


def read_plain(path: str | pathlib.Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Returns the mapping in a YAML file; arguments and errors as of `load_config`."""
    file = pathlib.Path(path)
    if not file.is_file():
        near = sorted(p.name for p in file.parent.glob("*.yaml")) if file.parent.is_dir() else []
        raise ConfigError(f"{file}: no such file{did_you_mean(file.name, near)}")
    plain = read_yaml_file(file, ConfigError) or {}
    if not isinstance(plain, dict):
        raise ConfigError(f"{file}: expected a mapping at the top level")
    for override in overrides:
        apply_override(plain, override)
    return plain


def apply_override(plain: dict[str, Any], override: str) -> None:
    """Applies one override `a.b=c` to a nested mapping, in place.

    Raises:
      ConfigError: The text has no `=`, or a key before the last one holds a plain value.

    Example:
      >>> plain = {"seed": 1}
      >>> apply_override(plain, "model.head.hidden=[64, 32]")
      >>> plain
      {'seed': 1, 'model': {'head': {'hidden': [64, 32]}}}
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
    """Sets the value of a dotted key in a nested mapping, in place.

    Args:
      plain: The mapping; missing sections are created.
      key: A key such as training.epochs.
      value: The value.
      where: Start of the error message.

    Raises:
      ConfigError: A key before the last one holds a plain value.
    """
    *way, last = key.split(".")
    section_of(plain, way, where)[last] = value


def section_of(plain: dict[str, Any], way: Sequence[str], where: str) -> dict[str, Any]:
    """Returns a section of a plain mapping; missing ones are created.

    Args:
      plain: The mapping.
      way: The names of the sections from the outermost on.
      where: Start of the error message.

    Raises:
      ConfigError: One of them holds a plain value.
    """
    node = plain
    for step in way:
        if node.get(step) is None:
            node[step] = {}
        node = node[step]
        if not isinstance(node, dict):
            raise ConfigError(f"{where}: {step!r} is a value, not a section")
    return node
