"""Compares a candidate's category with the categories that the query's words point to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.matching.extra import Asked, Catalogue, Compared, Extra, Offered
from mmrank.matching.lookup import indices_in

MOST_CATEGORIES = 4096  # of one feature, the most common ones
OF_EACH = 8  # categories that are kept for a word, those with the most items that have the word
ALPHA = 0.1  # items added to every pair of word and category
LEAST = -20.0  # lower bound of the log probability as a feature


@dataclasses.dataclass(frozen=True)
class OneCategory:
    """The counts of words for one category feature.

    Attributes:
      name: Name of the feature.
      values: Hashes [C] of the values that at least two items have, in rising order.
      items: How many items have each value, [C].
      words: How many known stems the items of each value have together, [C].
      of_stems: For each known stem [V], pairs in one flat tuple: an index into `values`, and how
        many items have both.
    """

    name: str
    values: tuple[int, ...]
    items: tuple[int, ...]
    words: tuple[int, ...]
    of_stems: tuple[tuple[int, ...], ...]


class QueryCategory(Extra):
    """The probability of each category of a candidate, given the query's words.

    Naive Bayes over the items of the catalogue, with their texts as the evidence: P(c | q) is
    proportional to n_c ∏_t (n_tc + α) / (w_c + α V), where n_c items are of category c, t are the
    query's known stems, n_tc items of c have t, w_c = Σ_t n_tc, and V stems are known. Lists and
    labels are not used, so none can leak. For each word only the `OF_EACH` largest n_tc count.
    Features: the probability and its logarithm.

    Masking: the features are absent for a candidate without the category or with a rare one, and
    for a query without a known word.

    Source: Manning, Raghavan and Schütze 2008, "Introduction to information retrieval", section
    13.2, equations 13.3 and 13.7, each word of an item counting once.
    """

    needs = "category"

    def __init__(self, categories: tuple[OneCategory, ...]):
        self.categories = categories

    @classmethod
    def fit(cls, catalogue: Catalogue) -> QueryCategory:
        found = []
        for kind in catalogue.of_kind("category"):
            one = _counted(kind.name, catalogue.names[kind.name], catalogue)
            if len(one.values) > 1:  # a single value cannot distinguish items
                found.append(one)
        return cls(tuple(found))

    def state(self) -> dict[str, Any]:
        return {"categories": [dataclasses.asdict(one) for one in self.categories]}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> QueryCategory:
        def tuples(value: Any) -> Any:
            return tuple(tuples(v) for v in value) if isinstance(value, (list, tuple)) else value

        return cls(
            tuple(
                OneCategory(**{n: tuples(v) for n, v in one.items()}) for one in state["categories"]
            )
        )

    def names(self) -> list[str]:
        return [
            f"{c.name}/{what}" for c in self.categories for what in ("probable", "log_probable")
        ]

    def tables(self) -> dict[str, np.ndarray]:
        made: dict[str, np.ndarray] = {}
        for one in self.categories:
            count, stems = len(one.values), len(one.of_stems)
            # An index after the last is for what is unknown: a stem, or a category.
            indices_of = np.full([stems + 1, OF_EACH], count, np.float32)
            lifts = np.zeros([stems + 1, OF_EACH], np.float32)
            for row, pairs in enumerate(one.of_stems):
                indices_of[row, : len(pairs) // 2] = pairs[::2]
                lifts[row, : len(pairs) // 2] = np.log1p(np.array(pairs[1::2]) / ALPHA)
            share = np.array(one.items, np.float64) / sum(one.items)
            miss = np.log(ALPHA) - np.log(np.array(one.words) + ALPHA * max(stems, 1))
            made |= {
                f"{one.name}/values": np.append(one.values, np.inf).astype(np.float32),
                f"{one.name}/prior": np.log(share).astype(np.float32),
                f"{one.name}/miss": miss.astype(np.float32),
                f"{one.name}/of_stems": indices_of,
                f"{one.name}/lifts": lifts,
            }
        return made

    def compare(
        self, asked: Asked, offered: Offered, tables: Mapping[str, tf.Tensor]
    ) -> list[Compared]:
        count = tf.reduce_sum(tf.cast(asked.known, tf.float32), -1)[:, None]
        compared = []
        for one in self.categories:
            values = tables[f"{one.name}/values"]
            spoken_of = tf.gather(tables[f"{one.name}/of_stems"], asked.at)  # [B, T, K]
            lifts = tf.gather(tables[f"{one.name}/lifts"], asked.at)
            lifts = tf.where(asked.known[..., None], lifts, 0.0)
            lists, kept = tf.shape(asked.at)[0], len(one.values)
            of_list = tf.broadcast_to(tf.range(lists)[:, None, None], tf.shape(spoken_of))
            at = tf.stack([of_list, tf.cast(spoken_of, tf.int32)], -1)
            lift_sums = tf.scatter_nd(at, lifts, tf.stack([lists, kept + 1]))
            lift_sums = tf.ensure_shape(lift_sums, [None, kept + 1])[:, :kept]
            logits = tables[f"{one.name}/prior"] + count * tables[f"{one.name}/miss"] + lift_sums
            logs = tf.nn.log_softmax(logits)
            name = offered.terms[one.name].names[..., 0]  # [B, L]
            index = indices_in(values, name)
            known = (tf.gather(values, index) == name) & (name > 0)
            log = tf.gather(logs, tf.minimum(index, kept - 1), batch_dims=1)
            both = tf.stack([tf.exp(log), tf.maximum(log, LEAST)], -1)
            compared.append((both, offered.shown[one.name] & known & (count > 0)))
        return compared


def _counted(name: str, names: np.ndarray, catalogue: Catalogue) -> OneCategory:
    """Counts the items of each word and category value; `names` [items] are hashes."""
    values, items = np.unique(names[names > 0], return_counts=True)
    common = np.argsort(-items, kind="stable")[:MOST_CATEGORIES]
    kept = np.sort(common[items[common] > 1])
    values, items = values[kept], items[kept]
    if not len(values):
        return OneCategory(name, (), (), (), ())
    of_item = np.minimum(np.searchsorted(values, names), len(values) - 1)
    here = values[of_item] == names
    rows, stems = catalogue.pairs
    rows, stems = rows[here[rows]], stems[here[rows]]
    words = np.bincount(of_item[rows], minlength=len(values))
    together, counts = np.unique(stems * len(values) + of_item[rows], return_counts=True)
    of_stems: list[tuple[int, ...]] = [()] * len(catalogue.stems)
    stem, category = together // len(values), together % len(values)
    starts = np.flatnonzero(np.diff(stem, prepend=-1))
    for first, last in zip(starts, np.append(starts, len(stem))[1:], strict=True):
        most = first + np.argsort(-counts[first:last], kind="stable")[:OF_EACH]
        pairs = np.stack([category[most], counts[most]], -1)
        of_stems[stem[first]] = tuple(pairs.ravel().tolist())
    return OneCategory(
        name,
        tuple(values.astype(int).tolist()),
        tuple(items.tolist()),
        tuple(words.tolist()),
        tuple(of_stems),
    )
