"""Shoppers' rows of items they met, with nothing in them that a list is tested on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from mmrank.collaborative.matrix import Interactions
from mmrank.data.as_of import list_times, training_end
from mmrank.data.tables import DataError, Dataset


def training_rows(dataset: Dataset, interactions: Interactions) -> sp.csr_matrix:
    """Which items each shopper met in training, [shoppers, items] float32 of 0 and 1.

    That is before the end of training, and before the shopper's first validation or test list:
    where every shopper has such lists of their own, what they are asked there is no part of it.
    """
    until = np.full(len(interactions.names), training_end(dataset))
    user, time = dataset.schema.lists.user, dataset.schema.lists.time
    if user is not None and time is not None:
        held_out = dataset.lists[dataset.lists["_split"] != "train"]
        first = held_out.groupby(user)["_time"].min().reindex(interactions.names)
        until = np.fmin(until, first.to_numpy(dtype=np.float64))
    return met(interactions.histories(np.arange(len(until)), until))


def met(weights: sp.csr_matrix) -> sp.csr_matrix:
    """The rows with 1 where a weight is above 0, float32."""
    return (weights > 0).astype(np.float32)


def lists_rows(dataset: Dataset, interactions: Interactions) -> tuple[sp.csr_matrix, np.ndarray]:
    """What each list's shopper met strictly before the list, [lists, items], and rows' lists.

    A list without a time has what its shopper met before the end of training; one without a known
    shopper has an empty row. The second array [rows of lists] says which list each row is of.
    """
    schema = dataset.schema
    number, _ = pd.factorize(dataset.lists[schema.lists.list])
    first = dataset.lists[~pd.Series(number, dataset.lists.index).duplicated()]
    if schema.lists.user is None:
        shoppers = np.full(len(first), -1)
    else:
        shoppers = interactions.codes(first[schema.lists.user])
    times = list_times(dataset, first)
    if not np.isfinite(times).all():
        raise DataError(
            f"{schema.lists.file}: lists have no time, so nothing says which events came before"
        )
    return met(interactions.histories(shoppers, times)), number
