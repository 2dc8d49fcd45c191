"""Reads untrusted YAML files as plain values, after checking bounds on their size and depth."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import yaml

from mmrank.outputs import UserError, shown

# A schema of a thousand features has 10,000 nodes. An alias counts as many nodes as it expands to:
# a kilobyte of aliases can expand to more than any memory holds.
MOST_NODES, MOST_DEPTH, MOST_BYTES = 200_000, 100, 10_000_000
# Texts that YAML 1.1 reads as a different number: 010 as 8, and 1:30 as 90.
_OTHER_NUMBER = re.compile(r"[-+]?(0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")


class _Open:
    """A sequence or mapping whose end the parser has not reached yet."""

    def __init__(self, event: yaml.CollectionStartEvent):
        self.anchor, self.mapping = event.anchor, isinstance(event, yaml.MappingStartEvent)
        self.nodes, self.children = 1, 0
        self.keys: dict[str, int] = {}

    def take(self, nodes: int, key: yaml.ScalarEvent | None, error: type[UserError]) -> None:
        """Counts one more child, and checks that a key of a mapping is new.

        Args:
          nodes: Nodes of the child with all that it contains.
          key: The child's event if the child is a scalar, which may be a key; None otherwise.
          error: The class of what is raised for a key that occurs twice.
        """
        if key is not None and self.mapping and self.children % 2 == 0:
            line = _line(key)
            if key.value in self.keys:
                raise error(
                    f"the key {shown(key.value)} appears twice, in lines {self.keys[key.value]} "
                    f"and {line}; remove one of them"
                )
            self.keys[key.value] = line
        self.children += 1
        self.nodes += nodes


def read_yaml_file(file: pathlib.Path, error: type[UserError]) -> Any:
    """The content of a YAML file as mappings, lists and plain values.

    Args:
      file: The file.
      error: The class of what is raised; its message begins with the file.

    Raises:
      UserError: As `error`: the file is too large or not UTF-8, or `read_yaml` raises.
    """
    if file.stat().st_size > MOST_BYTES:
        raise error(f"{file}: over {MOST_BYTES // 10**6} MB, too large for a schema or config")
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise error(f"{file}: not UTF-8 at byte {wrong.start}; save it as UTF-8") from wrong
    try:
        return read_yaml(text, error)
    except error as wrong:
        raise error(f"{file}: {wrong}") from wrong.__cause__


def read_yaml(text: str, error: type[UserError]) -> Any:
    """The content of a YAML text as mappings, lists and plain values.

    Args:
      text: The text.
      error: The class of what is raised.

    Raises:
      UserError: As `error`: the text is not YAML, has a key twice, has a number that YAML reads as
        a different one, or is larger or deeper than the bounds once its aliases are expanded.
    """
    try:
        _check(text, error)
        return yaml.safe_load(text)
    except yaml.YAMLError as wrong:
        raise error(f"not YAML: {' '.join(str(wrong).split())}") from wrong
    except (ValueError, LookupError, AttributeError, TypeError) as wrong:
        if isinstance(wrong, UserError):
            raise
        # A date with a 13th month, a number of 5,000 digits, a tag that does not fit its value.
        raise error(f"not YAML: a value cannot be read: {' '.join(str(wrong).split())}") from wrong


def _line(event: yaml.Event) -> int:
    """The line that an event begins on, counted from 1; 0 if unknown."""
    return 0 if event.start_mark is None else event.start_mark.line + 1


def _check(text: str, error: type[UserError]) -> None:
    """Checks the parser's events, whose number does not grow when aliases are expanded."""
    sizes: dict[str, int] = {}
    stack: list[_Open] = []
    total = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        line = _line(event)
        if isinstance(event, yaml.CollectionStartEvent):
            stack.append(_Open(event))
            if len(stack) > MOST_DEPTH:
                raise error(f"line {line}: more than {MOST_DEPTH} levels deep; use fewer levels")
            continue
        key = None
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise error(
                    f"line {line}: the alias *{shown(event.anchor)[1:-1]} refers to no value that "
                    "ends before it; write out the value"
                )
            nodes = sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            nodes, key = 1, event
            if event.implicit[0] and _OTHER_NUMBER.fullmatch(event.value):
                raise error(
                    f"line {line}: {shown(event.value)[1:-1]} would be read as the number "
                    f"{yaml.safe_load(event.value)}; put it in quotes, or write the number that "
                    "is meant"
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            ended = stack.pop()
            nodes = ended.nodes
            if ended.anchor is not None:
                sizes[ended.anchor] = nodes
        else:
            continue
        if key is not None and key.anchor is not None:
            sizes[key.anchor] = 1
        if stack:
            stack[-1].take(nodes, key, error)
            nodes = stack[-1].nodes
        total = max(total, nodes)
        if total > MOST_NODES:
            raise error(
                f"line {line}: more than {MOST_NODES:,} values after its aliases are expanded; "
                "too many for a schema or config"
            )
