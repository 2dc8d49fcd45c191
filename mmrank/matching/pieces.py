"""Texts as word pieces in a row of numbers: the input of a cross-encoder."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.config import ConfigError, Cross
from mmrank.data.kinds import KINDS, kind_of
from mmrank.encoders.base import FeatureKind
from mmrank.encoders.hf_folder import BertShape, BertWords, read_folder
from mmrank.encoders.portable.word_pieces import PortableWordPieces
from mmrank.encoders.text import word_pieces
from mmrank.schema import did_you_mean

MARKS = 3  # [CLS] query [SEP] item [SEP]
NO_WEIGHTS = "none"


class PieceRows:
    """Rows of word pieces [N, budget] float32 of raw texts [N]; each number is the id plus 1.

    So 0 means no piece, whatever id padding has. Texts are cleaned as by BERT's own tokenizer, by
    TensorFlow's own ops.

    Args:
      words: Vocabulary and rules.
      budget: Maximum number of pieces of a text; further pieces are left out.
      separator: Separates the values of one text; empty for a text of one value.

    Source: Devlin et al. 2019, "BERT", and its reference tokenizer.
    """

    def __init__(self, words: BertWords, budget: int, separator: str = ""):
        self.width, self._lowercase, self._separator = budget, words.lowercase, separator
        with tf.init_scope():
            self._pieces = PortableWordPieces(
                words.vocabulary,
                budget,
                words.unknown,
                fold_case=False,
                strip_accents=words.strip_accents,
                split_cjk=words.split_cjk,
            )
        self.lookup_table = self._pieces.lookup_table

    def __call__(self, raw: tf.Tensor) -> tf.Tensor:
        if self._separator:
            values = tf.strings.split(raw, self._separator)
            raw = tf.strings.reduce_join(values, separator=" ", axis=-1)
        clean = spelled(raw, self._lowercase)
        ids = tf.cast(self._pieces.ragged(clean) + 1, tf.float32)
        return ids.to_tensor(0.0, shape=[None, self.width])


def spelled(texts: tf.Tensor, lowercase: bool) -> tf.Tensor:
    """Texts without control characters, with one kind of space, in lower case if requested."""
    valid = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
    spaced = tf.strings.regex_replace(valid, r"[\t\n\r\p{Z}]", " ")
    clean = tf.strings.regex_replace(spaced, r"[\p{C}\x{FFFD}]", "")
    return tf.strings.lower(clean, encoding="utf-8") if lowercase else clean


@dataclasses.dataclass(frozen=True)
class PiecePlan:
    """What a cross-encoder reads, and the BERT that it reads with.

    Attributes:
      words: The BERT's vocabulary and rules.
      shape: The BERT's architecture.
      query: Budget of the query feature, by its name.
      fields: Budgets of the item features, in the order in which they are read.
      separators: Separators of the fields with several values, by name.
    """

    words: BertWords
    shape: BertShape
    query: Mapping[str, int]
    fields: Mapping[str, int]
    separators: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def rows(self, feature: str) -> PieceRows | None:
        """The function that makes rows of a feature's raw texts; None if it is not read."""
        budget = self.query.get(feature) or self.fields.get(feature)
        if budget is None:
            return None
        return PieceRows(self.words, budget, self.separators.get(feature, ""))

    def marks(self) -> tuple[int, int]:
        """The ids of [CLS] and [SEP]."""
        ids = self.words.vocabulary.index
        return ids(self.words.start), ids(self.words.end)

    def state(self) -> dict[str, Any]:
        """The plan as JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> PiecePlan:
        """The plan whose `state` this is."""
        words = state["words"] | {"vocabulary": tuple(state["words"]["vocabulary"])}
        return cls(**{**state, "words": BertWords(**words), "shape": BertShape(**state["shape"])})


def check_read(cross: Cross, kinds: Mapping[str, FeatureKind]) -> None:
    """Checks that the features that a cross-encoder reads exist.

    Args:
      cross: Its options.
      kinds: The features of the model by name.

    Raises:
      ConfigError: A feature does not exist, is of another side, or contains no words; or a budget
        is below 1.
    """
    if not cross.fields:
        raise ConfigError("model.cross.fields: name the item features to read, as {title: 32}")
    read: list[tuple[str, Any, str, str]] = [(cross.query, cross.query_tokens, "query", "query")]
    read += [(name, budget, "item", "fields") for name, budget in cross.fields.items()]
    for name, budget, side, key in read:
        worded = [
            n
            for n, k in kinds.items()
            if k.feature.side == side and kind_of(k.feature.kind).in_words
        ]
        if name not in worded:
            readable = ", ".join(n for n, kind in KINDS.items() if kind.in_words)
            raise ConfigError(
                f"model.cross.{key}: {name!r} is not a feature of side {side} and kind "
                f"{readable} in this model{did_you_mean(name, worded)}"
            )
        if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
            raise ConfigError(f"model.cross: {name}: {budget!r} tokens; give a whole number from 1")


def fit_pieces(
    cross: Cross,
    queries: Sequence[FeatureKind],
    items: Sequence[FeatureKind],
    values: Callable[[FeatureKind], pd.Series],
) -> PiecePlan:
    """The fitted plan of a cross-encoder.

    Args:
      cross: Its options.
      queries, items: Features of the query and of the items.
      values: The column that a feature is fitted on.

    Raises:
      ConfigError: The texts together may be longer than the BERT reads, or the folder has no
        vocab.txt.
      InputError: The folder of `weights` holds no BERT.
    """
    kinds = {k.name: k for k in (*queries, *items)}
    read = [kinds[name] for name in (cross.query, *cross.fields)]
    longest = MARKS + cross.query_tokens + sum(cross.fields.values())
    if cross.weights != NO_WEIGHTS:
        folder = read_folder(pathlib.Path(cross.weights))
        shape = folder.shape
        if not isinstance(folder.words, BertWords):
            raise ConfigError(
                f"model.cross: the folder {cross.weights} has no vocab.txt; a cross-encoder reads "
                "word pieces, so take a BERT with one"
            )
        words = folder.words
    else:
        texts = [_texts(kind, values(kind)) for kind in read]
        words = BertWords(word_pieces(np.concatenate(texts), cross.vocabulary_size))
        shape = BertShape(
            len(words.vocabulary),
            cross.hidden,
            cross.layers,
            cross.heads,
            cross.intermediate,
            positions=longest,
        )
    if longest > shape.positions:
        raise ConfigError(
            f"model.cross: query and fields have up to {longest} tokens, but the BERT in "
            f"{cross.weights} reads {shape.positions}; lower query_tokens or the fields' budgets"
        )
    return PiecePlan(
        words,
        shape,
        {cross.query: cross.query_tokens},
        dict(cross.fields),
        {k.name: k.separator for k in read if k.separator},
    )


def _texts(kind: FeatureKind, column: pd.Series) -> np.ndarray:
    """The distinct texts of a column in the form that is cut into pieces, [texts] str."""
    raw = np.unique(kind.read(column.drop_duplicates(), None)[0].astype(str))
    if kind.separator:
        raw = np.array([text.replace(kind.separator, " ") for text in raw], object)
    clean = spelled(tf.constant(raw, tf.string), lowercase=True).numpy()
    return np.array([text.decode() for text in clean], object)
