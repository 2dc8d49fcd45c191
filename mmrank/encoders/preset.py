"""Presets of keras_nlp as text encoders, each with its own tokenizer."""

from __future__ import annotations

import hashlib
import warnings
from typing import Any

import keras_nlp
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.encoders.handles import unreachable
from mmrank.outputs import shown
from mmrank.schema import did_you_mean

# Tokenizers of bidirectional encoders, each with its names of a text's start and end ids.
FAMILIES: dict[type[keras_nlp.models.Tokenizer], tuple[str, str]] = {
    keras_nlp.models.BertTokenizer: ("cls_token_id", "sep_token_id"),
    keras_nlp.models.DistilBertTokenizer: ("cls_token_id", "sep_token_id"),
    keras_nlp.models.ElectraTokenizer: ("cls_token_id", "sep_token_id"),
    keras_nlp.models.AlbertTokenizer: ("cls_token_id", "sep_token_id"),
    keras_nlp.models.DebertaV3Tokenizer: ("cls_token_id", "sep_token_id"),
    keras_nlp.models.XLMRobertaTokenizer: ("start_token_id", "end_token_id"),
}
_REMEDY = (
    "to copy it by hand, copy its files (config.json, tokenizer.json, metadata.json, "
    "model.weights.h5 and the folder assets) here from a machine with network access, and set "
    "`handle` to their folder"
)


class Preset:
    """A preset: its tokenizer, and its weights on request.

    Args:
      feature: The feature that needs the encoder, with which messages begin.
      handle: Name of a preset (bert_tiny_en_uncased), kaggle:// or hf:// address, or local folder.
      max_tokens: Maximum number of tokens read of a text, including start and end.

    Raises:
      ConfigError: The preset is unknown, not available, or not of a known family of encoders.
    """

    def __init__(self, feature: str, handle: str, max_tokens: int):
        self.feature, self.handle, self.max_tokens = feature, handle, max_tokens
        self.tokenizer = self._load(keras_nlp.models.Tokenizer)
        if type(self.tokenizer) not in FAMILIES:
            known = ", ".join(f.__name__.removesuffix("Tokenizer") for f in FAMILIES)
            raise ConfigError(
                f"feature {feature!r}: preset {handle!r} has a {type(self.tokenizer).__name__}, "
                f"which belongs to no supported encoder; known: {known}"
            )
        start, end = FAMILIES[type(self.tokenizer)]
        self.padding = int(self.tokenizer.pad_token_id)
        self._pack = keras_nlp.layers.StartEndPacker(
            sequence_length=max_tokens,
            start_value=int(getattr(self.tokenizer, start)),
            end_value=int(getattr(self.tokenizer, end)),
            pad_value=self.padding,
        )

    def backbone(self) -> keras_nlp.models.Backbone:
        """Returns a new network with the preset's weights.

        Raises:
          ConfigError: The preset is not available, or reads fewer tokens.
        """
        backbone = self._load(keras_nlp.models.Backbone)
        longest = backbone.max_sequence_length
        if self.max_tokens > longest:
            raise ConfigError(
                f"feature {self.feature!r}: max_tokens is {self.max_tokens}; preset "
                f"{self.handle!r} reads at most {longest}"
            )
        return backbone

    def _load(self, kind: Any) -> Any:
        known = keras_nlp.models.Backbone.presets
        try:
            with warnings.catch_warnings():
                # keras_nlp accesses all attributes of a model while it reads weights.
                warnings.filterwarnings("ignore", ".*updates` will be removed", UserWarning)
                return kind.from_preset(self.handle)
        except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
            tried = "the local folder"
            if self.handle in known or "://" in self.handle:
                tried = "the local cache (KAGGLEHUB_CACHE or HF_HOME) and the download"
            elif not tf.io.gfile.isdir(self.handle):
                raise ConfigError(
                    f"feature {self.feature!r}: {shown(self.handle)} is neither a preset of "
                    f"keras_nlp nor a folder{did_you_mean(self.handle, known)}"
                ) from error
            raise unreachable(self.feature, self.handle, tried, error, _REMEDY) from error

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns token ids [N, max_tokens] int32 of texts [N]."""
        return tf.cast(self._pack(self.tokenizer(texts)), tf.int32)

    def hash(self) -> str:
        """Returns a hash of tokenizer and weights."""
        digest = hashlib.sha256()
        for piece in self.tokenizer.get_vocabulary():
            digest.update(f"{piece}\n".encode())
        for value in self.backbone().get_weights():
            digest.update(f"{value.shape}".encode())
            digest.update(value.tobytes())
        return digest.hexdigest()

    def tracked(self) -> list[Any]:
        """Returns what the graph of the tokenizer refers to and a SavedModel has to hold."""
        if isinstance(self.tokenizer, keras_nlp.tokenizers.SentencePieceTokenizer):
            return [self.tokenizer._sentence_piece]
        return []


class PresetEncoder(tf.keras.layers.Layer):
    """Embeddings [N, D] of token ids [N, T]: the mean over a preset's token vectors.

    Masking: no token attends to padding, and the mean leaves it out.

    Args:
      backbone: A backbone with its weights. Weights that only its pooled output needs are left out.
      padding: The id of padding.
    """

    def __init__(self, backbone: keras_nlp.models.Backbone, padding: int, **kwargs: Any):
        super().__init__(**kwargs)
        output = backbone.output
        sequence = output["sequence_output"] if isinstance(output, dict) else output
        # Leaving out the pooled output drops its weights too.
        self.backbone = tf.keras.Model(backbone.input, sequence)
        self.padding, self.segments = padding, "segment_ids" in backbone.input

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        present = tf.cast(inputs != self.padding, tf.int32)
        given = {"token_ids": inputs, "padding_mask": present}
        if self.segments:
            given["segment_ids"] = tf.zeros_like(inputs)
        tokens = self.backbone(given, training=training)
        weight = tf.cast(present, tokens.dtype)[..., None]
        return tf.reduce_sum(tokens * weight, 1) / tf.maximum(tf.reduce_sum(weight, 1), 1)
