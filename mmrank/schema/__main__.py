"""Command line: guesses the schema of a folder of tables, `python -m mmrank.schema --guess DIR`."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

from mmrank.data.kinds import KINDS
from mmrank.data.tables import DataError
from mmrank.data.validation import validate_dataset
from mmrank.guess.writing import guess_schema
from mmrank.outputs import exit_code, log_progress, write_whole
from mmrank.schema import SCHEMA_FILE, SchemaError, schema_from_dict
from mmrank.schema.yaml_text import read_yaml

EXAMPLE = """\
example:
  python -m mmrank.schema --guess myshop
  python -m mmrank.suggest --data myshop --out myshop.yaml
  python -m mmrank.train --config myshop.yaml --data myshop

Looks at the tables in FOLDER: which has the items, which the judged or clicked candidates of
searches, what joins them, and what kind of feature each column is. The schema.yaml says for each
line how sure the guess is and why; read it, then train. Nothing else is written. `mmrank.suggest`
shows the config of a run and the time it needs; `mmrank.train --data myshop` chooses the same
config automatically.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 fit for training, 1 errors in the data, 2 wrong input, 130 interrupted."""
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.schema",
        description="Guesses the schema.yaml of a folder with tables, and checks the data with it.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--guess", required=True, type=pathlib.Path, metavar="FOLDER")
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        metavar="FILE",
        help=f"file to write (default: FOLDER/{SCHEMA_FILE}); never replaces a file",
    )
    return parser


def _run(args: argparse.Namespace) -> int:
    folder = args.guess
    if not folder.is_dir():
        raise DataError(f"--guess: {folder}: no such folder")
    out = folder / SCHEMA_FILE if args.out is None else args.out
    if out.exists():
        raise DataError(f"{out}: exists and is never replaced; give another file with --out")
    if not out.parent.is_dir():
        raise DataError(f"--out: the folder {out.parent} does not exist; create it first")
    written = guess_schema(folder, KINDS)
    schema = schema_from_dict(read_yaml(written.text, SchemaError))
    write_whole(out, written.text)
    print(written.summary())
    print(f"wrote     {out}")
    report = validate_dataset(folder, schema=schema)
    print(report)
    if report.errors:
        print(f"not fit for training: fix the errors above, in the data or in {out}")
        return 1
    if not schema.lists.file:
        print(f"usable as a catalogue; next: add lists in {out}")
    else:
        target = folder / SCHEMA_FILE
        moved = "" if out == target else f", move it to {target}"
        print(f"fit for training; next: read {out}{moved}, then")
        print(f"  python -m mmrank.train --data {folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
