"""Checks a prepared dataset before training: `python -m mmrank.validate --data DIR`."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

from mmrank.data.validation import MEDIA, validate_dataset
from mmrank.outputs import exit_code, quiet_tensorflow
from mmrank.schema import load_schema

_EXAMPLE = """\
example:
  python -m mmrank.validate --data data/shop --media all
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 fit for training, 1 errors in the data, 2 no usable schema, 130 stopped."""
    arguments = _parser().parse_args(argv)
    quiet_tensorflow()
    return exit_code(lambda: _run(arguments), "nothing was changed")


def _run(arguments: argparse.Namespace) -> int:
    schema = load_schema(arguments.data)
    report = validate_dataset(arguments.data, media=arguments.media, schema=schema)
    if not report.errors:
        # Only the kinds know their options; importing them loads TensorFlow, which takes seconds.
        from mmrank.features import make_features

        make_features(schema, {})
    print(report)
    if report.errors:
        print("not fit for training: fix the errors above and run this again")
        return 1
    without_lists = "candidates" not in report.counts
    print("usable as a catalogue; training needs lists" if without_lists else "fit for training")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.validate",
        description="Reports everything that is wrong with a prepared dataset, where, and how to "
        "fix it. Nothing is written.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data",
        type=pathlib.Path,
        required=True,
        metavar="DIR",
        help="prepared dataset: a folder with a schema.yaml",
    )
    parser.add_argument(
        "--media",
        choices=MEDIA,
        default="sample",
        help="decode all media files, an even sample of 500 per feature (default), or none; "
        "missing files are always counted",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
