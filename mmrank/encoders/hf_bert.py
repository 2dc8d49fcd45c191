"""A BERT or XLM-R of a Hugging Face folder as one Keras model: texts [N] → embeddings [N, D].

The weights are copied by name into a `keras_nlp.models.BertBackbone`. Tokenizing and pooling run in
the same graph, so its SavedModel is a TF-Hub text model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras_nlp
import numpy as np
import tensorflow as tf
import tensorflow_text

from mmrank.encoders.hf_folder import BertShape, BertWords
from mmrank.encoders.piece_tokens import PieceTokens, PieceWords, Prefixed
from mmrank.outputs import InputError


class BertTokens(tf.keras.layers.Layer):
    """Token ids [N, T] int32 and their mask [N, T] int32 of texts [N]; T is the longest's length.

    Texts are cleaned as in BERT's own tokenizer: control characters are removed, every kind of
    space separates, and Unicode's lower case applies. (`WordPieceTokenizer(lowercase=True)` folds
    case instead, which gives another token for a full-width comma.)

    Masking: padding has the id of `words.padding` and mask 0.

    Args:
      words: Vocabulary and rules.
      max_tokens: Maximum number of tokens of a text, including start and end.

    Source: Devlin et al. 2019, "BERT", and its reference tokenizer.
    """

    def __init__(self, words: BertWords, max_tokens: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.words, self.max_tokens = words, max_tokens
        self.pieces = keras_nlp.tokenizers.WordPieceTokenizer(
            vocabulary=list(words.vocabulary),
            lowercase=False,
            strip_accents=words.strip_accents,
            split_on_cjk=words.split_cjk,
            oov_token=words.unknown,
        )
        find = words.vocabulary.index
        self.start, self.end = find(words.start), find(words.end)
        self.padding = find(words.padding)

    def call(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        spaced = tf.strings.regex_replace(inputs, r"[\t\n\r\p{Z}]", " ")
        clean = tf.strings.regex_replace(spaced, r"[\p{C}\x{FFFD}]", "")
        if self.words.lowercase:
            clean = tf.strings.lower(clean, encoding="utf-8")
        tokens = self.pieces(clean)[:, : self.max_tokens - 2]
        marked, _ = tensorflow_text.combine_segments([tokens], self.start, self.end)
        mask = tf.sequence_mask(marked.row_lengths(), dtype=tf.int32)
        return tf.cast(marked.to_tensor(self.padding), tf.int32), mask

    def get_config(self) -> dict[str, Any]:
        words = dataclasses.asdict(self.words)
        return super().get_config() | {"words": words, "max_tokens": self.max_tokens}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BertTokens:
        return cls(**(config | {"words": BertWords(**config["words"])}))


class Pooling(tf.keras.layers.Layer):
    """Embeddings [N, D] of token vectors [N, T, D] and their mask [N, T].

    Masking: tokens that the mask leaves out take no part in a mean or maximum.

    Args:
      kind: mean, cls (the first token's vector) or max.
      normalize: Scale to length 1.

    Source: Reimers and Gurevych 2019, "Sentence-BERT", section 3.
    """

    def __init__(self, kind: str, normalize: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.kind, self.normalize = kind, normalize

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        vectors, mask = inputs
        here = tf.cast(mask, vectors.dtype)[..., None]
        if self.kind == "mean":
            pooled = tf.reduce_sum(vectors * here, 1) / tf.reduce_sum(here, 1)
        elif self.kind == "max":
            pooled = tf.reduce_max(tf.where(here > 0, vectors, vectors.dtype.min), 1)
        else:
            pooled = vectors[:, 0]
        return tf.math.l2_normalize(pooled, -1) if self.normalize else pooled

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"kind": self.kind, "normalize": self.normalize}


def text_model(
    shape: BertShape,
    words: BertWords | PieceWords,
    weights: Mapping[str, np.ndarray],
    *,
    pooling: str,
    normalize: bool,
    max_tokens: int,
    prefix: str = "",
) -> tuple[tf.keras.Model, tuple[str, ...]]:
    """Returns a model from texts [N] to embeddings [N, D], and the names of unused tensors.

    The model has no dropout: random numbers of a dropout in a SavedModel could be neither seeded
    nor resumed.

    Args:
      shape: The architecture.
      words: The tokenizer.
      weights: Tensors by Hugging Face's names, without the prefix `bert.`.
      pooling: mean, cls or max.
      normalize: Scale embeddings to length 1.
      max_tokens: Maximum number of tokens of a text, including start and end.
      prefix: Text put before every text.

    Raises:
      InputError: A tensor is missing or has another shape, the head count does not divide, or
        `max_tokens` is out of range.
    """
    if not 2 < max_tokens <= shape.positions:
        raise InputError(f"max_tokens is {max_tokens}; this model reads 3 to {shape.positions}")
    backbone = bert_backbone(shape)
    unused = copy_weights(backbone, weights, shape.position_offset)
    # Pooling over tokens does not use the [CLS] token's dense layer.
    sequence = tf.keras.Model(backbone.input, backbone.output["sequence_output"], name="bert")
    texts = tf.keras.Input((), dtype=tf.string, name="texts")
    begun = Prefixed(prefix, name="prefix")(texts) if prefix else texts
    cut: tf.keras.layers.Layer
    if isinstance(words, BertWords):
        cut = BertTokens(words, max_tokens, name="tokens")
    else:
        cut = PieceTokens(words, max_tokens, name="tokens")
    ids, mask = cut(begun)
    vectors = sequence({"token_ids": ids, "segment_ids": tf.zeros_like(ids), "padding_mask": mask})
    pooled = Pooling(pooling, normalize, name="pooling")((vectors, mask))
    return tf.keras.Model(texts, pooled, name="text_model"), unused


def bert_backbone(shape: BertShape) -> keras_nlp.models.BertBackbone:
    """Returns a BERT of the given architecture with random weights and without dropout.

    Raises:
      InputError: The head count does not divide.
    """
    if shape.hidden % shape.heads:
        raise InputError(f"{shape.hidden} hidden units are not a multiple of {shape.heads} heads")
    backbone = keras_nlp.models.BertBackbone(
        vocabulary_size=shape.vocabulary_size,
        num_layers=shape.layers,
        num_heads=shape.heads,
        hidden_dim=shape.hidden,
        intermediate_dim=shape.intermediate,
        dropout=0.0,
        max_sequence_length=shape.positions,
        num_segments=shape.segments,
    )
    # The backbone takes neither value as an argument, but its layers read both at every call.
    backbone.embeddings_layer_norm.epsilon = shape.epsilon
    for layer in backbone.transformer_layers:
        layer._self_attention_layer_norm.epsilon = shape.epsilon
        layer._feedforward_layer_norm.epsilon = shape.epsilon
        if not shape.tanh_gelu:  # keras_nlp's default is the tanh approximation
            layer._feedforward_intermediate_dense.activation = tf.keras.activations.gelu
    return backbone


@dataclasses.dataclass(frozen=True)
class _VariableMapping:
    """A variable, its possible names in the file, and its shape there; kernels are transposed.

    The variable leaves out the first `skipped` rows of the file's tensor.
    """

    variable: tf.Variable
    names: tuple[str, ...]
    shape: tuple[int, ...]
    transposed: bool = False
    skipped: int = 0


def copy_weights(
    backbone: keras_nlp.models.BertBackbone,
    weights: Mapping[str, np.ndarray],
    position_offset: int = 0,
) -> tuple[str, ...]:
    """Copies every weight by name, and returns the names of the tensors left over.

    Args:
      backbone: As `bert_backbone` returns it.
      weights: Tensors by Hugging Face's names, without the prefix `bert.`.
      position_offset: Rows at the start of the file's position table that are not positions.

    Raises:
      InputError: Tensors are missing or do not fit; the message names the first five.
    """
    left = dict(weights)
    wrong = []
    for mapping in _mappings(backbone, position_offset):
        name = next((n for n in mapping.names if n in left), None)
        if name is None:
            wrong.append(f"{mapping.names[0]} is missing")
            continue
        values = left.pop(name)
        if values.shape != mapping.shape:
            wrong.append(f"{name} has the shape {list(values.shape)}, not {list(mapping.shape)}")
            continue
        values = values.T if mapping.transposed else values[mapping.skipped :]
        # Heads are a separate axis in Keras, and a range of columns or rows in the file.
        mapping.variable.assign(values.reshape(mapping.variable.shape))
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise InputError(
            f"model.safetensors does not fit config.json: {'; '.join(wrong[:5])}{more}"
        )
    return tuple(sorted(left))


def _mappings(
    backbone: keras_nlp.models.BertBackbone, position_offset: int
) -> list[_VariableMapping]:
    """Returns every variable of the backbone except those of the pooled output."""
    mappings: list[_VariableMapping] = []
    hidden, between = backbone.hidden_dim, backbone.intermediate_dim

    def table(variable: tf.Variable, name: str, skipped: int = 0) -> None:
        shape = (skipped + variable.shape[0], variable.shape[1])
        mappings.append(
            _VariableMapping(variable, (f"embeddings.{name}.weight",), shape, skipped=skipped)
        )

    def norm(layer: tf.keras.layers.Layer, name: str) -> None:
        # Files converted from TensorFlow checkpoints have gamma and beta.
        mappings.append(
            _VariableMapping(layer.gamma, (f"{name}.weight", f"{name}.gamma"), (hidden,))
        )
        mappings.append(_VariableMapping(layer.beta, (f"{name}.bias", f"{name}.beta"), (hidden,)))

    def dense(layer: tf.keras.layers.Layer, name: str, inputs: int, outputs: int) -> None:
        mappings.append(
            _VariableMapping(layer.kernel, (f"{name}.weight",), (outputs, inputs), True)
        )
        mappings.append(_VariableMapping(layer.bias, (f"{name}.bias",), (outputs,)))

    table(backbone.token_embedding.embeddings, "word_embeddings")
    table(backbone.segment_embedding.embeddings, "token_type_embeddings")
    positions = backbone.position_embedding.position_embeddings
    table(positions, "position_embeddings", position_offset)
    norm(backbone.embeddings_layer_norm, "embeddings.LayerNorm")
    for i, layer in enumerate(backbone.transformer_layers):
        at, attention = f"encoder.layer.{i}", layer._self_attention_layer
        dense(attention._query_dense, f"{at}.attention.self.query", hidden, hidden)
        dense(attention._key_dense, f"{at}.attention.self.key", hidden, hidden)
        dense(attention._value_dense, f"{at}.attention.self.value", hidden, hidden)
        dense(attention._output_dense, f"{at}.attention.output.dense", hidden, hidden)
        norm(layer._self_attention_layer_norm, f"{at}.attention.output.LayerNorm")
        dense(layer._feedforward_intermediate_dense, f"{at}.intermediate.dense", hidden, between)
        dense(layer._feedforward_output_dense, f"{at}.output.dense", between, hidden)
        norm(layer._feedforward_layer_norm, f"{at}.output.LayerNorm")
    return mappings
