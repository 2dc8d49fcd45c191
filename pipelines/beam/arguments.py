"""Arguments of every Beam job; parsed before Beam is imported."""

from __future__ import annotations

import argparse


def add_job_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of every job: shards, workers on this machine, Beam's own flags."""
    parser.add_argument(
        "--shards", type=positive, default=16, metavar="N", help="files to write (default: 16)"
    )
    parser.add_argument(
        "--workers", type=positive, default=1, metavar="N", help="local processes (default: 1)"
    )
    parser.add_argument("flags", nargs="*", metavar="FLAG", help="flags of Beam, after --")


def positive(text: str) -> int:
    """An integer of at least 1, for an argument parser."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number
