"""Scores many lists at once, padded and batched, with the same scores as one list at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmrank.serving.ranker import SCORES, Ranker
from mmrank.serving.request import Arrays

MOST = 4096  # candidates of a batch, including padding
SHORTEST = 8


def score_lists(
    ranker: Ranker,
    contexts: Arrays,
    candidates: Arrays,
    offsets: np.ndarray,
    histories: Sequence[Any] | None = None,
) -> dict[str, np.ndarray]:
    """Returns `scores` and each task's output by name, [N] float32.

    Args:
      ranker: The export.
      contexts: Features of query and user of B lists, [B], each with its flags.
      candidates: Features of N candidates with their flags, [N]: those of the pair, and either
        those of the item or its id as `items`, a text.
      offsets: The index of each list's first candidate, and N, [B + 1].
      histories: The history of each list's user, as `Ranker.rank` takes it, or None for a user
        without; None if no user has a history.

    Example:
      With a signature that scores an item by the length of its id:

      >>> import pathlib
      >>> import types
      >>> import numpy as np
      >>> import tensorflow as tf
      >>> from mmrank.serving.card import Card
      >>> from mmrank.serving.request import Inputs
      >>> def rank_items(items):
      ...     return {"scores": tf.cast(tf.strings.length(items), tf.float32)}
      >>> export = types.SimpleNamespace(signatures={"rank_items": rank_items})
      >>> ranker = Ranker(pathlib.Path("export"), Card(Inputs({}, history=None)), export)
      >>> items, offsets = np.array(["red", "blue", "red"], object), np.array([0, 2, 3])
      >>> score_lists(ranker, {}, {"items": items}, offsets)["scores"].tolist()
      [3.0, 4.0, 3.0]
    """
    count = int(offsets[-1])
    names = (SCORES, *ranker.tasks)
    found = {n: np.zeros(count, np.float32) for n in names}
    by_id = "items" in candidates
    signature = "rank_items" if by_id else "serving_default"
    for lists, length in _batches(offsets):
        starts, sizes = offsets[lists], offsets[lists + 1] - offsets[lists]
        slots = np.arange(length)
        real = slots < sizes[:, None]
        rows = np.where(real, starts[:, None] + slots, 0)
        arrays = {n: a[lists] for n, a in contexts.items()}
        for name, values in candidates.items():
            padded = values[rows]
            padded[~real] = "" if values.dtype == object else values.dtype.type(0)
            arrays[name] = padded
        if not by_id:
            arrays["list_length"] = sizes.astype(np.int32)
        arrays |= _histories(ranker, [None if histories is None else histories[i] for i in lists])
        given = ranker.scored(signature, arrays)
        for name in names:
            found[name][rows[real]] = given[name][real]
    return found


def _batches(offsets: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Yields, for each batch, the indices of its lists and the length to which they are padded.

    Lengths are powers of two, so that few shapes are traced. Lists without candidates are left out.
    """
    sizes = np.diff(offsets)
    lengths = 2 ** np.ceil(np.log2(np.maximum(sizes, SHORTEST))).astype(np.int64)
    for length in np.unique(lengths[sizes > 0]):
        lists = np.flatnonzero((lengths == length) & (sizes > 0))
        step = max(MOST // int(length), 1)
        for start in range(0, len(lists), step):
            yield lists[start : start + step], int(length)


def _histories(ranker: Ranker, histories: Sequence[Any]) -> Mapping[str, np.ndarray]:
    """Returns the history inputs [B, H], padded at the front: each user's latest event is last."""
    each = [ranker.inputs.events(h) for h in histories]
    joined: dict[str, np.ndarray] = {}
    for name in each[0]:
        longest = max(a[name].shape[1] for a in each)
        filler = "" if each[0][name].dtype == object else 0
        padded = np.full([len(each), longest], filler, each[0][name].dtype)
        for row, arrays in enumerate(each):
            values = arrays[name][0]
            padded[row, longest - len(values) :] = values
        joined[name] = padded
    return joined
