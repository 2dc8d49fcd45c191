"""Texts: a BERT over word pieces fitted here, a keras_nlp preset, or a TF-Hub handle."""

from __future__ import annotations

import copy
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import keras_nlp
import numpy as np
import pandas as pd
import tensorflow as tf
import tensorflow_hub

from mmrank.config import ConfigError
from mmrank.data.embedding_cache import files_hash
from mmrank.data.media import MediaStore
from mmrank.encoders.aligned.space import space_of
from mmrank.encoders.base import texts
from mmrank.encoders.donor import (
    best_weights,
    checkpoint_files,
    donor_of,
    fitted_state,
    is_run,
    take_weights,
    taken_options,
)
from mmrank.encoders.frozen import Freezable
from mmrank.encoders.handles import hub_folder, hub_hash
from mmrank.encoders.normalize import FORMS, Normalizer
from mmrank.encoders.portable.word_pieces import PortableWordPieces
from mmrank.encoders.preset import Preset, PresetEncoder
from mmrank.encoders.word_rows import NamedRows, Rows
from mmrank.ranges import Count, Dropped, Range
from mmrank.schema import did_you_mean

RESERVED = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


@dataclasses.dataclass(frozen=True)
class TextOptions:
    """Options of a text.

    Attributes:
      encoder: `bert` for a transformer trained here, `hub` for a TF-Hub SavedModel, `preset` for
        a pretrained encoder of keras_nlp with its own tokenizer.
      max_tokens: Maximum number of tokens read of a text (bert, preset).
      vocabulary_size: Maximum number of word pieces (bert).
      layers, heads, hidden, intermediate: The transformer's shape (bert).
      dropout: Dropout in the transformer (bert).
      handle: URL or local folder of a hub model that maps strings [N] to [N, D] (hub), or the
        name (such as bert_tiny_en_uncased) or local folder of a preset (preset).
      weights: Folder of a run whose BERT is reused, with its best weights, its vocabulary and its
        options, except those set here (bert); `none` starts from random weights.
      trainable: Whether the encoder learns; `null` means true for bert and false otherwise. An
        encoder that does not learn runs before training, once per text.
      group: Texts of one group with equal options share one encoder and vocabulary, so a word
        has the same meaning in a query and in a title.
      normalization: Unicode form of all texts: NFKC, NFC, NFKD, NFD, or the empty text for none.
      fold_case: Whether case is folded before the encoder. `null` folds it for bert and leaves it
        unchanged for other encoders, which may be case-sensitive.
      stop_words: Words left out, in any case; `english` and `chinese` name built-in lists.
    """

    encoder: str = "bert"
    max_tokens: Annotated[int, Range(3)] = 24
    vocabulary_size: Annotated[int, Range(16)] = 8000
    layers: Count = 2
    heads: Count = 4
    hidden: Count = 128
    intermediate: Count = 256
    dropout: Dropped = 0.1
    handle: str = ""
    weights: str = "none"
    trainable: bool | None = None
    group: str = "text"
    normalization: str = "NFKC"
    fold_case: bool | None = None
    stop_words: tuple[str, ...] = ()


class Text(Freezable):
    """A text in Chinese, English or both. The empty text means absent.

    Example:
      >>> import pandas as pd
      >>> import tensorflow as tf
      >>> from mmrank.schema import Feature
      >>> options = {"max_tokens": 8, "vocabulary_size": 40}
      >>> title = Text(Feature("title", "text", "item", "title"), options)
      >>> raw, present = title.read(pd.Series(["Red dress", "红色连衣裙", "  "]), media=None)
      >>> present.tolist()
      [True, True, False]
      >>> title.fit(pd.Series(["Red dress", "Blue dress"] * 5))
      >>> tokens = title.preprocess(tf.constant(["red dress"]))
      >>> tokens.shape
      TensorShape([1, 8])
    """

    raw_dtype = tf.string
    Options = TextOptions
    unseen = Freezable.unseen | {"handle", "group", "dropout"}

    vocabulary: tuple[str, ...] = ()
    own_ops = False  # whether texts are processed by TensorFlow's own ops, without TF-Text
    donor: Text | None = None
    _made: Callable[[tf.Tensor], tf.Tensor] | None = None

    def __init__(self, feature: Any, options: Mapping[str, Any]):
        weights = str({**feature.options, **options}.get("weights", "none"))
        if is_run(weights):
            run = pathlib.Path(weights)
            self.donor = Text(*donor_of(feature, run))
            self.donor.restore(fitted_state(run, self.donor.name))
            options = taken_options(self.donor.options, {**feature.options, **options})
        super().__init__(feature, options)
        self._check_weights()
        if self.options.encoder not in ENCODERS:
            raise ConfigError(
                f"feature {self.name!r}: unknown text encoder {self.options.encoder!r}; "
                f"known: {', '.join(ENCODERS)}"
            )
        needs = {"hub": "a TF-Hub URL", "preset": "a preset's name"}.get(self.options.encoder)
        if needs and not self.options.handle:
            raise ConfigError(
                f"feature {self.name!r}: encoder {self.options.encoder} needs `handle`, {needs} or "
                "a local folder"
            )
        if self.options.normalization not in ("", *FORMS):
            raise ConfigError(
                f"feature {self.name!r}: unknown normalization {self.options.normalization!r}"
                f"{did_you_mean(self.options.normalization, FORMS)}"
            )

    def _check_weights(self) -> None:
        weights = self.options.weights
        if weights != "none" and (self.donor is None or self.options.encoder != "bert"):
            raise ConfigError(
                f"feature {self.name!r}: weights {weights!r} is not the folder of a trained run "
                "with a BERT; for any other text encoder use encoder hub with a `handle`"
            )
        if self.frozen and self.options.encoder == "bert" and weights == "none":
            raise ConfigError(
                f"feature {self.name!r}: a BERT that is not trainable needs weights; set `weights` "
                "to the folder of a run, or trainable to true"
            )

    @property
    def frozen(self) -> bool:
        trainable = self.options.trainable
        return self.options.encoder != "bert" if trainable is None else not trainable

    def weights_hash(self) -> str:
        if self.donor is not None:
            prefix = best_weights(pathlib.Path(self.options.weights))
            return files_hash(checkpoint_files(prefix), prefix.parent)
        if self.options.encoder == "preset":
            return self.preset.hash()
        return hub_hash(self.name, self.options.handle)

    @property
    def space(self) -> str:
        if self.options.encoder != "hub":
            return ""
        return space_of(hub_folder(self.name, self.options.handle))

    @functools.cached_property
    def preset(self) -> Preset:
        """The preset that the options name."""
        with tf.init_scope():
            return Preset(self.name, self.options.handle, self.options.max_tokens)

    def fetch(self, values: pd.Series, media: MediaStore | None) -> np.ndarray:
        return self.read(values, media)[0]

    def usable(self, raw: Any) -> bool:
        return True

    def read(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        words = texts(values)
        return words, words != ""

    def fit(self, values: pd.Series) -> None:
        if self.donor is not None:
            self.vocabulary = self.donor.vocabulary
        elif self.options.encoder == "bert":
            # Remove duplicates first: a log repeats a query in every row.
            unique = np.unique(texts(values.drop_duplicates()).astype(str))
            normal = self.normalizer()(tf.constant(unique, tf.string)).numpy()
            words = np.array([text.decode() for text in normal], object)
            self.vocabulary = word_pieces(words, self.options.vocabulary_size)

    def normalizer(self) -> Normalizer:
        """Returns the normalizer of every text, in training and in an export."""
        fold = self.options.fold_case
        return Normalizer(
            self.options.normalization,
            self.options.encoder == "bert" if fold is None else fold,
            self.options.stop_words,
            self.own_ops,
        )

    def portable(self) -> Text:
        other = copy.copy(self)
        other.own_ops, other._made = True, None
        return other

    def forget(self) -> None:
        super().forget()
        self._made = None

    def state(self) -> dict[str, Any]:
        return {"vocabulary": list(self.vocabulary)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.vocabulary = tuple(state["vocabulary"])

    def sharing(self) -> str:
        return self.group_key()

    def preprocess(self, raw: tf.Tensor) -> tf.Tensor:
        normal = self.normalizer()(raw)
        return normal if self.options.encoder == "hub" else self._tokenizer()(normal)

    def tracked(self) -> list[Any]:
        more = self.preset.tracked() if self.options.encoder == "preset" else []
        return [*super().tracked(), *more]

    def _tokenizer(self) -> Callable[[tf.Tensor], tf.Tensor]:
        if self.options.encoder == "preset":
            return self.preset
        if self._made is None:
            make = portable_word_pieces if self.own_ops else word_piece_tokenizer
            with tf.init_scope():
                self._made = make(self.vocabulary, self.options.max_tokens)
        return self._made

    def input_spec(self) -> tf.TensorSpec:
        if self.options.encoder == "hub":
            return tf.TensorSpec([None], tf.string)
        return tf.TensorSpec([None, self.options.max_tokens], tf.int32)

    def encoder(self, width: int) -> tf.keras.layers.Layer:
        return ENCODERS[self.options.encoder](self)


def word_pieces(values: np.ndarray, size: int) -> tuple[str, ...]:
    """Returns the WordPiece vocabulary of texts, the reserved tokens first.

    Args:
      values: Texts [N].
      size: Maximum number of pieces; small corpora give fewer.
    """
    unique = sorted({v for v in values if v})
    dataset = tf.data.Dataset.from_tensor_slices(unique or [""]).batch(1024)
    pieces = keras_nlp.tokenizers.compute_word_piece_vocabulary(
        dataset,
        vocabulary_size=size,
        lowercase=True,
        strip_accents=True,
        split_on_cjk=True,
        reserved_tokens=list(RESERVED),
    )
    return tuple(pieces)


def word_piece_tokenizer(
    vocabulary: tuple[str, ...], max_tokens: int
) -> keras_nlp.tokenizers.WordPieceTokenizer:
    """Returns the tokenizer [N] → [N, max_tokens] int32 of a vocabulary; it runs in a graph."""
    return keras_nlp.tokenizers.WordPieceTokenizer(
        vocabulary=list(vocabulary),
        sequence_length=max_tokens,
        lowercase=True,
        strip_accents=True,
        split_on_cjk=True,
        oov_token=RESERVED[1],
    )


def portable_word_pieces(vocabulary: tuple[str, ...], max_tokens: int) -> PortableWordPieces:
    """Returns a tokenizer with the same results as `word_piece_tokenizer`, without TF-Text ops."""
    return PortableWordPieces(vocabulary, max_tokens, RESERVED[1])


class BertEncoder(tf.keras.layers.Layer, NamedRows):
    """Embeddings [N, hidden] of token ids [N, T]: the mean over a BERT's token vectors.

    Masking: id 0 is padding. No token attends to it and the mean leaves it out. A text of padding
    alone gives zeros.

    Args:
      vocabulary_size: Rows of the token embedding.
      max_tokens: T.
      layers, heads, hidden, intermediate, dropout: As in `keras_nlp.models.BertBackbone`.

    Source: Devlin et al. 2019, "BERT"; mean pooling as in Reimers and Gurevych 2019.
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        max_tokens: int,
        layers: int,
        heads: int,
        hidden: int,
        intermediate: int,
        dropout: float,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.arguments = {
            "vocabulary_size": vocabulary_size,
            "max_tokens": max_tokens,
            "layers": layers,
            "heads": heads,
            "hidden": hidden,
            "intermediate": intermediate,
            "dropout": dropout,
        }
        backbone = keras_nlp.models.BertBackbone(
            vocabulary_size=vocabulary_size,
            num_layers=layers,
            num_heads=heads,
            hidden_dim=hidden,
            intermediate_dim=intermediate,
            dropout=dropout,
            max_sequence_length=max_tokens,
            num_segments=1,
        )
        # The pooled output of the [CLS] token is unused; leaving it out drops its weights too.
        self.backbone = tf.keras.Model(backbone.input, backbone.output["sequence_output"])

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        ids = tf.cast(inputs, tf.int32)
        present = tf.cast(ids > 0, tf.int32)
        tokens = self.backbone(
            {"token_ids": ids, "segment_ids": tf.zeros_like(ids), "padding_mask": present},
            training=training,
        )
        weight = tf.cast(present, tokens.dtype)[..., None]
        return tf.reduce_sum(tokens * weight, 1) / tf.maximum(tf.reduce_sum(weight, 1), 1)

    def named_rows(self, owner: Text) -> Rows:
        (tokens,) = (p for p in self.submodules if p.name == "token_embedding")
        (positions,) = (p for p in self.submodules if p.name == "position_embedding")
        places = tuple(f"position {i}" for i in range(owner.options.max_tokens))
        return [(tokens.embeddings, owner.vocabulary), (positions.position_embeddings, places)]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.arguments


def _bert(kind: Text) -> tf.keras.layers.Layer:
    options = kind.options
    encoder = BertEncoder(
        vocabulary_size=len(kind.vocabulary),
        max_tokens=options.max_tokens,
        layers=options.layers,
        heads=options.heads,
        hidden=options.hidden,
        intermediate=options.intermediate,
        dropout=options.dropout,
        name=kind.sharing(),
    )
    encoder.trainable = not kind.frozen
    if kind.donor is not None:
        take_weights(encoder, pathlib.Path(options.weights), f"weights {options.weights!r}")
    return encoder


def _hub(kind: Text) -> tf.keras.layers.Layer:
    return tensorflow_hub.KerasLayer(
        str(hub_folder(kind.name, kind.options.handle)),
        trainable=not kind.frozen,
        input_shape=[],
        dtype=tf.string,
        name=kind.sharing(),
    )


def _preset(kind: Text) -> tf.keras.layers.Layer:
    encoder = PresetEncoder(kind.preset.backbone(), kind.preset.padding, name=kind.sharing())
    encoder.trainable = not kind.frozen
    return encoder


ENCODERS = {"bert": _bert, "hub": _hub, "preset": _preset}
