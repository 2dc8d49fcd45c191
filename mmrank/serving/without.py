"""One request as a batch: the request itself, and a copy without each of its modalities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmrank.models import present_name
from mmrank.serving.card import Card
from mmrank.serving.request import Arrays


def modalities_there(card: Card, asked: Arrays, fed: Arrays) -> list[str]:
    """Returns the names of the features that are present in a request, the history last.

    Args:
      card: The export's card.
      asked: Query and user features [1] with their flags.
      fed: The other inputs of `rank_embeddings`, of one list.
    """
    there = [n for n in card.names("query", "user") if asked[present_name(n)].any()]
    there += [n for m, n in enumerate(card.modalities) if fed["present"][..., m].any()]
    there += [n for n in card.names("pair") if fed[present_name(n)].any()]
    history = card.inputs.history
    if history is not None and fed[f"{history}_known"].any():
        there.append(history)
    return there


def without_each(
    card: Card, names: Sequence[str], asked: Arrays, fed: Arrays
) -> tuple[list[Arrays], Arrays]:
    """Returns the request [1] as a batch [1 + K]: row 0 as it is, row k without modality k − 1.

    Args:
      card, asked, fed: As for `modalities_there`.
      names: K modalities of the request.

    Returns:
      The query and user features of each row, and the other inputs with their rows stacked.
    """
    rows = [dict(asked) for _ in (None, *names)]
    batch = {n: np.repeat(a, 1 + len(names), 0) for n, a in fed.items()}
    for k, name in enumerate(names, 1):
        flag = present_name(name)
        if flag in asked:
            rows[k][flag] = np.zeros(1, bool)
        elif name in card.modalities:
            batch["present"][k, :, card.modalities.index(name)] = False
        elif flag in batch:
            batch[flag][k] = False
        else:
            batch[f"{name}_known"][k] = False
    return rows, batch
