"""The published datasets that can be prepared, by name; a new one is one file and one entry.

`pipelines.prepare_logs` is not among them: it reads a shop's own tables, not a published dataset.
"""

from __future__ import annotations

import pathlib

from mmrank.registry import Entry, Registry
from pipelines import (
    prepare_fashion,
    prepare_grocery,
    prepare_homedepot,
    prepare_icecat,
    prepare_letor,
    prepare_movielens_posters,
    prepare_qbqtc,
    prepare_spoken_digits,
)


def _letor(source: pathlib.Path, out: pathlib.Path) -> None:
    """Prepares the parts or folds in one folder."""
    prepare_letor.prepare([source], out)


# Each entry makes a function that prepares the source in one folder in another, new folder.
PREPARERS = Registry(
    "dataset",
    {
        "fashion": Entry.function(prepare_fashion.prepare, prepare_fashion.Options),
        "grocery": Entry.function(prepare_grocery.prepare, prepare_grocery.Options),
        "homedepot": Entry.function(prepare_homedepot.prepare, prepare_homedepot.Options),
        "icecat": Entry.function(prepare_icecat.prepare, prepare_icecat.Options),
        "letor": Entry.function(_letor),
        "movielens_posters": Entry.function(
            prepare_movielens_posters.prepare, prepare_movielens_posters.Options
        ),
        "qbqtc": Entry.function(prepare_qbqtc.prepare, prepare_qbqtc.Options),
        "spoken_digits": Entry.function(
            prepare_spoken_digits.prepare, prepare_spoken_digits.Options
        ),
    },
)
