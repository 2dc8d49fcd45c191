"""Checks a prepared dataset before training: `python -m mmrank.validate --data DIR`."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

from mmrank.data.validation import MEDIA, validate_dataset
from mmrank.outputs import exit_code
from mmrank.schema import load_schema

_EXAMPLE = """\
example:
  python -m mmrank.validate --data data/shop --media all
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 fit for training, 1 errors in the data, 2 no usable schema, 130 stopped."""
    arguments = _parser().parse_args(argv)
    return exit_code(lambda: _run(arguments), "nothing was changed")


def _run(arguments: argparse.Namespace) -> int:
    report = validate_dataset(arguments.data, media=arguments.media)
    if not report.errors:
        # Options are known to the kinds themselves, which take TensorFlow seconds to import.
        from mmrank.features import make_features

        make_features(load_schema(arguments.data), {})
    print(report)
    if report.errors:
        print("not fit for training: mend the errors above and run this again")
        return 1
    without_lists = "candidates" not in report.counts
    print("fit as a catalogue; training needs lists" if without_lists else "fit for training")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.validate",
        description="Report everything that is wrong with a prepared dataset: where, and how to "
        "mend it. Nothing is written.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data",
        type=pathlib.Path,
        required=True,
        metavar="DIR",
        help="folder with a schema.yaml",
    )
    parser.add_argument(
        "--media",
        choices=MEDIA,
        default="sample",
        help="decode all media files, an even sample of 500 a feature (default), or none; missing "
        "files are counted in any case",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
