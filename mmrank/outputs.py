"""Shared by all command lines: errors that the user can fix, and complete outputs or none."""

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
import warnings
from collections.abc import Callable, Collection, Iterator
from typing import Any

INTERRUPTED = 130
WRONG_INPUT = 2
_MARK = ".mmrank-unfinished"
# The messages for a full disk, an exhausted quota and a too large file; TensorFlow uses them too.
_FULL = tuple(os.strerror(e) for e in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


class UserError(ValueError):
    """The user's input cannot be used; the message says what, where and how to fix it.

    Example:
      >>> all(issubclass(error, UserError) for error in (InputError, OutputError, MissingExtra))
      True
    """


class InputError(UserError):
    """Source data cannot be used.

    Example:
      >>> import pathlib
      >>> _ = pathlib.Path("table.json").write_text("{")
      >>> read_json(pathlib.Path("table.json"), "write it again")
      Traceback (most recent call last):
      mmrank.outputs.InputError: table.json: damaged: ...; write it again
    """


class OutputError(UserError):
    """An output must not be written to.

    Example:
      >>> import pathlib
      >>> pathlib.Path("out/old").mkdir(parents=True)
      >>> refuse_filled(pathlib.Path("out"))
      Traceback (most recent call last):
      mmrank.outputs.OutputError: out: exists and is not empty; ...
    """


class MissingExtra(UserError):
    """An optional part of the installation is needed and not installed.

    Example:
      >>> require_extra("the scorer", "no_such_module", "collaborative")
      Traceback (most recent call last):
      mmrank.outputs.MissingExtra: the scorer needs no_such_module: pip install ...
    """


def shown(value: object) -> str:
    """A value as messages show it: one short line, however long or deeply nested the value is.

    Example:
      >>> shown("x" * 1000)
      "'xxxxxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxxxxxxxxxx'"
    """
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        value = value.item()  # type: ignore[attr-defined]  # NumPy 2 writes np.float64(1.0)
    made = reprlib.Repr()
    made.maxlevel, made.maxstring, made.maxother = 3, 60, 60
    return " ".join(made.repr(value).split())


def install_command(extra: str) -> str:
    """How to install an extra of setup.cfg; from its folder, since no package index has mmrank."""
    return f"pip install -e '.[{extra}]' in the folder of mmrank's setup.cfg"


def require_extra(what: str, module: str, extra: str) -> None:
    """Checks that a module that comes with an extra is installed.

    Args:
      what: What needs the module; the message begins with it.
      module: The module's name for `import`.
      extra: The extra of setup.cfg that installs the module.

    Raises:
      MissingExtra: The module is not installed; the message names the install command.

    Example:
      >>> require_extra("the table reader", "pandas", "none")
      >>> require_extra("the scorer", "no_such_module", "collaborative")
      Traceback (most recent call last):
      mmrank.outputs.MissingExtra: the scorer needs no_such_module: ...
    """
    if importlib.util.find_spec(module) is None:
        raise MissingExtra(f"{what} needs {module}: {install_command(extra)}")


def check_target(flag: str, file: pathlib.Path, force: bool | None = None) -> None:
    """Checks that a command may write a file.

    Args:
      flag: The option that names the file; the message begins with it.
      file: The file.
      force: Whether an existing file may be replaced; None for a command that never does.

    Raises:
      OutputError: The file's folder is missing, or the file exists.
    """
    if not file.parent.is_dir():
        raise OutputError(f"{flag}: the folder {file.parent} does not exist; create it first")
    if file.is_dir():
        raise OutputError(f"{flag}: {file} is a folder, not a file; give a file")
    if file.exists() and force is None:
        raise OutputError(f"{flag}: {file} exists and is never replaced; give another file")
    if file.exists() and not force:
        raise OutputError(f"{flag}: {file} exists; add --force to replace it, or give another file")


@contextlib.contextmanager
def new_folder(out: pathlib.Path) -> Iterator[pathlib.Path]:
    r"""A temporary sibling folder that becomes `out` if the block ends without an error.

    The sibling is named `.NAME.partial` and marked by a file. A sibling that a killed run left is
    replaced; a folder without the mark belongs to somebody else and is kept.

    Args:
      out: The folder to make. It must not exist, or be empty.

    Raises:
      OutputError: `out` is a file or a non-empty folder, or the sibling has no mark.

    Example:
      >>> import pathlib
      >>> with new_folder(pathlib.Path("out")) as folder:
      ...     _ = (folder / "table.csv").write_text("a,b\n")
      >>> [file.name for file in pathlib.Path("out").iterdir()]
      ['table.csv']
    """
    out = out.absolute()
    refuse_filled(out)
    partial = out.with_name(f".{out.name}.partial")
    mark = partial / _MARK
    if partial.exists():
        if not mark.is_file():
            held = ", ".join(sorted(p.name for p in partial.iterdir())[:3])
            raise OutputError(
                f"{partial}: is not unfinished output: it holds {held}; move it elsewhere"
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
    """Checks that `out` is absent or an empty folder.

    Args:
      out: The folder.
      but: Names in the folder that do not count.

    Raises:
      OutputError: `out` is a file or a non-empty folder.
    """
    if out.exists() and (not out.is_dir() or any(p.name not in but for p in out.iterdir())):
        raise OutputError(f"{out}: exists and is not empty; give a new folder or remove it first")


def read_json(file: pathlib.Path, remedy: str) -> Any:
    """The content of a JSON file that mmrank wrote.

    Args:
      file: The file.
      remedy: What to do if the file is damaged; the message ends with it.

    Raises:
      InputError: The file is not JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: damaged: {one_line(error)}; {remedy}") from error


def one_line(error: BaseException, most: int = 200) -> str:
    r"""An error's message in one line of at most `most` characters.

    Example:
      >>> one_line(ValueError("two\n  lines")), one_line(ValueError())
      ('two lines', 'ValueError')
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else f"{text[:most]}…"


def write_whole(file: pathlib.Path, text: str) -> None:
    """Writes a text so that the file holds all of it, or else its previous content."""
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_file(file: pathlib.Path) -> Iterator[pathlib.Path]:
    """A temporary sibling file that becomes `file` if the block ends without an error.

    It has the suffix of `file`.
    """
    partial = file.with_name(f".partial-{file.name}")
    try:
        yield partial
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


class _ErrorStream(logging.Handler):
    """Writes to the current `sys.stderr`, which notebooks and tests replace."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def quiet_tensorflow() -> None:
    """Keeps log messages of TensorFlow and of what it imports off the error stream.

    Call it before TensorFlow is imported; `TF_CPP_MIN_LOG_LEVEL` in the environment takes
    precedence.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    # tensorflow_hub causes this warning, and the user of a command cannot fix it.
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)


def log_progress() -> None:
    """Sends mmrank's own progress to the error stream and keeps TensorFlow's messages off it.

    Call it before TensorFlow is imported; `TF_CPP_MIN_LOG_LEVEL` in the environment takes
    precedence.
    """
    quiet_tensorflow()
    # A library that logs at the root would give it a handler, and our lines would appear twice.
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
      job: What to do; a `UserError` or an `OSError` that it raises is for the user to fix.
      interrupted: What to print after Ctrl-C, and when the disk is full.
    """
    try:
        return job() or 0
    except (UserError, OSError) as error:
        if _disk_is_full(error):
            return _report_full_disk(error, interrupted)
        print(f"error: {error}", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        print(f"interrupted; {interrupted}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        # TensorFlow and Arrow have their own errors for a full disk, which are not imported here.
        if not _disk_is_full(error):
            raise
        return _report_full_disk(error, interrupted)


def _disk_is_full(error: Exception) -> bool:
    return any(what in str(error) for what in _FULL)


def _report_full_disk(error: Exception, interrupted: str) -> int:
    print(
        f"error: the disk is full: {one_line(error)}; free some space, or write elsewhere, and run "
        f"the command again ({interrupted})",
        file=sys.stderr,
    )
    return WRONG_INPUT
