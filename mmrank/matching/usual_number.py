"""Compares a candidate's number, such as its price, with what is usual for the query's words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.matching.extra import Asked, Catalogue, Compared, Extra, Offered

OF_ALL = 5.0  # pseudo-items like the whole catalogue that are added to the items of each word
NARROWEST = 0.1  # least spread of a query, as a share of the spread of all items
FURTHEST = 10.0  # spreads at which a distance is clipped


@dataclasses.dataclass(frozen=True)
class OneNumber:
    """What is usual for one number.

    Attributes:
      name: Name of the feature.
      mean, deviation: Of its signed logarithms over the catalogue; they scale the logarithms.
      first, second: For each known stem, mean and mean square [V] of the scaled logarithms of the
        items that have it, and of `OF_ALL` more that are like the whole catalogue.
    """

    name: str
    mean: float
    deviation: float
    first: tuple[float, ...]
    second: tuple[float, ...]


class UsualNumber(Extra):
    """How far each number of a candidate is from what is usual for the query, in spreads.

    Mean and spread of the signed logarithm, ± log(1 + |x|), over the items that share words with
    the query define what is usual, the words weighted by idf: with mean m_t and mean square s_t of
    the items with word t, the mean is Σ w m / Σ w, and the spread is the square root of
    Σ w s / Σ w less the squared mean. Features: the distance with its sign, positive above what is
    usual, and its absolute value.

    Masking: the features are absent without the number, and for a query without a known word.
    """

    needs = "number"

    def __init__(self, usual: tuple[OneNumber, ...]):
        self.usual = usual
        self.numbers = tuple(one.name for one in usual)

    @classmethod
    def fit(cls, catalogue: Catalogue) -> UsualNumber:
        items, stems = catalogue.pairs
        usual = []
        for kind in catalogue.of_kind("number"):
            values, present = kind.read(catalogue.values(kind), None)
            logs = np.sign(values) * np.log1p(np.abs(values.astype(np.float64)))
            if not present.any() or logs[present].std() < 1e-6:
                continue  # a number that is the same for all items cannot distinguish them
            mean, deviation = float(logs[present].mean()), float(logs[present].std())
            scaled = (logs - mean) / deviation
            here = present[items]
            own, at = scaled[items[here]], stems[here]
            count = len(catalogue.stems)
            total = np.bincount(at, minlength=count) + OF_ALL
            first = np.bincount(at, own, count) / total
            second = (np.bincount(at, own**2, count) + OF_ALL) / total
            usual.append(OneNumber(kind.name, mean, deviation, _short(first), _short(second)))
        return cls(tuple(usual))

    def state(self) -> dict[str, Any]:
        return {"usual": [dataclasses.asdict(one) for one in self.usual]}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> UsualNumber:
        return cls(
            tuple(
                OneNumber(**{**one, "first": tuple(one["first"]), "second": tuple(one["second"])})
                for one in state["usual"]
            )
        )

    def names(self) -> list[str]:
        return [f"{n}/{what}" for n in self.numbers for what in ("above_usual", "from_usual")]

    def tables(self) -> dict[str, np.ndarray]:
        # One row more, for a stem beyond the last known one.
        return {
            one.name: np.array([[*one.first, 0.0], [*one.second, 1.0]], np.float32).T
            for one in self.usual
        }

    def compare(
        self, asked: Asked, offered: Offered, tables: Mapping[str, tf.Tensor]
    ) -> list[Compared]:
        weights = tf.where(asked.known, asked.weights, 0.0)
        total = tf.reduce_sum(weights, -1)
        share = weights / tf.maximum(total, 1e-6)[:, None]
        compared = []
        for one in self.usual:
            looked_up = tf.gather(tables[one.name], asked.at)  # [B, T, 2]
            first, second = tf.unstack(tf.reduce_sum(share[..., None] * looked_up, 1), axis=-1)
            spread = tf.sqrt(tf.maximum(second - first**2, NARROWEST**2))
            value, there = tf.unstack(offered.numbers[one.name], axis=-1)
            logs = tf.sign(value) * tf.math.log1p(tf.abs(value))
            distance = ((logs - one.mean) / one.deviation - first[:, None]) / spread[:, None]
            distance = tf.clip_by_value(distance, -FURTHEST, FURTHEST)
            here = offered.shown[one.name] & (there > 0) & (total > 0)[:, None]
            compared.append((tf.stack([distance, tf.abs(distance)], -1), here))
        return compared


def _short(values: np.ndarray) -> tuple[float, ...]:
    return tuple(np.round(values, 6).tolist())
