"""Checks that words which the project replaced are not back: in names, comments, docstrings, pages.

`python .ci/check_words.py` reads the words and the exceptions from .ci/words.yaml, prints one line
for each replaced word that it finds, with what to write instead, and ends with exit code 1 if it
finds one. `--strings` also checks the other strings of the code: errors, help texts, log lines.
"""

from __future__ import annotations

import argparse
import ast
import collections
import dataclasses
import fnmatch
import io
import pathlib
import re
import subprocess
import tokenize
from collections.abc import Iterator, Sequence

import yaml

CI = pathlib.Path(__file__).resolve().parent
NAMES, TEXTS, STRINGS = "names", "texts", "strings"
PAGES = (".md", ".yaml", ".yml", ".cfg", ".toml")
PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
MESSAGE = re.compile(r"\S\s+\S")  # a string without a space is a key or an option


@dataclasses.dataclass(frozen=True)
class Word:
    """A word that was replaced.

    Attributes:
      prose: Matches it in a text.
      parts: Its forms as parts of names, in lower case.
      instead: What to write.
      where: What is checked: names, texts, strings.
    """

    prose: re.Pattern[str]
    parts: frozenset[str]
    instead: str
    where: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Allowed:
    """Where replaced words may stay.

    Attributes:
      files: A pattern of file names.
      text: Matches what may stay: a name, or the words of a text around a replaced word.
      where: Of names, texts and strings, those that are meant.
    """

    files: str
    text: re.Pattern[str]
    where: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a file that is checked: a name that the file defines, or a text.

    Attributes:
      where: names, texts or strings.
      line: Its first line, from 1.
      text: The name or the text.
    """

    where: str
    line: int
    text: str


def read_words(file: pathlib.Path) -> tuple[tuple[Word, ...], tuple[Allowed, ...]]:
    """Returns the replaced words and the exceptions of a file such as .ci/words.yaml."""
    plain = yaml.safe_load(file.read_text(encoding="utf-8"))
    every = [NAMES, TEXTS, STRINGS]
    words = tuple(
        Word(
            re.compile(rf"(?<![\w`/.-])(?:{'|'.join(entry['words'])})(?![\w`/-])", re.IGNORECASE),
            frozenset(word.lower() for word in entry["words"]),
            entry["instead"],
            frozenset(entry.get("in", every)),
        )
        for entry in plain["words"]
    )
    allowed = tuple(
        Allowed(e["files"], re.compile(e.get("text", "")), frozenset(e.get("in", every)))
        for e in plain["allowed"]
    )
    return words, allowed


def parts_of(name: str, text: str) -> Iterator[Part]:
    """Yields the names, texts and strings of a file; whole lines of a page are texts."""
    if not name.endswith(".py"):
        yield from (Part(TEXTS, i, line) for i, line in enumerate(text.splitlines(), 1))
        return
    tree = ast.parse(text)
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                docstrings.add(first.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            where = TEXTS if node in docstrings else STRINGS
            if where == TEXTS or MESSAGE.search(node.value):
                lines = enumerate(node.value.splitlines(), node.lineno)
                yield from (Part(where, i, line) for i, line in lines)
        yield from (Part(NAMES, getattr(node, "lineno", 1), n) for n in _defined(node))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield Part(TEXTS, token.start[0], token.string)


def _defined(node: ast.AST) -> Iterator[str]:
    """Yields the names that a node of the syntax tree defines, not those that it uses."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield node.attr
    elif isinstance(node, ast.alias) and node.asname:
        yield node.asname
    elif isinstance(node, ast.ExceptHandler) and node.name:
        yield node.name


def find(
    name: str, text: str, words: Sequence[Word], allowed: Sequence[Allowed], kinds: frozenset[str]
) -> list[str]:
    """Returns a line for each replaced word in a file.

    Args:
      name: The file's name, from the root of the repository.
      text: Its content.
      words: The replaced words.
      allowed: The exceptions.
      kinds: Of names, texts and strings, those to check.
    """
    exceptions = [a for a in allowed if fnmatch.fnmatch(name, a.files)]
    found = collections.Counter[str]()
    parts = list(parts_of(name, text))
    if name.endswith(".py"):
        module = pathlib.PurePath(name).stem
        parts.append(Part(NAMES, 1, module))
    for part in parts:
        if part.where not in kinds or any(
            part.where in a.where and a.text.search(part.text) for a in exceptions
        ):
            continue
        for word in words:
            if part.where not in word.where:
                continue
            if part.where == NAMES:
                hits = [p for p in PARTS.findall(part.text) if p.lower() in word.parts][:1]
            else:
                hits = word.prose.findall(part.text)
            for hit in hits:
                shown = f" in the name {part.text}" if part.where == NAMES else ""
                found[f"{name}:{part.line}: {hit!r}{shown}: write {word.instead}"] += 1
    return list(found)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 if no replaced word is found, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="*", help="files to check; without any, all tracked ones")
    parser.add_argument("--strings", action="store_true", help="also check messages")
    args = parser.parse_args(argv)
    root = CI.parent
    names = (
        args.files
        or subprocess.run(
            ["git", "ls-files"], cwd=root, check=True, capture_output=True, text=True
        ).stdout.splitlines()
    )
    words, allowed = read_words(CI / "words.yaml")
    kinds = frozenset({NAMES, TEXTS, *([STRINGS] if args.strings else [])})
    found = [
        line
        for name in names
        if name.endswith((".py", *PAGES)) and (root / name).is_file()
        for line in find(name, (root / name).read_text(encoding="utf-8"), words, allowed, kinds)
    ]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
