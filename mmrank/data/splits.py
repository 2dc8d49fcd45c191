"""The splits of the lists: train, valid and test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mmrank.data.cells import as_ids
from mmrank.data.findings import DataError, offenders
from mmrank.schema import Schema

SPLITS = ("train", "valid", "test")
TENTHS = (*["train"] * 8, "valid", "test")


def splits_of(schema: Schema, lists: pd.DataFrame, list_ids: pd.Series) -> pd.Series:
    """The split of each row: that of the schema's column, or else one by a hash of the list's id.

    Args:
      schema: The dataset's schema.
      lists: The rows of some lists; the index has their row numbers in the file.
      list_ids: The ids of their lists, [rows].

    Raises:
      DataError: A split is unknown.
    """
    if schema.lists.split is not None:
        split = as_ids(lists[schema.lists.split])
        wrong = ~split.isin(SPLITS).to_numpy()
        if wrong.any():
            raise DataError(
                offenders(
                    schema.lists.file,
                    schema.lists.split,
                    wrong,
                    split,
                    f"is not a split; use one of {', '.join(SPLITS)}",
                )
            )
        return split
    return pd.Series(hash_splits(list_ids), lists.index, dtype=object)


def hash_splits(list_ids: pd.Series, tenths: Sequence[str] = TENTHS) -> np.ndarray:
    """The split of each row by a hash of its list's id, the same on every machine.

    Args:
      list_ids: [rows].
      tenths: The split of each tenth of the hashes, ten names; by default 80/10/10.
    """
    codes, unique = pd.factorize(list_ids, use_na_sentinel=False)
    digits = [int(hashlib.sha256(str(i).encode()).hexdigest()[:8], 16) % 10 for i in unique]
    return np.array(tenths, dtype=object)[np.array(digits, dtype=np.int64)[codes]]
