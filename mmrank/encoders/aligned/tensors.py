"""Where a file of CLIP or SigLIP has the weights of the towers, checked and copied by name."""

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

# What both towers, or none, have a use for: the loss's scale, and numbers from 0 upward.
_SET_ASIDE = ("logit_scale", "logit_bias")
_NUMBERED = "embeddings.position_ids"
_SHOWN = 5
_Found = Callable[[tf.keras.Model], Any]  # a layer or variable of a tower


@dataclasses.dataclass(frozen=True)
class Place:
    """One variable of a tower, and where the file has it.

    Attributes:
      name: Of the file's tensor.
      shape: Of it.
      variable: Finds the variable in the tower.
      turned: The order of the tensor's axes in the variable; None for its own.
      part: Which third of the tensor's rows it is; None for all.
    """

    name: str
    shape: tuple[int, ...]
    variable: _Found
    turned: tuple[int, ...] | None = None
    part: int | None = None


def photo_places(shape: PhotoShape) -> list[Place]:
    """Every variable of an image tower."""
    stack, clip, at = shape.stack, shape.kind == CLIP, "vision_model"
    hidden = stack.hidden
    patch = (hidden, 3, shape.patch, shape.patch)
    embeddings = f"{at}.embeddings"

    places = [
        Place(
            f"{embeddings}.patch_embedding.weight",
            patch,
            lambda m: _layer("patches")(m).kernel,
            (2, 3, 1, 0),
        ),
        Place(
            f"{embeddings}.position_embedding.weight",
            (shape.patches + int(clip), hidden),
            lambda m: _layer("patch_tokens")(m).positions,
        ),
        *_blocks(stack, at),
        *_norm(hidden, f"{at}.post_layernorm", _layer("last_norm")),
    ]
    if clip:
        return [
            *places,
            Place(
                f"{embeddings}.class_embedding",
                (hidden,),
                lambda m: _layer("patch_tokens")(m).first,
            ),
            # Misspelt so in every file.
            *_norm(hidden, f"{at}.pre_layrnorm", _layer("first_norm")),
            *_dense("visual_projection", hidden, shape.width, _layer("projection"), bias=False),
        ]
    pool, attention = _layer("pooling"), f"{at}.head.attention"
    for part, name in enumerate(("_query_dense", "_key_dense", "_value_dense")):
        places += [
            Place(
                f"{attention}.in_proj_weight",
                (3 * hidden, hidden),
                _part(pool, "attention", name, "kernel"),
                (1, 0),
                part,
            ),
            Place(
                f"{attention}.in_proj_bias",
                (3 * hidden,),
                _part(pool, "attention", name, "bias"),
                part=part,
            ),
        ]
    return [
        *places,
        Place(f"{embeddings}.patch_embedding.bias", (hidden,), lambda m: _layer("patches")(m).bias),
        Place(f"{at}.head.probe", (1, 1, hidden), lambda m: pool(m).query),
        *_dense(f"{attention}.out_proj", hidden, hidden, lambda m: pool(m).attention._output_dense),
        *_norm(hidden, f"{at}.head.layernorm", lambda m: pool(m).norm),
        *_dense(f"{at}.head.mlp.fc1", hidden, stack.intermediate, lambda m: pool(m).between),
        *_dense(f"{at}.head.mlp.fc2", stack.intermediate, hidden, lambda m: pool(m).last),
    ]


def text_places(shape: TextShape) -> list[Place]:
    """Every variable of a text tower."""
    stack, clip, at = shape.stack, shape.kind == CLIP, "text_model"
    hidden = stack.hidden
    head = "text_projection" if clip else f"{at}.head"
    return [
        Place(
            f"{at}.embeddings.token_embedding.weight",
            (shape.vocabulary_size, hidden),
            lambda m: m.get_layer("embeddings").token_embedding.embeddings,
        ),
        Place(
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
) -> tuple[list[Place], list[Place]]:
    """The places of image tower and text tower, if the file has just these tensors.

    Nothing of a config's sizes is allocated before they are those of the file.

    Args:
      state: Tensors by name.
      photo, text: The architectures.

    Raises:
      InputError: Tensors are missing, left over or of other shapes; the first are named.
    """
    for part, stack in (("vision", photo.stack), ("text", text.stack)):
        if stack.layers > len(state):
            raise InputError(
                f"{part}_config.num_hidden_layers is {stack.layers}, of {len(state)} tensors"
            )
    places = photo_places(photo), text_places(text)
    wanted = {p.name: p.shape for p in (*places[0], *places[1])}
    wrong = [f"{n} is missing" for n in wanted if n not in state]
    wrong += [
        f"{n} has the shape {list(state[n].shape)}, not {list(shape)}"
        for n, shape in wanted.items()
        if n in state and state[n].shape != shape
    ]
    wrong += [f"{n} has no place in it" for n in state if n not in wanted and not _aside(n)]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise InputError(f"does not fit config.json: {'; '.join(wrong[:_SHOWN])}{more}")
    return places


def copy_weights(
    model: tf.keras.Model, state: Mapping[str, np.ndarray], places: Iterable[Place]
) -> None:
    """Gives a tower the weights of a file that `check` let pass."""
    for place in places:
        values = state[place.name]
        if place.part is not None:
            values = np.split(values, 3)[place.part]
        if place.turned is not None:
            values = values.transpose(place.turned)
        variable = place.variable(model)
        # Heads are an axis of their own in Keras, and a run of rows or columns in the file.
        variable.assign(values.reshape(variable.shape))


def _layer(name: str) -> _Found:
    """Finds a layer by its name."""
    return lambda model: model.get_layer(name)


def _part(start: _Found, *names: str) -> _Found:
    """Finds what is reached from what `start` finds, attribute by attribute."""
    return lambda model: functools.reduce(getattr, names, start(model))


def _aside(name: str) -> bool:
    return name in _SET_ASIDE or name.endswith(_NUMBERED)


def _blocks(stack: Stack, at: str) -> list[Place]:
    hidden, places = stack.hidden, []
    for i in range(stack.layers):
        own = f"{at}.encoder.layers.{i}"
        block = _layer(block_name(i))
        for theirs, ours in (("q", "query"), ("k", "key"), ("v", "value"), ("out", "output")):
            dense = _part(block, "attention", f"_{ours}_dense")
            places += _dense(f"{own}.self_attn.{theirs}_proj", hidden, hidden, dense)
        places += _norm(hidden, f"{own}.layer_norm1", _part(block, "attention_norm"))
        places += _norm(hidden, f"{own}.layer_norm2", _part(block, "dense_norm"))
        places += _dense(f"{own}.mlp.fc1", hidden, stack.intermediate, _part(block, "between"))
        places += _dense(f"{own}.mlp.fc2", stack.intermediate, hidden, _part(block, "last"))
    return places


def _norm(width: int, name: str, layer: _Found) -> list[Place]:
    return [
        Place(f"{name}.weight", (width,), lambda m: layer(m).gamma),
        Place(f"{name}.bias", (width,), lambda m: layer(m).beta),
    ]


def _dense(
    name: str,
    inputs: int,
    outputs: int,
    layer: _Found,
    bias: bool = True,
) -> list[Place]:
    kernel = Place(f"{name}.weight", (outputs, inputs), lambda m: layer(m).kernel, (1, 0))
    return [kernel, *([Place(f"{name}.bias", (outputs,), lambda m: layer(m).bias)] if bias else [])]
