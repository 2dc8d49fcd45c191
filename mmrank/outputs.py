"""What every command line shares: errors that are the user's to mend, and whole outputs or none."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import logging
import os
import pathlib
import reprlib
import shutil
import sys
from collections.abc import Callable, Collection, Iterator
from typing import Any

INTERRUPTED = 130
WRONG_INPUT = 2
_MARK = ".mmrank-unfinished"
# How a full disk, a used-up quota and the largest file allowed are told, by TensorFlow as well.
_FULL = tuple(os.strerror(e) for e in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


class UserError(ValueError):
    """Something of the user's that cannot be used; the message says what, where and the remedy."""


class InputError(UserError):
    """Source data that cannot be used."""


class OutputError(UserError):
    """An output that must not be written to."""


class MissingExtra(UserError):
    """Something that an optional part of the installation is needed for."""


def shown(value: object) -> str:
    """A value as messages show it: in one short piece, however long or deeply nested it is."""
    made = reprlib.Repr()
    made.maxlevel, made.maxstring, made.maxother = 3, 60, 60
    return made.repr(value)


def require_extra(what: str, module: str, extra: str) -> None:
    """Nothing, if a module that comes with an extra is installed.

    Args:
      what: What needs it, to begin the message with.
      module: The module's name for `import`.
      extra: The extra of setup.cfg that brings it.

    Raises:
      MissingExtra: It is not installed; the message names the install command.
    """
    if importlib.util.find_spec(module) is None:
        raise MissingExtra(f"{what} needs {module}: pip install 'mmrank[{extra}]'")


def check_target(flag: str, file: pathlib.Path, force: bool | None = None) -> None:
    """Nothing, if a command may write this file.

    Args:
      flag: The option that names it, to begin the message with.
      file: The file.
      force: Whether an existing file may be replaced; None for a command that never does.

    Raises:
      OutputError: Its folder is missing, or it exists.
    """
    if not file.parent.is_dir():
        raise OutputError(f"{flag}: there is no folder {file.parent}; make it first")
    if file.is_dir():
        raise OutputError(f"{flag}: {file} is a folder; name a file")
    if file.exists() and force is None:
        raise OutputError(f"{flag}: {file} exists, and is never replaced; name another file")
    if file.exists() and not force:
        raise OutputError(f"{flag}: {file} exists; add --force to replace it, or name another file")


@contextlib.contextmanager
def new_folder(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """A temporary sibling folder that becomes `out` if the block ends without an error.

    The sibling is named `.NAME.partial` and marked by a file; one that a killed run left is
    replaced, a folder without the mark is somebody's own and stays.

    Args:
      out: The folder to make. It must not exist, or be empty.

    Raises:
      OutputError: `out` is a file or a folder with something in it, or the sibling is not ours.
    """
    out = out.absolute()
    refuse_filled(out)
    partial = out.with_name(f".{out.name}.partial")
    mark = partial / _MARK
    if partial.exists():
        if not mark.is_file():
            held = ", ".join(sorted(p.name for p in partial.iterdir())[:3])
            raise OutputError(
                f"{partial}: should be unfinished output, but holds {held}; move it away"
            )
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    mark.touch()
    try:
        yield partial
        mark.unlink()
        if out.exists():
            out.rmdir()
        partial.rename(out)
    finally:
        if partial.exists():
            shutil.rmtree(partial)


def refuse_filled(out: pathlib.Path, but: Collection[str] = ()) -> None:
    """Nothing, if `out` is absent or an empty folder.

    Args:
      out: The folder.
      but: Names in it that do not count.

    Raises:
      OutputError: It is a file or a folder with something in it.
    """
    if out.exists() and (not out.is_dir() or any(p.name not in but for p in out.iterdir())):
        raise OutputError(f"{out}: exists and is not empty; name a new folder or remove it first")


def read_json(file: pathlib.Path, remedy: str) -> Any:
    """What a JSON file of ours says.

    Args:
      file: The file.
      remedy: What to do if it is damaged, to end the message with.

    Raises:
      InputError: It is no JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: damaged: {one_line(error)}; {remedy}") from error


def one_line(error: BaseException, most: int = 200) -> str:
    """What an error says, in one line of at most so many characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else f"{text[:most]}…"


def write_whole(file: pathlib.Path, text: str) -> None:
    """Writes a text so that the file holds all of it, or what it held before."""
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_file(file: pathlib.Path) -> Iterator[pathlib.Path]:
    """A temporary sibling that becomes `file` if the block ends without an error.

    Its ending is that of `file`.
    """
    partial = file.with_name(f".partial-{file.name}")
    try:
        yield partial
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


class _ErrorStream(logging.Handler):
    """Writes to what `sys.stderr` is at the moment, which notebooks and tests replace."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def log_progress() -> None:
    """Sends mmrank's own progress to the error stream and keeps TensorFlow's chatter off it.

    To be called before TensorFlow is imported; `TF_CPP_MIN_LOG_LEVEL` in the environment wins.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    # A library that logs at the root would give it a handler, and our lines would come twice.
    logging.getLogger().addHandler(logging.NullHandler())
    ours = logging.getLogger("mmrank")
    ours.setLevel(logging.INFO)
    if not ours.handlers:
        handler = _ErrorStream()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
        ours.addHandler(handler)


def exit_code(job: Callable[[], int | None], interrupted: str = "nothing was written") -> int:
    """The job's exit code or 0; 2 after one line for wrong input, 130 after Ctrl-C.

    Args:
      job: What to do; a `UserError` or an `OSError` of it is the user's to mend.
      interrupted: What to say after Ctrl-C, and when the disk is full.
    """
    try:
        return job() or 0
    except (UserError, OSError) as error:
        if _disk_is_full(error):
            return _tell_full_disk(error, interrupted)
        print(f"error: {error}", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        print(f"interrupted; {interrupted}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        # TensorFlow and Arrow have errors of their own for it, which are not imported here.
        if not _disk_is_full(error):
            raise
        return _tell_full_disk(error, interrupted)


def _disk_is_full(error: Exception) -> bool:
    return any(what in str(error) for what in _FULL)


def _tell_full_disk(error: Exception, interrupted: str) -> int:
    print(
        f"error: the disk is full: {one_line(error)}; free some space, or write elsewhere, and run "
        f"the command again ({interrupted})",
        file=sys.stderr,
    )
    return WRONG_INPUT
