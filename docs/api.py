"""Writes the API pages from the docstrings of all public names: `python docs/api.py --out DIR`."""

from __future__ import annotations

import argparse
import importlib
import pathlib
import sys
import warnings
from collections.abc import Sequence

from mmrank.outputs import exit_code, new_folder, quiet_tensorflow, require_extra

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXAMPLE = """example:
  python docs/api.py --out build/api
  python -m webbrowser build/api/mmrank.html
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Writes a page for each package and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python docs/api.py",
        description="Writes a page for each package of mmrank, with its public names.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, help="new folder for the pages (HTML)"
    )
    arguments = parser.parse_args(argv)
    return exit_code(lambda: write_pages(arguments.out))


def packages() -> list[str]:
    """The names of all packages of mmrank, the top one first."""
    files = (ROOT / "mmrank").rglob("__init__.py")
    return sorted(".".join(file.parent.relative_to(ROOT).parts) for file in files)


def write_pages(out: pathlib.Path) -> int:
    """Writes the pages, whole or not at all; returns 1 if pdoc warns, for example of a wrong name.

    Raises:
      MissingExtra: pdoc is not installed.
      OutputError: The folder is not empty.
    """
    require_extra("the API pages", "pdoc", "docs")
    quiet_tensorflow()
    import pdoc

    names = packages()
    for package in map(importlib.import_module, names):
        # pdoc documents what a module holds, and names that load on first use are not held yet.
        for name in package.__all__:
            setattr(package, name, getattr(package, name))
    pdoc.render.configure(docformat="google", search=True)
    with warnings.catch_warnings(record=True) as caught, new_folder(out) as folder:
        warnings.simplefilter("always")
        pdoc.pdoc(*names, output_directory=folder)
    problems = [str(w.message) for w in caught if "pdoc" in pathlib.Path(w.filename).parts]
    for text in problems:
        print(f"warning: {text}", file=sys.stderr)
    print(f"{len(names)} pages in {out}")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
