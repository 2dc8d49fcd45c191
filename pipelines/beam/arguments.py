"""What every Beam job takes on its command line; read before Beam is imported."""

from __future__ import annotations

import argparse


def add_job_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what every job takes: its shards, the workers of this machine, Beam's own flags."""
    parser.add_argument(
        "--shards", type=positive, default=16, metavar="N", help="files to write (default: 16)"
    )
    parser.add_argument(
        "--workers", type=positive, default=1, metavar="N", help="processes of this machine"
    )
    parser.add_argument("flags", nargs="*", metavar="FLAG", help="of Beam, behind --")


def positive(text: str) -> int:
    """A whole number from 1, for an argument parser."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number
