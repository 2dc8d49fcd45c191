"""Reviews: many texts per item, each encoded like any text and pooled with attention."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.data.blank import BLANK_PATTERN
from mmrank.data.media import MediaStore
from mmrank.data.reviews import (
    BETWEEN_FIELDS,
    BETWEEN_REVIEWS,
    Review,
    ReviewKeys,
    newest_time,
    pack,
    read_reviews,
)
from mmrank.data.tables import DataError
from mmrank.encoders.base import MOST_OF_A_SET, FeatureKind, first_characters
from mmrank.encoders.text import Text, TextOptions
from mmrank.encoders.tokens import PresentOnly
from mmrank.ranges import Count
from mmrank.schema import Feature

# Matches if the text of at least one review, its first field, has a visible character.
_HAS_TEXT = (
    f"(?s)(?:.*{BETWEEN_REVIEWS})?[^{BETWEEN_REVIEWS}{BETWEEN_FIELDS}]*[^{BLANK_PATTERN[1:-1]}].*"
)


@dataclasses.dataclass(frozen=True)
class ReviewsOptions(TextOptions):
    """Options of reviews: those of a text, for each review, and those of the set.

    Attributes:
      max_reviews: How many reviews of an item are read: the most helpful, among equals the latest.
      attention: Width of the hidden layer that weighs reviews.
      text_key, age_key, time_key, helpful_key: Names in the data, see `ReviewKeys`.
    """

    max_reviews: Count = 8
    attention: Count = 32
    text_key: str = "text"
    age_key: str = "age_days"
    time_key: str = "time"
    helpful_key: str = "helpful"


class Reviews(FeatureKind):
    """The reviews of an item, packed into one text as described in `mmrank.data.reviews`.

    An item whose reviews are all blank is absent. The age of a review with a time but no age is
    counted back from the latest time in the column.

    A text encoder that never learns does not run before training for reviews: it runs in every
    step.

    An encoder takes one tensor, so a review's two numbers, age and votes, follow its text: token
    ids and numbers in one row of int32, or three strings if the encoder reads strings. Both
    numbers are integers, −1 if unknown.

    Attributes:
      now: The latest time of the column, set by code that reads the column in parts; None uses the
        latest time of the values being read.

    Example:
      >>> import pandas as pd
      >>> from mmrank.schema import Feature
      >>> reviews = Reviews(Feature("reviews", "reviews", "item", "reviews"), {})
      >>> raw, present = reviews.read(pd.Series([["Fits well"], None]), media=None)
      >>> raw.tolist(), present.tolist()
      (['Fits well', ''], [True, False])
    """

    raw_dtype = tf.string
    Options = ReviewsOptions
    most_characters = MOST_OF_A_SET

    now: float | None = None

    def __init__(self, feature: Feature, options: Mapping[str, Any]):
        super().__init__(feature, options)
        given, known = {**feature.options, **options}, dataclasses.fields(TextOptions)
        of_text = {f.name: given[f.name] for f in known if f.name in given}
        self.text = Text(dataclasses.replace(feature, options={}), of_text)
        self.keys = ReviewKeys(
            self.options.text_key,
            self.options.age_key,
            self.options.time_key,
            self.options.helpful_key,
        )

    @property
    def separator(self) -> str:
        return BETWEEN_REVIEWS

    def card(self) -> dict[str, Any]:
        keys = dataclasses.asdict(self.keys)
        return {"reviews": {"most": self.options.max_reviews, "keys": keys}}

    @property
    def core(self) -> FeatureKind:
        return self.text

    def read(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        cells = self._cells(values)
        now = newest_time(cells) if self.now is None else self.now
        packed = [pack(cell, self.options.max_reviews, now)[:MOST_OF_A_SET] for cell in cells]
        raw = np.array(packed, dtype=object)
        return raw, raw != ""

    def newest(self, values: pd.Series) -> float | None:
        """Returns the latest review time of a column, in seconds since 1970; None without times."""
        return newest_time(self._cells(values))

    def _cells(self, values: pd.Series) -> list[list[Review]]:
        cells = []
        for row, value in enumerate(values):
            try:
                cells.append(read_reviews(value, self.keys))
            except ValueError as error:
                raise DataError(
                    f"feature {self.name!r}, column {self.feature.column!r}, row {row + 1}: "
                    f"{error}; correct the cell or leave it empty"
                ) from error
        return cells

    def corpus(self, values: pd.Series) -> pd.Series:
        return pd.Series([r.text for cell in self._cells(values) for r in cell], dtype=object)

    def cells(self, texts: pd.Series) -> pd.Series:
        """Returns the reviews of each packed text, without their age and votes."""
        reviews = (text.split(BETWEEN_REVIEWS) for text in texts)
        return pd.Series([[r.split(BETWEEN_FIELDS)[0] for r in cell] for cell in reviews])

    def state(self) -> dict[str, Any]:
        return self.text.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        self.text.restore(state)

    def tracked(self) -> list[Any]:
        return self.text.tracked()

    def portable(self) -> Reviews:
        other = copy.copy(self)
        other.text = self.text.portable()
        return other

    def clean(self, raw: tf.Tensor) -> tf.Tensor:
        bounded = first_characters(raw, MOST_OF_A_SET)
        valid = tf.strings.unicode_transcode(bounded, "UTF-8", "UTF-8")
        return tf.where(tf.strings.regex_full_match(valid, _HAS_TEXT), valid, "")

    def preprocess(self, raw: tf.Tensor) -> tf.Tensor:
        reviews = tf.strings.split(self.clean(raw), BETWEEN_REVIEWS)
        fields = tf.strings.split(reviews.flat_values, BETWEEN_FIELDS)
        # Add one empty review; its row pads items with fewer reviews than others.
        fields = tf.pad(fields.to_tensor("", shape=[None, 3]), [[0, 1], [0, 0]], constant_values="")
        words = self.text.normalizer()(fields[:, 0])
        rows = reviews.with_flat_values(tf.range(tf.size(words) - 1))
        rows = tf.ragged.boolean_mask(rows, reviews.with_flat_values(words[:-1] != ""))
        rows = rows.to_tensor(tf.size(words) - 1, shape=[None, self.options.max_reviews])
        numbers = tf.strings.regex_replace(fields[:, 1:], r"^\s*(\d{1,9})(?:\.\d*)?\s*$", r"\1")
        numbers = tf.where(tf.strings.regex_full_match(numbers, r"\d{1,9}"), numbers, "-1")
        encoded = self.text.preprocess(words)
        if encoded.dtype == tf.string:
            packed = tf.concat([encoded[:, None], numbers], -1)
        else:
            packed = tf.concat([encoded, tf.strings.to_number(numbers, encoded.dtype)], -1)
        return tf.gather(packed, rows)

    def input_spec(self) -> tf.TensorSpec:
        spec = self.text.input_spec()
        width = 1 if spec.shape.rank == 1 else spec.shape[-1]
        return tf.TensorSpec([None, self.options.max_reviews, width + 2], spec.dtype)

    def encoder(self, width: int) -> tf.keras.layers.Layer:
        return self.around(self.text.encoder(width))

    def around(self, encoder: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        encoder.trainable = not self.text.frozen
        return ReviewsEncoder(encoder, self.options.attention, name=f"{self.name}_encoder")


class ReviewsEncoder(tf.keras.layers.Layer):
    """Embeddings [N, D'] of reviews [N, R, T + 2]: their mean weighted by attention.

    The weight of a review is a softmax over the item's reviews of

        v · tanh(W e + b) + u · f

    where e is the embedding of its text and f has four numbers: log(1 + age in days) and
    log(1 + helpful votes), each 0 if unknown, and for each whether it is known. u starts at zero.

    Masking: a review without tokens, or of an empty string, is padding: it is not encoded and has
    no weight. An item of padding alone gives zeros. The order of the reviews has no effect.

    Args:
      text: Layer from token ids [M, T], or from strings [M], to embeddings [M, D'].
      hidden: Rows of W.

    Source: Yang et al. 2016, "Hierarchical Attention Networks", equations 5 to 7, with the term
      u · f added.
    """

    def __init__(self, text: tf.keras.layers.Layer, hidden: int, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)  # keeps ages and votes exact
        self.text = PresentOnly(text, name="present_reviews")
        self.hidden = tf.keras.layers.Dense(hidden, "tanh", name="hidden")
        self.attention = tf.keras.layers.Dense(1, use_bias=False, name="attention")
        self.facts = tf.keras.layers.Dense(
            1, use_bias=False, kernel_initializer="zeros", name="facts"
        )
        self.softmax = tf.keras.layers.Softmax(axis=1, dtype="float32")

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        words, numbers = inputs[..., :-2], inputs[..., -2:]
        if inputs.dtype == tf.string:
            words, numbers = words[..., 0], tf.strings.to_number(numbers)
            there = words != ""
        else:
            there = tf.reduce_any(words > 0, -1)
        flat = tf.reshape(words, [-1, *words.shape[2:]])
        embedded = self.text((flat, tf.reshape(there, [-1])), training=training)
        embedded = tf.reshape(embedded, [-1, inputs.shape[1], embedded.shape[-1]])
        numbers = tf.cast(numbers, tf.float32)
        known = tf.cast(numbers >= 0, tf.float32)
        facts = tf.concat([tf.math.log1p(tf.maximum(numbers, 0)), known], -1)
        logits = self.attention(self.hidden(embedded)) + self.facts(facts)
        weights = self.softmax(tf.cast(logits, tf.float32), there[..., None])
        return tf.reduce_sum(embedded * tf.cast(weights, embedded.dtype), 1)
