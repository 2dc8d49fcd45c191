"""How much of a query a candidate has, allowing for differences in spelling."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.encoders.base import in_chunks
from mmrank.matching.corrector import SpellingCorrector
from mmrank.matching.extra import Asked, Catalogue, Compared, Extra, Offered, Pack
from mmrank.matching.terms import TermLayout
from mmrank.matching.text_features import equal_terms
from mmrank.matching.words import stemmed, words_of
from mmrank.tracing import traced

MOST_STEMS = 50_000  # of the catalogue, the most common ones


class Spelling(Extra):
    """The share of the query that a text has, counting words that it spells slightly differently.

    As `idf_covered`, except that a word that is not found counts by its likeness if the text has
    what `SpellingCorrector` found for it, with the idf of what was found. The catalogue's words are
    searched once for each query rather than in each of its candidates, so a request costs the same
    with ten candidates as with a thousand.

    Features: the share for each field and over all fields; and the share of the query's words with
    another spelling.

    Masking: the features are absent for a field without the text, and for a query without a word.
    """

    def __init__(self, fields: tuple[str, ...], stems: tuple[str, ...]):
        self.fields, self.stems = fields, stems

    @classmethod
    def fit(cls, catalogue: Catalogue) -> Spelling:
        worded = [k for k in catalogue.items if k.name in catalogue.worded]
        documents: collections.Counter[str] = collections.Counter()
        columns = []
        for kind in worded:
            raw, _ = kind.read(catalogue.values(kind), None)
            columns.append([text.replace(kind.separator or "\n", " ") for text in raw])
        whole = pd.Series([" ".join(texts) for texts in zip(*columns, strict=True)], dtype=object)
        distinct = whole.value_counts()
        lines = _stems_in_line(distinct.index.to_numpy(object))
        for text, items in zip(lines, distinct.tolist(), strict=True):
            for stem in set(text.split()):
                documents[stem] += items
        ordered = sorted(documents, key=lambda stem: (-documents[stem], stem))
        return cls(tuple(k.name for k in worded), tuple(ordered[:MOST_STEMS]))

    def state(self) -> dict[str, Any]:
        return {"fields": list(self.fields), "stems": list(self.stems)}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Spelling:
        return cls(tuple(state["fields"]), tuple(state["stems"]))

    def names(self) -> list[str]:
        return [*(f"{f}/spelled" for f in self.fields), "any/spelled", "any/spelled_otherwise"]

    def width(self, layout: TermLayout) -> int:
        return 3 * layout.words

    def pack(self, layout: TermLayout) -> Pack:
        return SpellingCorrector(self.stems, layout.words)

    def compare(
        self, asked: Asked, offered: Offered, tables: Mapping[str, tf.Tensor]
    ) -> list[Compared]:
        one, other, alike = tf.split(asked.more, 3, -1)  # [B, T] each
        own = asked.terms.stems
        has_query = tf.reduce_any(own > 0, -1)[:, None]
        meant = tf.where(one > 0, tf.maximum(asked.idf(one), asked.idf(other)), asked.weights)
        total = tf.maximum(tf.reduce_sum(meant, -1), 1e-6)[:, None]
        some = tf.reduce_any(one > 0)
        parts = tf.concat([one, other], -1)
        best: tf.Tensor | None = None
        compared = []
        for field in self.fields:
            here = offered.shown[field] & has_query
            found = tf.cast(offered.found[field], tf.float32)
            likeness = tf.cond(  # most queries have no word with another spelling
                some,
                lambda f=field, had=found: tf.maximum(
                    had, _likeness(parts, alike, offered.terms[f].stems)
                ),
                lambda had=found: had,
            )
            likeness = tf.where(here[..., None], likeness, 0.0)
            best = likeness if best is None else tf.maximum(best, likeness)
            compared.append((_covered(meant, likeness, total), here))
        share = tf.reduce_sum(tf.cast(one > 0, tf.float32), -1)
        share /= tf.maximum(tf.reduce_sum(tf.cast(own > 0, tf.float32), -1), 1.0)
        share = share[:, None, None] + tf.zeros_like(compared[0][0])
        whole = tf.concat([_covered(meant, best, total), share], -1)
        return [*compared, (whole, offered.mask & has_query)]


def _likeness(parts: tf.Tensor, alike: tf.Tensor, stems: tf.Tensor) -> tf.Tensor:
    """How similar each word [B, T] is to those of its parts [B, 2 T] in a candidate, [B, L, T]."""
    had = tf.reduce_any(equal_terms(parts, stems), -1) | (parts == 0)[:, None]
    first, second = tf.split(had, 2, -1)
    return tf.where(first & second, alike[:, None], 0.0)


def _covered(weights: tf.Tensor, likeness: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    """The weighted share [B, L, 1] of a query that is found."""
    return (tf.reduce_sum(weights[:, None] * likeness, -1) / total)[..., None]


def _stems_in_line(texts: np.ndarray) -> list[str]:
    """The stems of texts [N]: one text for each, with spaces between its stems."""

    def line(raw: tf.Tensor) -> tf.Tensor:
        words = words_of(raw)
        stems = words.with_flat_values(stemmed(words.flat_values))
        return tf.strings.reduce_join(stems, separator=" ", axis=-1)

    spec = tf.TensorSpec([None], tf.string)
    graph = traced(line, [spec]).get_concrete_function()
    return [text.decode() for text in in_chunks(graph, texts, tf.string, spec)]
