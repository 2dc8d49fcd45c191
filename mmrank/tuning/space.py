"""The search space: keys of a config, each with a range or with choices."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import yaml

from mmrank.config import Config, from_mapping, set_key

STUDY_FILE = "study.db"  # in the folder of a search


class Suggests(Protocol):
    """Anything that draws values as an Optuna trial does."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> Any: ...

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int: ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Attributes:
      key: Dotted key of the config.
      low, high: The ends; both are int if the values are whole numbers.
      log: Whether values are drawn uniformly on a logarithmic scale.
      step: Distance between neighbouring values; None for no fixed step.

    Example:
      >>> Range("training.epochs", 2, 8, step=2).holds(4), Range("training.epochs", 2, 8).holds(9)
      (True, False)
    """

    key: str
    low: float
    high: float
    log: bool = False
    step: float | None = None

    def suggest(self, trial: Suggests) -> Any:
        """Draws a value for a trial."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(self.key, self.low, self.high, step=step, log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)

    @property
    def checked(self) -> tuple[Any, ...]:
        """The values that are checked before the search: both ends."""
        return self.low, self.high

    def holds(self, value: Any) -> bool:
        """Returns whether a value lies in the range."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if isinstance(self.low, int) and not isinstance(value, int):
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return self.low <= value <= self.high and math.isclose(steps, round(steps), abs_tol=1e-9)


@dataclasses.dataclass(frozen=True)
class Choices:
    """Values of any type; a trial draws one of their texts.

    Example:
      >>> choices = Choices("model.fusion.name", ("concat", "gated"))
      >>> choices.texts, choices.checked
      (('concat', 'gated'), ('concat', 'gated'))
    """

    key: str
    values: tuple[Any, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The values as YAML on one line."""
        return tuple(as_text(value) for value in self.values)

    def suggest(self, trial: Suggests) -> Any:
        """Draws a value for a trial."""
        drawn = trial.suggest_categorical(self.key, self.texts)
        return copy.deepcopy(self.values[self.texts.index(drawn)])

    @property
    def checked(self) -> tuple[Any, ...]:
        """The values that are checked before the search: all of them."""
        return self.values


@dataclasses.dataclass(frozen=True)
class Space:
    """The settings that are searched, and the config that gives all other values.

    Attributes:
      name: The name of the file, for messages.
      settings: The settings that are searched.
      base: The config as a plain mapping.

    Example:
      >>> space = Space("space.yaml", (Choices("model.width", (16, 32)),), {"seed": 1})
      >>> space.plain({"model.width": 32})
      {'seed': 1, 'model': {'width': 32}}
    """

    name: str
    settings: tuple[Range | Choices, ...]
    base: Mapping[str, Any]

    def plain(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the base with some values set, by dotted key.

        Raises:
          ConfigError: In the base, a parent of a key is a value and not a section.
        """
        plain = copy.deepcopy(dict(self.base))
        for key, value in values.items():
            set_key(plain, key, value, f"{self.name}: {key}")
        return plain

    def suggest(self, trial: Suggests) -> dict[str, Any]:
        """Draws a value for every setting and returns the values by key."""
        return {setting.key: setting.suggest(trial) for setting in self.settings}

    def drawn_for_base(self) -> dict[str, Any]:
        """Returns what a trial has to draw to reproduce the base, by key.

        Keys whose value in the base lies outside the space are left out.
        """
        config = from_mapping(Config, self.base, self.name)
        drawn = {}
        for setting in self.settings:
            if isinstance(setting, Range):
                value = _value(dataclasses.asdict(config), setting.key)
                if setting.holds(value):
                    drawn[setting.key] = value
                continue
            for text, value in zip(setting.texts, setting.values, strict=True):
                # Resolved configs are compared, since a choice may leave out default values.
                if from_mapping(Config, self.plain({setting.key: value}), self.name) == config:
                    drawn[setting.key] = text
                    break
        return drawn


def as_text(value: Any) -> str:
    """Returns a value as YAML on one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("...").strip()


def _value(plain: Any, key: str) -> Any:
    """Returns the value at a dotted key; None if the key is absent."""
    for step in key.split("."):
        plain = plain.get(step) if isinstance(plain, Mapping) else None
    return plain
