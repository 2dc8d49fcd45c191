"""Users' rows of the items that they met, without anything on which a list is tested."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from mmrank.collaborative.matrix import Interactions
from mmrank.data.as_of import list_times, training_end
from mmrank.data.tables import DataError, Dataset


def training_rows(dataset: Dataset, interactions: Interactions) -> sp.csr_matrix:
    """Which items each user met in training, [users, items] float32 of 0 and 1.

    The rows hold events before the end of training, and before the user's first validation or test
    list: for users with such lists of their own, what they do there is excluded.
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
    """The items that each list's user met strictly before the list, and each row's list number.

    A list without a time has what its user met before the end of training; a list without a known
    user has an empty row.

    Returns:
      The items [lists, items] of 0 and 1, and the list that each row of `dataset.lists` belongs
      to, [rows].

    Raises:
      DataError: A time is unknown, so that nothing says which events came before.
    """
    schema = dataset.schema
    number, _ = pd.factorize(dataset.lists[schema.lists.list])
    first = dataset.lists[~pd.Series(number, dataset.lists.index).duplicated()]
    if schema.lists.user is None:
        users = np.full(len(first), -1)
    else:
        users = interactions.codes(first[schema.lists.user])
    times = list_times(dataset, first)
    if not np.isfinite(times).all():
        raise DataError(
            f"{schema.lists.file}: lists have no time, so it is unknown which events came before"
        )
    return met(interactions.histories(users, times)), number
