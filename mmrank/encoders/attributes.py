"""Sparse typed attributes as one feature: thousands of names, of which an item has a few."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.data.attributes import BETWEEN_LINES, attribute_lines
from mmrank.data.media import MediaStore
from mmrank.data.units import UNITS
from mmrank.encoders.base import CHUNK, MOST_OF_A_SET, FeatureKind
from mmrank.encoders.category import most_frequent
from mmrank.encoders.normalize import Normalizer
from mmrank.encoders.word_rows import NamedRows, Rows, known_words
from mmrank.ranges import Count, Range, Whole
from mmrank.schema import Feature

_NUMBER = r"[+-]?\d+(?:[.,]\d+)?"
# Longest first: an alternation takes the first alternative that matches.
_UNIT = "|".join(u.replace(".", r"\.") for u in sorted(UNITS, key=len, reverse=True))
_QUANTITY = rf"({_NUMBER})\s*({_UNIT})?"
_FRACTION = rf"(?:(\d+)[ -])?(\d+)/([1-9]\d*)\s*({_UNIT})?"
# float32 represents all integers up to this exactly.
_MOST_ROWS = 10_000_000


@dataclasses.dataclass(frozen=True)
class AttributesOptions:
    """Options of attributes.

    Attributes:
      max_tokens: How many tokens of an item are used: one per attribute first, then the exact
        quantities of numbers, then the words of texts.
      attention: Width of the hidden layer that weighs tokens; 0 takes their mean.
      oov_buckets, min_count, max_words: As for a category, applied to tokens.
    """

    max_tokens: Count = 64
    attention: Whole = 32
    oov_buckets: Count = 16
    min_count: Count = 2
    max_words: Annotated[int, Range(1, _MOST_ROWS)] = 50_000


@dataclasses.dataclass(frozen=True)
class _Tokens:
    """Tokens of items, ragged [N, tokens]: texts, keys of numbers ("" for none), and numbers."""

    texts: tf.RaggedTensor
    keys: tf.RaggedTensor
    values: tf.RaggedTensor


def _plain(texts: tf.RaggedTensor) -> _Tokens:
    """Returns tokens without numbers."""
    flat = texts.flat_values
    return _Tokens(
        texts,
        texts.with_flat_values(tf.fill(tf.shape(flat), "")),
        texts.with_flat_values(tf.zeros(tf.shape(flat))),
    )


class Attributes(FeatureKind):
    """The attributes of an item as lines `name: value`. The empty text means absent.

    The tokens of a text value are `name=value` and, if it has several words, each of its words. A
    number, with or without a unit, has two tokens. `name#what is measured` means the attribute
    and carries the logarithm of the quantity in base units, standardised by the training items.
    `name#what is measured=number` means the exact quantity, so 1 kg and 1000 g are equal.
    Tokens seen in training have their own rows; all others share buckets.

    A cell may be anything that `mmrank.data.attributes.attribute_lines` reads. With the column
    `PREFIX*`, all columns whose names begin with the prefix form one cell.

    Example:
      >>> import pandas as pd
      >>> from mmrank.schema import Feature
      >>> facts = Attributes(Feature("facts", "attributes", "item", "facts"), {})
      >>> raw, present = facts.read(pd.Series([{"colour": "red", "size": 42}, None]), media=None)
      >>> raw[0].splitlines(), present.tolist()
      (['colour: red', 'size: 42'], [True, False])
    """

    raw_dtype = tf.string
    Options = AttributesOptions
    most_characters = MOST_OF_A_SET

    vocabulary: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    mean: np.ndarray = np.zeros(0, np.float32)
    deviation: np.ndarray = np.ones(0, np.float32)

    def __init__(self, feature: Feature, options: Mapping[str, Any]):
        super().__init__(feature, options)
        self._lookups: dict[str, tf.keras.layers.StringLookup] = {}

    @property
    def separator(self) -> str:
        return BETWEEN_LINES

    def card(self) -> dict[str, Any]:
        return {"separator": BETWEEN_LINES, "attributes": True}

    def read(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        lines = []
        for row, value in enumerate(values):
            try:
                lines.append(attribute_lines(value))
            except ValueError as error:
                raise ConfigError(
                    f"feature {self.name!r}: row {row + 1} {error}; check the dataset with "
                    "`python -m mmrank.validate`"
                ) from error
        raw = np.array([line[: self.most_characters] for line in lines], dtype=object)
        return raw, raw != ""

    def fit(self, values: pd.Series) -> None:
        raw, _ = self.read(values, None)
        rows = collections.Counter(raw)  # a log repeats an item in many rows
        distinct = np.array(sorted(rows), dtype=object)
        counts: collections.Counter[str] = collections.Counter()
        numbers: dict[str, list[tuple[float, int]]] = {}
        for start in range(0, len(distinct), CHUNK):
            some = distinct[start : start + CHUNK]
            tokens = self._tokens(tf.constant(some, tf.string))
            of_item = np.repeat([rows[text] for text in some], tokens.texts.row_lengths().numpy())
            flat = (t.flat_values.numpy() for t in (tokens.texts, tokens.keys, tokens.values))
            for text, key, value, count in zip(*flat, of_item, strict=True):
                counts[text.decode()] += int(count)
                if key:
                    numbers.setdefault(key.decode(), []).append((float(value), int(count)))
        self.vocabulary = most_frequent(counts, self.options)
        self.keys = tuple(k for k in sorted(numbers) if counts[k] >= self.options.min_count)
        measured = [np.array(numbers[key]).T for key in self.keys]
        self.mean = np.array([np.average(v, weights=n) for v, n in measured], np.float32)
        spread = [
            np.sqrt(np.average((v - m) ** 2, weights=n))
            for (v, n), m in zip(measured, self.mean, strict=True)
        ]
        # A number that is constant up to rounding must not scale up the first that differs.
        self.deviation = np.array([s if s > 1e-4 else 1.0 for s in spread], np.float32)
        self._lookups.clear()

    def state(self) -> dict[str, Any]:
        return {
            "vocabulary": list(self.vocabulary),
            "keys": list(self.keys),
            "mean": self.mean.tolist(),
            "deviation": self.deviation.tolist(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.vocabulary, self.keys = tuple(state["vocabulary"]), tuple(state["keys"])
        self.mean = np.array(state["mean"], np.float32)
        self.deviation = np.array(state["deviation"], np.float32)
        self._lookups.clear()

    def tracked(self) -> list[Any]:
        return [lookup.lookup_table for lookup in self._lookups.values()]

    def preprocess(self, raw: tf.Tensor) -> tf.Tensor:
        """Returns [N, tokens, 3] float32: the token's row, its number's row, its scaled number.

        Rows count from 1. A token row of 0 is padding; a number row of 0 means no known number.
        """
        tokens = self._tokens(raw)
        words = self._lookup("tokens", self.vocabulary, self.options.oov_buckets)
        rows = words(tokens.texts.flat_values) + 1
        # Row 0 of this lookup is for all other keys, including the empty key of no number.
        number = self._lookup("keys", self.keys, 1)(tokens.keys.flat_values)
        scaled = self._scaled(tokens.values.flat_values, number)
        parts = [tf.cast(rows, tf.float32), tf.cast(number, tf.float32), scaled]
        ragged = tokens.texts.with_flat_values(tf.stack(parts, -1))
        return ragged.to_tensor(0.0, shape=[None, self.options.max_tokens, 3])

    def _scaled(self, values: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        mean = tf.constant([0.0, *self.mean.tolist()])
        deviation = tf.constant([1.0, *self.deviation.tolist()])
        scaled = (values - tf.gather(mean, number)) / tf.gather(deviation, number)
        return tf.where(number > 0, tf.clip_by_value(scaled, -5.0, 5.0), 0.0)

    def _lookup(
        self, what: str, vocabulary: tuple[str, ...], buckets: int
    ) -> tf.keras.layers.StringLookup:
        """Returns a lookup layer, made once: a table made in a traced function would be lost."""
        if what not in self._lookups:
            with tf.init_scope():
                # Keras refuses an empty vocabulary; use a line break, which no token contains.
                self._lookups[what] = tf.keras.layers.StringLookup(
                    vocabulary=list(vocabulary) or [BETWEEN_LINES], num_oov_indices=buckets
                )
        return self._lookups[what]

    def _tokens(self, raw: tf.Tensor) -> _Tokens:
        lines = tf.strings.split(raw, BETWEEN_LINES)
        # Without TF-Text ops, so that any server can run the graph.
        normal = Normalizer("NFKC", fold_case=True, own_ops=True)(lines.flat_values)
        parted = tf.strings.regex_full_match(normal, r"[^:]+:.*")
        names = tf.strings.strip(tf.strings.regex_replace(normal, r"^([^:]+):.*$", r"\1"))
        names = tf.where(parted, names, "")
        values = tf.strings.strip(tf.strings.regex_replace(normal, r"^[^:]+:", ""))
        values = tf.where(parted, values, normal)
        lines, there = lines.with_flat_values(tf.range(tf.size(values))), values != ""
        lines = tf.ragged.boolean_mask(lines, lines.with_flat_values(there))
        names, values = (tf.gather(t, lines.flat_values) for t in (names, values))

        numeric, quantity, measured = self._quantities(values)
        keys = tf.strings.join([names, "#", measured])
        whole = tf.where(numeric, keys, tf.strings.join([names, "=", values]))
        exact = tf.strings.join([keys, "=", tf.strings.as_string(quantity, shortest=True)])
        words = tf.strings.split(tf.strings.regex_replace(values, r"[^\pL\pN.+]+", " "))
        several = (words.row_lengths() > 1) & ~numeric
        words = tf.RaggedTensor.from_row_splits(words, lines.row_splits)
        words = tf.ragged.boolean_mask(words, lines.with_flat_values(several))
        exacts = tf.ragged.boolean_mask(
            lines.with_flat_values(exact), lines.with_flat_values(numeric)
        )
        log = tf.sign(quantity) * tf.math.log1p(tf.abs(quantity))
        first = _Tokens(
            lines.with_flat_values(whole),
            lines.with_flat_values(tf.where(numeric, keys, "")),
            lines.with_flat_values(tf.where(numeric, log, 0.0)),
        )
        parts = [first, _plain(exacts), _plain(words.merge_dims(1, 2))]
        return _Tokens(
            tf.concat([p.texts for p in parts], 1),
            tf.concat([p.keys for p in parts], 1),
            tf.concat([p.values for p in parts], 1),
        )

    def _quantities(self, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns three tensors [n] about values [n].

        They are: whether a value is a number, its size in base units, and what it measures.
        """
        plain = tf.strings.regex_full_match(values, _QUANTITY)
        broken = tf.strings.regex_full_match(values, _FRACTION)

        def part(pattern: str, fits: tf.Tensor, group: int) -> tf.Tensor:
            found = tf.strings.regex_replace(values, f"^{pattern}$", rf"\{group}")
            return tf.where(fits, found, "")

        def number(pattern: str, fits: tf.Tensor, group: int) -> tf.Tensor:
            text = part(pattern, fits, group)
            # A comma before three digits separates thousands; any other is a decimal mark.
            text = tf.strings.regex_replace(text, r"^([+-]?\d{1,3}),(\d{3})$", r"\1\2")
            text = tf.strings.regex_replace(text, ",", ".")
            return tf.strings.to_number(tf.where(text == "", "0", text))

        above, below = number(_FRACTION, broken, 2), number(_FRACTION, broken, 3)
        fraction = number(_FRACTION, broken, 1) + above / tf.maximum(below, 1.0)
        value = tf.where(broken, fraction, number(_QUANTITY, plain, 1))
        unit = tf.where(broken, part(_FRACTION, broken, 4), part(_QUANTITY, plain, 2))
        # Row 0 means no unit.
        row = self._lookup("units", tuple(UNITS), 1)(unit)
        factors = tf.constant([1.0, *(factor for _, factor in UNITS.values())])
        measured = tf.constant(["", *(what for what, _ in UNITS.values())])
        return plain | broken, value * tf.gather(factors, row), tf.gather(measured, row)

    def input_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec([None, self.options.max_tokens, 3], tf.float32)

    def encoder(self, width: int) -> tf.keras.layers.Layer:
        return AttributesEncoder(
            width,
            words=max(len(self.vocabulary), 1) + self.options.oov_buckets,
            numbers=max(len(self.keys), 1),
            attention=self.options.attention,
            name=f"{self.name}_encoder",
        )


class AttributesEncoder(tf.keras.layers.Layer, NamedRows):
    """Embeddings [N, D] of attribute tokens [N, T, 3]: their mean weighted by attention.

    A token's embedding e is that of its row plus, for a number, the number times a vector of its
    attribute. Its weight is a softmax over the item's tokens of v · tanh(W e + b).

    Masking: row 0 is padding and has no weight; an item of padding alone gives zeros. The order of
    the tokens has no effect.

    Args:
      width: D.
      words: Number of token rows, without padding.
      numbers: Number of number rows, without the row of no number.
      attention: Rows of W; 0 for equal weights.

    Source: Yang et al. 2016, "Hierarchical Attention Networks", equations 5 to 7.
    """

    def __init__(self, width: int, *, words: int, numbers: int, attention: int, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)  # keeps row indices exact
        self.width, self.words, self.numbers, self.attention = width, words, numbers, attention
        self.table = tf.keras.layers.Embedding(words + 1, width, name="table")
        self.slopes = tf.keras.layers.Embedding(numbers + 1, width, name="slopes")
        self.hidden = tf.keras.layers.Dense(max(attention, 1), "tanh", name="hidden")
        self.weight = tf.keras.layers.Dense(1, use_bias=False, name="weight")
        self.softmax = tf.keras.layers.Softmax(axis=1, dtype="float32")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        rows, number = (tf.cast(inputs[..., i], tf.int32) for i in (0, 1))
        there = rows > 0
        scaled = tf.cast(inputs[..., 2:], self.compute_dtype)
        tokens = self.table(rows) + scaled * self.slopes(number)
        if self.attention:
            logits = tf.cast(self.weight(self.hidden(tokens)), tf.float32)
        else:
            logits = tf.zeros_like(inputs[..., :1])
        weights = self.softmax(logits, there[..., None])
        # A softmax over no tokens gives equal weights, so set them to zero.
        weights = tf.where(there[..., None], weights, 0.0)
        return tf.reduce_sum(tokens * tf.cast(weights, tokens.dtype), 1)

    def named_rows(self, owner: Attributes) -> Rows:
        numbers = ("none", *(f"number {key}" for key in owner.keys or ("",)))
        return [
            (self.table.embeddings, ("padding", *known_words(owner))),
            (self.slopes.embeddings, numbers),
        ]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "width": self.width,
            "words": self.words,
            "numbers": self.numbers,
            "attention": self.attention,
        }
