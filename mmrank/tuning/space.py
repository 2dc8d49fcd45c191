"""What a search may set: keys of a config, each with a range or with choices."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import yaml

from mmrank.config import Config, from_mapping, set_key

STUDY_FILE = "study.db"  # what the folder of a search holds


class Suggests(Protocol):
    """What draws values, as an Optuna trial does."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> Any: ...

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int: ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both among them.

    Attributes:
      key: Of the config, with dots.
      low, high: Whole numbers if the values are.
      log: Whether small numbers are drawn as often as large ones, order of magnitude by order.
      step: Between two values; None for any.
    """

    key: str
    low: float
    high: float
    log: bool = False
    step: float | None = None

    def suggest(self, trial: Suggests) -> Any:
        """A value that a trial draws."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(self.key, self.low, self.high, step=step, log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)

    @property
    def checked(self) -> tuple[Any, ...]:
        """The values that stand for all."""
        return self.low, self.high

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the range."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if isinstance(self.low, int) and not isinstance(value, int):
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return self.low <= value <= self.high and math.isclose(steps, round(steps), abs_tol=1e-9)


@dataclasses.dataclass(frozen=True)
class Choices:
    """Some values, of any kind; a trial draws their texts."""

    key: str
    values: tuple[Any, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The values as YAML on one line."""
        return tuple(as_text(value) for value in self.values)

    def suggest(self, trial: Suggests) -> Any:
        """A value that a trial draws."""
        drawn = trial.suggest_categorical(self.key, self.texts)
        return copy.deepcopy(self.values[self.texts.index(drawn)])

    @property
    def checked(self) -> tuple[Any, ...]:
        """All values."""
        return self.values


@dataclasses.dataclass(frozen=True)
class Space:
    """The settings that are searched, and the config that holds the others.

    Attributes:
      name: The file, for messages.
      settings: What is searched.
      base: The config as a plain mapping.
    """

    name: str
    settings: tuple[Range | Choices, ...]
    base: Mapping[str, Any]

    def plain(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The base with some values set, by key.

        Raises:
          ConfigError: A section on the way to a key holds a value in the base.
        """
        plain = copy.deepcopy(dict(self.base))
        for key, value in values.items():
            set_key(plain, key, value, f"{self.name}: {key}")
        return plain

    def suggest(self, trial: Suggests) -> dict[str, Any]:
        """The values that a trial draws, by key."""
        return {setting.key: setting.suggest(trial) for setting in self.settings}

    def drawn_for_base(self) -> dict[str, Any]:
        """What a trial draws to be like the base, as far as the base lies in the space."""
        config = from_mapping(Config, self.base, self.name)
        drawn = {}
        for setting in self.settings:
            if isinstance(setting, Range):
                value = _value(dataclasses.asdict(config), setting.key)
                if setting.holds(value):
                    drawn[setting.key] = value
                continue
            for text, value in zip(setting.texts, setting.values, strict=True):
                # Resolved, since a choice need not spell out what is so by default.
                if from_mapping(Config, self.plain({setting.key: value}), self.name) == config:
                    drawn[setting.key] = text
                    break
        return drawn


def as_text(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("...").strip()


def _value(plain: Any, key: str) -> Any:
    """What stands under a key with dots, None where nothing does."""
    for step in key.split("."):
        plain = plain.get(step) if isinstance(plain, Mapping) else None
    return plain
