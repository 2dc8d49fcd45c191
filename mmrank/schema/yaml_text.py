"""YAML files of others as plain values, within bounds that are checked before anything is made."""

from __future__ import annotations

import pathlib
from typing import Any

import yaml

from mmrank.outputs import UserError, shown

# A schema of a thousand features has 10,000 nodes. Aliases count as what they stand for: in a
# kilobyte they can multiply to more than any memory holds.
MOST_NODES, MOST_DEPTH, MOST_BYTES = 200_000, 100, 10_000_000


class _Open:
    """A sequence or mapping whose end is not read yet."""

    def __init__(self, event: yaml.CollectionStartEvent):
        self.anchor, self.mapping = event.anchor, isinstance(event, yaml.MappingStartEvent)
        self.nodes, self.children = 1, 0
        self.keys: dict[str, int] = {}

    def take(self, nodes: int, key: yaml.ScalarEvent | None, error: type[UserError]) -> None:
        """Counts one more node inside, which is a key where its place is one."""
        if key is not None and self.mapping and self.children % 2 == 0:
            line = _line(key)
            if key.value in self.keys:
                raise error(
                    f"the key {shown(key.value)} stands twice, in lines {self.keys[key.value]} "
                    f"and {line}; leave one of them out"
                )
            self.keys[key.value] = line
        self.children += 1
        self.nodes += nodes


def read_yaml_file(file: pathlib.Path, error: type[UserError]) -> Any:
    """What a YAML file says; arguments and errors as of `read_yaml`.

    Args:
      file: The file.
      error: What is raised; its message begins with the file.
    """
    if file.stat().st_size > MOST_BYTES:
        raise error(f"{file}: larger than {MOST_BYTES // 10**6} MB, so no schema and no config")
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise error(f"{file}: not UTF-8 at byte {wrong.start}; save it as UTF-8") from wrong
    try:
        return read_yaml(text, error)
    except error as wrong:
        raise error(f"{file}: {wrong}") from wrong.__cause__


def read_yaml(text: str, error: type[UserError]) -> Any:
    """What a text of YAML says, as mappings, lists and plain values.

    Args:
      text: The text.
      error: What is raised.

    Raises:
      UserError: As `error`: it is no YAML, names a key twice, or is larger or deeper than the
        bounds once its aliases are written out.
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
    """The line that an event begins in, from 1 on; 0 where it is not known."""
    return 0 if event.start_mark is None else event.start_mark.line + 1


def _check(text: str, error: type[UserError]) -> None:
    """Walks over the events of the parser, which are few however much aliases multiply."""
    sizes: dict[str, int] = {}
    stack: list[_Open] = []
    total = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        line = _line(event)
        if isinstance(event, yaml.CollectionStartEvent):
            stack.append(_Open(event))
            if len(stack) > MOST_DEPTH:
                raise error(f"line {line}: more than {MOST_DEPTH} levels deep; write it flatter")
            continue
        key = None
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise error(
                    f"line {line}: the alias *{shown(event.anchor)[1:-1]} stands for nothing that "
                    "ends before it; write out what is meant"
                )
            nodes = sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            nodes, key = 1, event
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
                f"line {line}: more than {MOST_NODES:,} values once its aliases are written out; "
                "no schema and no config is so large"
            )
