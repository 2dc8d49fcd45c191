"""Small CLIP and SigLIP folders with random weights, in the format of their library."""

from __future__ import annotations

import dataclasses
import io
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import sentencepiece

SIZE, PATCH, LAYERS, POSITIONS = 32, 8, 2, 12
PHOTO, TEXT, PROJECTION = 16, 12, 10  # widths
PHOTO_HEADS, TEXT_HEADS = 4, 3
PIECES = 36  # of SigLIP
MERGES = """t h|th e</w>|d r|r e|re d</w>|l l|h e|he ll|hell o</w>|e s|es s</w>|dr ess</w>|a a|aa aa
|' s</w>|n o|o w</w>|1 2|Ã ©</w>|ç º|çº ¢|i n|in g</w>""".replace("\n", "").split("|")


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """A vocabulary built as CLIP's is: bytes, bytes that end a word, merges, two special pieces."""

    letters: dict[int, str]
    pieces: dict[str, int]
    merges: list[tuple[str, str]]


def vocabulary() -> Vocabulary:
    printing = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printing]
    letters = {b: chr(b) for b in printing} | {b: chr(256 + i) for i, b in enumerate(others)}
    merges = [(a, b) for a, b in (merge.split(" ") for merge in MERGES)]
    order = [*letters.values(), *(letter + "</w>" for letter in letters.values())]
    order += [a + b for a, b in merges] + ["<|startoftext|>", "<|endoftext|>"]
    return Vocabulary(letters, {piece: i for i, piece in enumerate(order)}, merges)


def block_shapes(at: str, width: int, layers: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(layers):
        own = f"{at}.encoder.layers.{i}"
        for part, out, inputs in (
            ("self_attn.q_proj", width, width),
            ("self_attn.k_proj", width, width),
            ("self_attn.v_proj", width, width),
            ("self_attn.out_proj", width, width),
            ("mlp.fc1", 2 * width, width),
            ("mlp.fc2", width, 2 * width),
        ):
            shapes |= {f"{own}.{part}.weight": (out, inputs), f"{own}.{part}.bias": (out,)}
        for part in ("layer_norm1", "layer_norm2"):
            shapes |= {f"{own}.{part}.weight": (width,), f"{own}.{part}.bias": (width,)}
    return shapes


def norm_shapes(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def clip_shapes(words: int, layers: int) -> dict[str, tuple[int, ...]]:
    photo = "vision_model.embeddings"
    return {
        "text_model.embeddings.token_embedding.weight": (words, TEXT),
        "text_model.embeddings.position_embedding.weight": (POSITIONS, TEXT),
        "text_model.embeddings.position_ids": (1, POSITIONS),  # as in older files
        **block_shapes("text_model", TEXT, layers),
        **norm_shapes("text_model.final_layer_norm", TEXT),
        "text_projection.weight": (PROJECTION, TEXT),
        f"{photo}.class_embedding": (PHOTO,),
        f"{photo}.patch_embedding.weight": (PHOTO, 3, PATCH, PATCH),
        f"{photo}.position_embedding.weight": ((SIZE // PATCH) ** 2 + 1, PHOTO),
        **norm_shapes("vision_model.pre_layrnorm", PHOTO),
        **block_shapes("vision_model", PHOTO, layers),
        **norm_shapes("vision_model.post_layernorm", PHOTO),
        "visual_projection.weight": (PROJECTION, PHOTO),
        "logit_scale": (),
    }


def siglip_shapes(words: int, layers: int) -> dict[str, tuple[int, ...]]:
    photo, head = "vision_model.embeddings", "vision_model.head"
    return {
        "text_model.embeddings.token_embedding.weight": (words, TEXT),
        "text_model.embeddings.position_embedding.weight": (POSITIONS, TEXT),
        **block_shapes("text_model", TEXT, layers),
        **norm_shapes("text_model.final_layer_norm", TEXT),
        "text_model.head.weight": (PHOTO, TEXT),
        "text_model.head.bias": (PHOTO,),
        f"{photo}.patch_embedding.weight": (PHOTO, 3, PATCH, PATCH),
        f"{photo}.patch_embedding.bias": (PHOTO,),
        f"{photo}.position_embedding.weight": ((SIZE // PATCH) ** 2, PHOTO),
        **block_shapes("vision_model", PHOTO, layers),
        **norm_shapes("vision_model.post_layernorm", PHOTO),
        f"{head}.probe": (1, 1, PHOTO),
        f"{head}.attention.in_proj_weight": (3 * PHOTO, PHOTO),
        f"{head}.attention.in_proj_bias": (3 * PHOTO,),
        f"{head}.attention.out_proj.weight": (PHOTO, PHOTO),
        f"{head}.attention.out_proj.bias": (PHOTO,),
        **norm_shapes(f"{head}.layernorm", PHOTO),
        f"{head}.mlp.fc1.weight": (2 * PHOTO, PHOTO),
        f"{head}.mlp.fc1.bias": (2 * PHOTO,),
        f"{head}.mlp.fc2.weight": (PHOTO, 2 * PHOTO),
        f"{head}.mlp.fc2.bias": (PHOTO,),
        "logit_scale": (1,),
        "logit_bias": (1,),
    }


def spread(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {n: random.normal(0, 0.4, s).astype(np.float32) for n, s in shapes.items()}


def pieces_model() -> bytes:
    """A SentencePiece model with padding, end and unknown pieces in SigLIP's order."""
    made = io.BytesIO()
    texts = ["red summer dress", "a photo of a blue dress", "quick brown fox jumps over lazy dogs"]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts * 5),
        model_writer=made,
        vocab_size=PIECES,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        character_coverage=1.0,
        minloglevel=2,
    )
    return made.getvalue()


def sizes(width: int, heads: int, layers: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }


def write_folder(
    path: pathlib.Path,
    kind: str,
    *,
    text: dict[str, Any] | None = None,
    vision: dict[str, Any] | None = None,
    whole: dict[str, Any] | None = None,
    photos: dict[str, Any] | None = None,
    drop: tuple[str, ...] = (),
    seed: int = 0,
    layers: int = LAYERS,
) -> pathlib.Path:
    path.mkdir(parents=True)
    if kind == "clip":
        known = vocabulary()
        words = len(known.pieces)
        (path / "vocab.json").write_text(json.dumps(known.pieces), encoding="utf-8")
        lines = "#version: 0.2\n" + "\n".join(MERGES) + "\n"
        (path / "merges.txt").write_text(lines, encoding="utf-8")
        shapes, more = clip_shapes(words, layers), {"projection_dim": PROJECTION}
        seen = {"size": {"shortest_edge": SIZE}, "do_center_crop": True, "crop_size": SIZE}
        seen |= {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}
    else:
        words = PIECES
        (path / "spiece.model").write_bytes(pieces_model())
        shapes, more = siglip_shapes(words, layers), {}
        seen = {"size": {"height": SIZE, "width": SIZE}, "rescale_factor": 1 / 255}
        seen |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    of_text = {"vocab_size": words, "max_position_embeddings": POSITIONS}
    of_text |= sizes(TEXT, TEXT_HEADS, layers) | (text or {})
    of_photo = {"image_size": SIZE, "patch_size": PATCH} | sizes(PHOTO, PHOTO_HEADS, layers)
    if kind == "siglip":
        of_text.setdefault("projection_size", PHOTO)
    config = {
        "model_type": kind,
        "text_config": of_text,
        "vision_config": of_photo | (vision or {}),
    }
    config |= more | (whole or {})
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    seen |= {"resample": 3, "do_resize": True} | (photos or {})
    (path / "preprocessor_config.json").write_text(json.dumps(seen), encoding="utf-8")
    weights = spread(shapes, seed)
    kept = {n: v for n, v in weights.items() if n not in drop}
    safetensors.numpy.save_file(kept, path / "model.safetensors")
    return path


@pytest.fixture(scope="session")
def folder_of() -> Callable[..., pathlib.Path]:
    """`folder_of(path, kind, **changes)` writes a folder and returns it."""
    return write_folder


@pytest.fixture(scope="session")
def clip_words() -> Vocabulary:
    return vocabulary()
