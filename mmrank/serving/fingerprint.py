"""A fingerprint that distinguishes the item vectors of two models, so no store mixes them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np

from mmrank.features import Features
from mmrank.models import RankingModel

DIGITS = 16
# Options with the paths of an encoder's files. The files' contents are part of the weights or of
# the fitted state.
LOCATIONS = frozenset({"handle", "weights"})


def item_fingerprint(model: RankingModel, features: Features) -> str:
    """Returns 16 hexadecimal digits, equal for models that encode every item to the same tokens.

    They are the start of a SHA-256 over the item features' options and fitted states and the item
    tower's weights. The query side, the scorer, the order and the catalogue have no influence:
    vectors stay valid when these change.

    Args:
      model: The ranker.
      features: Its fitted features.
    """
    read: list[Any] = [
        {
            "name": kind.name,
            "kind": kind.feature.kind,
            "options": {
                n: v for n, v in dataclasses.asdict(kind.options).items() if n not in LOCATIONS
            },
            "state": kind.state(),
        }
        for kind in features.of_side("item")
    ]
    parts: list[Any] = [model.modalities, model.width, read]
    if model.rows is not None:
        layouts = [dataclasses.asdict(f.layout) for f in model.rows.fields]
        parts += [layouts, model.rows.item_parts]
    if model.cross is not None and features.matching is not None and features.matching.pieces:
        parts.append(dataclasses.asdict(features.matching.pieces.words))
    digest = hashlib.sha256(json.dumps(parts, default=str).encode())
    for weight in model.item_tower.weights:
        value = np.ascontiguousarray(weight.numpy())
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()[:DIGITS]
