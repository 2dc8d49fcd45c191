"""Finds the weights of both towers in a file of CLIP or SigLIP; checks and copies them by name."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.encoders.aligned.shapes import CLIP, PhotoShape, Stack, TextShape
from mmrank.encoders.aligned.towers import block_name
from mmrank.outputs import InputError

# Tensors that are not weights of a tower: the loss's scale and bias, and position numbers.
_SET_ASIDE = ("logit_scale", "logit_bias")
_NUMBERED = "embeddings.position_ids"
_SHOWN = 5
_Found = Callable[[tf.keras.Model], Any]  # a layer or variable of a tower


@dataclasses.dataclass(frozen=True)
class TensorMapping:
    """One variable of a tower, and where the file has it.

    Attributes:
      name: Name of the file's tensor.
      shape: Shape of the file's tensor.
      variable: Finds the variable in the tower.
      turned: The order of the tensor's axes in the variable; None if unchanged.
      part: Which third of the tensor's rows the variable has; None for all rows.
    """

    name: str
    shape: tuple[int, ...]
    variable: _Found
    turned: tuple[int, ...] | None = None
    part: int | None = None


def photo_mappings(shape: PhotoShape) -> list[TensorMapping]:
    """Returns every variable of an image tower, with its tensor in the file."""
    stack, clip, at = shape.stack, shape.kind == CLIP, "vision_model"
    hidden = stack.hidden
    patch = (hidden, 3, shape.patch, shape.patch)
    embeddings = f"{at}.embeddings"

    mappings = [
        TensorMapping(
            f"{embeddings}.patch_embedding.weight",
            patch,
            lambda m: _layer("patches")(m).kernel,
            (2, 3, 1, 0),
        ),
        TensorMapping(
            f"{embeddings}.position_embedding.weight",
            (shape.patches + int(clip), hidden),
            lambda m: _layer("patch_tokens")(m).positions,
        ),
        *_blocks(stack, at),
        *_norm(hidden, f"{at}.post_layernorm", _layer("last_norm")),
    ]
    if clip:
        return [
            *mappings,
            TensorMapping(
                f"{embeddings}.class_embedding",
                (hidden,),
                lambda m: _layer("patch_tokens")(m).first,
            ),
            # Misspelt like this in every file.
            *_norm(hidden, f"{at}.pre_layrnorm", _layer("first_norm")),
            *_dense("visual_projection", hidden, shape.width, _layer("projection"), bias=False),
        ]
    pool, attention = _layer("pooling"), f"{at}.head.attention"
    for part, name in enumerate(("_query_dense", "_key_dense", "_value_dense")):
        mappings += [
            TensorMapping(
                f"{attention}.in_proj_weight",
                (3 * hidden, hidden),
                _part(pool, "attention", name, "kernel"),
                (1, 0),
                part,
            ),
            TensorMapping(
                f"{attention}.in_proj_bias",
                (3 * hidden,),
                _part(pool, "attention", name, "bias"),
                part=part,
            ),
        ]
    return [
        *mappings,
        TensorMapping(
            f"{embeddings}.patch_embedding.bias", (hidden,), lambda m: _layer("patches")(m).bias
        ),
        TensorMapping(f"{at}.head.probe", (1, 1, hidden), lambda m: pool(m).query),
        *_dense(f"{attention}.out_proj", hidden, hidden, lambda m: pool(m).attention._output_dense),
        *_norm(hidden, f"{at}.head.layernorm", lambda m: pool(m).norm),
        *_dense(f"{at}.head.mlp.fc1", hidden, stack.intermediate, lambda m: pool(m).between),
        *_dense(f"{at}.head.mlp.fc2", stack.intermediate, hidden, lambda m: pool(m).last),
    ]


def text_mappings(shape: TextShape) -> list[TensorMapping]:
    """Returns every variable of a text tower, with its tensor in the file."""
    stack, clip, at = shape.stack, shape.kind == CLIP, "text_model"
    hidden = stack.hidden
    head = "text_projection" if clip else f"{at}.head"
    return [
        TensorMapping(
            f"{at}.embeddings.token_embedding.weight",
            (shape.vocabulary_size, hidden),
            lambda m: m.get_layer("embeddings").token_embedding.embeddings,
        ),
        TensorMapping(
            f"{at}.embeddings.position_embedding.weight",
            (shape.positions, hidden),
            lambda m: m.get_layer("embeddings").position_embedding.position_embeddings,
        ),
        *_blocks(stack, at),
        *_norm(hidden, f"{at}.final_layer_norm", _layer("last_norm")),
        *_dense(head, hidden, shape.width, _layer("projection"), bias=not clip),
    ]


def check(
    state: Mapping[str, np.ndarray], photo: PhotoShape, text: TextShape
) -> tuple[list[TensorMapping], list[TensorMapping]]:
    """Returns the variables of the image and the text tower, if the file has exactly their tensors.

    Memory for a config's sizes is allocated only after they match those of the file.

    Args:
      state: Tensors by name.
      photo, text: The architectures.

    Raises:
      InputError: Tensors are missing, left over or of other shapes; the message names the first.
    """
    for part, stack in (("vision", photo.stack), ("text", text.stack)):
        if stack.layers > len(state):
            raise InputError(
                f"{part}_config.num_hidden_layers is {stack.layers}, but the file has "
                f"{len(state)} tensors"
            )
    mappings = photo_mappings(photo), text_mappings(text)
    wanted = {p.name: p.shape for p in (*mappings[0], *mappings[1])}
    wrong = [f"{n} is missing" for n in wanted if n not in state]
    wrong += [
        f"{n} has the shape {list(state[n].shape)}, not {list(shape)}"
        for n, shape in wanted.items()
        if n in state and state[n].shape != shape
    ]
    wrong += [f"{n} is not part of the model" for n in state if n not in wanted and not _aside(n)]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise InputError(f"does not fit config.json: {'; '.join(wrong[:_SHOWN])}{more}")
    return mappings


def copy_weights(
    model: tf.keras.Model, state: Mapping[str, np.ndarray], mappings: Iterable[TensorMapping]
) -> None:
    """Gives a tower the weights of a file that `check` accepted."""
    for mapping in mappings:
        values = state[mapping.name]
        if mapping.part is not None:
            values = np.split(values, 3)[mapping.part]
        if mapping.turned is not None:
            values = values.transpose(mapping.turned)
        variable = mapping.variable(model)
        # Heads are a separate axis in Keras, and a range of rows or columns in the file.
        variable.assign(values.reshape(variable.shape))


def _layer(name: str) -> _Found:
    """Returns a function that finds a layer by its name."""
    return lambda model: model.get_layer(name)


def _part(start: _Found, *names: str) -> _Found:
    """Returns a function that follows the attributes `names` from what `start` finds."""
    return lambda model: functools.reduce(getattr, names, start(model))


def _aside(name: str) -> bool:
    return name in _SET_ASIDE or name.endswith(_NUMBERED)


def _blocks(stack: Stack, at: str) -> list[TensorMapping]:
    hidden, mappings = stack.hidden, []
    for i in range(stack.layers):
        own = f"{at}.encoder.layers.{i}"
        block = _layer(block_name(i))
        for theirs, ours in (("q", "query"), ("k", "key"), ("v", "value"), ("out", "output")):
            dense = _part(block, "attention", f"_{ours}_dense")
            mappings += _dense(f"{own}.self_attn.{theirs}_proj", hidden, hidden, dense)
        mappings += _norm(hidden, f"{own}.layer_norm1", _part(block, "attention_norm"))
        mappings += _norm(hidden, f"{own}.layer_norm2", _part(block, "dense_norm"))
        mappings += _dense(f"{own}.mlp.fc1", hidden, stack.intermediate, _part(block, "between"))
        mappings += _dense(f"{own}.mlp.fc2", stack.intermediate, hidden, _part(block, "last"))
    return mappings


def _norm(width: int, name: str, layer: _Found) -> list[TensorMapping]:
    return [
        TensorMapping(f"{name}.weight", (width,), lambda m: layer(m).gamma),
        TensorMapping(f"{name}.bias", (width,), lambda m: layer(m).beta),
    ]


def _dense(
    name: str,
    inputs: int,
    outputs: int,
    layer: _Found,
    bias: bool = True,
) -> list[TensorMapping]:
    kernel = TensorMapping(f"{name}.weight", (outputs, inputs), lambda m: layer(m).kernel, (1, 0))
    return [
        kernel,
        *([TensorMapping(f"{name}.bias", (outputs,), lambda m: layer(m).bias)] if bias else []),
    ]
