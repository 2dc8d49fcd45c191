"""What tells the item vectors of two models apart, so that a store never mixes them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np

from mmrank.features import Features
from mmrank.models import RankingModel

DIGITS = 16
# Where an encoder's files lie; what is in them stands in the weights or in the fitted state.
PLACES = frozenset({"handle", "weights"})


def item_fingerprint(model: RankingModel, features: Features) -> str:
    """The same 16 hexadecimal digits for models that encode every item to the same tokens.

    They are a SHA-256 over the item features' options and fitted states and the item tower's
    weights. Query side, scorer, order and catalogue have no part in it: vectors outlive them.

    Args:
      model: The ranker.
      features: Its fitted features.
    """
    read: list[Any] = [
        {
            "name": kind.name,
            "kind": kind.feature.kind,
            "options": {
                n: v for n, v in dataclasses.asdict(kind.options).items() if n not in PLACES
            },
            "state": kind.state(),
        }
        for kind in features.of_side("item")
    ]
    told: list[Any] = [model.modalities, model.width, read]
    if model.rows is not None:
        layouts = [dataclasses.asdict(f.layout) for f in model.rows.fields]
        told += [layouts, model.rows.item_parts]
    if model.cross is not None and features.matching is not None and features.matching.pieces:
        told.append(dataclasses.asdict(features.matching.pieces.words))
    digest = hashlib.sha256(json.dumps(told, default=str).encode())
    for weight in model.item_tower.weights:
        value = np.ascontiguousarray(weight.numpy())
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()[:DIGITS]
