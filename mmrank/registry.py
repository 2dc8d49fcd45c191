"""Registries: explicit dicts from names to entries, each with the options that it takes.

    FUSIONS = Registry("fusion", {"sum": Entry(Sum), "transformer": Entry(Transformer, Options)})
    FUSIONS.make("transformer", {"layers": 2})
    FUSIONS["mine"] = Entry(MyFusion, MyOptions)  # in a user's own code

All registries of mmrank are made and read in this way. No TensorFlow here.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self, TypeVar

from mmrank.config import ConfigError, from_mapping
from mmrank.outputs import require_extra
from mmrank.schema import did_you_mean


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """The options of an entry that takes none."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """What one name of a registry makes.

    Attributes:
      make: A class or a function. It is called with the options as keyword arguments, after the
        arguments that all entries of its registry get.
      Options: Frozen dataclass of the options. Its types and ranges (`mmrank.ranges`) say which
        values are valid; a field without a default is required.
      needs: A module that has to be installed, and the extra of setup.cfg that installs it.

    Raises:
      TypeError: `Options` is not a dataclass.
    """

    make: Callable[..., Any]
    Options: type = NoOptions
    needs: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if not dataclasses.is_dataclass(self.Options):
            raise TypeError(f"the options of an entry must be a dataclass, got {self.Options!r}")

    @classmethod
    def function(cls, function: Callable[..., Any], options: type = NoOptions, **more: Any) -> Self:
        """An entry that makes a function: `function` with its options bound as keywords.

        Args:
          function: The function.
          options: Frozen dataclass of those of its keyword arguments that are options.
          **more: Further fields of the entry.
        """
        return cls(functools.partial(functools.partial, function), options, **more)

    def build(self, options: Any, *args: Any, **kwargs: Any) -> Any:
        """Makes the object; `options` is an instance of `Options`."""
        fields = {f.name: getattr(options, f.name) for f in dataclasses.fields(self.Options)}
        return self.make(*args, **fields, **kwargs)


E = TypeVar("E", bound=Entry)


class Registry(dict[str, E]):
    """Entries by name.

    Args:
      what: What an entry makes, such as `fusion`; messages name it.
      entries: The entries by name.

    Raises:
      TypeError: A value that is not an entry is added.
    """

    def __init__(self, what: str, entries: Mapping[str, E]):
        super().__init__(entries)
        self.what = what

    def __setitem__(self, name: str, entry: E) -> None:
        if not isinstance(entry, Entry):
            raise TypeError(f"{self.what} {name!r}: wrap it in an Entry, with its options")
        super().__setitem__(name, entry)

    def entry(self, name: str, where: str = "") -> E:
        """Returns the entry of a name.

        Args:
          name: The name.
          where: Key of the config that names it, which a message begins with.

        Raises:
          ConfigError: The name is unknown. The message gives the nearest name, or all of them.
        """
        check_known(self.what, name, self, where)
        return self[name]

    def options(self, name: str, options: Any = None, where: str = "") -> Any:
        """Returns the options of an entry, checked and with their defaults.

        Args:
          name: The entry's name.
          options: A mapping; None for the defaults; or an instance of the entry's `Options`, which
            is returned as it is.
          where: As for `entry`.

        Raises:
          ConfigError: The name or an option is unknown, an option is missing, or a value has the
            wrong type or is out of its range.
        """
        entry = self.entry(name, where)
        if isinstance(options, entry.Options):
            return options
        plain = dict(options or {})
        fields = dataclasses.fields(entry.Options)
        known = [field.name for field in fields]
        of_entry = f"{_start(where)}{self.what} {name}"
        for key in plain:
            if key not in known:
                hint = did_you_mean(str(key), known) or "; it takes no options"
                raise ConfigError(f"{of_entry}: unknown option {key!r}{hint}")
        for field in fields:
            required = field.default is field.default_factory is dataclasses.MISSING
            if required and field.name not in plain:
                raise ConfigError(f"{of_entry}: needs the option {field.name}")
        return from_mapping(entry.Options, plain, of_entry)

    def make(
        self, name: str, options: Any = None, /, *args: Any, where: str = "", **kwargs: Any
    ) -> Any:
        """Returns what the entry of a name makes.

        Args:
          name, options, where: As for `options`.
          *args, **kwargs: Arguments that all entries of the registry get.

        Raises:
          ConfigError: As for `options`.
        """
        return self.entry(name, where).build(self.options(name, options, where), *args, **kwargs)

    def pick(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Returns those of some options that an entry has, where several entries share a section.

        Raises:
          ConfigError: The name is unknown.
        """
        known = [field.name for field in dataclasses.fields(self.entry(name).Options)]
        return {key: value for key, value in options.items() if key in known}

    def check_installed(self, name: str) -> None:
        """Checks that the module that an entry needs is installed.

        Raises:
          ConfigError: The name is unknown.
          MissingExtra: The module is not installed. The message names the install command.
        """
        needs = self.entry(name).needs
        if needs is not None:
            require_extra(f"the {self.what} {name}", *needs)


def check_known(what: str, name: str, known: Iterable[str], where: str = "") -> None:
    """Checks that a name is known.

    Args:
      what: What it names, such as `fusion`.
      name: The name.
      known: The known names.
      where: Key of the config that names it, which the message begins with.

    Raises:
      ConfigError: The name is unknown. The message gives the nearest name, or all of them.
    """
    names = tuple(known)
    if name not in names:
        raise ConfigError(f"{_start(where)}unknown {what} {name!r}{did_you_mean(name, names)}")


def _start(where: str) -> str:
    return f"{where}: " if where else ""
