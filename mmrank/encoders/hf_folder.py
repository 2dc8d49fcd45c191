"""Reads a Hugging Face folder of a BERT or XLM-R: sizes, tokenizer, pooling, weights.

Only JSON, text and safetensors are read. Weights in a pickle are refused, because reading a pickle
runs any code that it holds.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmrank.encoders.hf_pieces import piece_words
from mmrank.encoders.piece_tokens import PieceWords
from mmrank.encoders.shape_bounds import check_sizes
from mmrank.outputs import InputError, install_command
from mmrank.schema import did_you_mean

DEFAULT_MAX_TOKENS = 128
# By model_type: the optional prefix of the tensors' names, and whether positions are counted from
# after the id of padding, as in fairseq.
PREFIXES = {"bert": "bert.", "xlm-roberta": "roberta."}
FAIRSEQ = frozenset({"xlm-roberta"})
POOLINGS = ("mean", "cls", "max")
# Names of the activation in config.json, and whether each is the tanh approximation of GELU.
GELUS = {
    "gelu": False,
    "gelu_python": False,
    "gelu_new": True,
    "gelu_fast": True,
    "gelu_pytorch_tanh": True,
}
_SHAPE_KEYS = {
    "vocab_size": "vocabulary_size",
    "hidden_size": "hidden",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "intermediate_size": "intermediate",
    "max_position_embeddings": "positions",
}


@dataclasses.dataclass(frozen=True)
class BertShape:
    """The architecture of a BERT.

    Attributes:
      vocabulary_size, hidden, layers, heads, intermediate, positions, segments: Sizes; positions
        counts only those that a token can have.
      epsilon: Epsilon of layer normalisation.
      tanh_gelu: Whether GELU is the tanh approximation; otherwise it uses the error function.
      position_offset: The first row of the file's position table that is a position.
    """

    vocabulary_size: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    positions: int
    segments: int = 2
    epsilon: float = 1e-12
    tanh_gelu: bool = False
    position_offset: int = 0


@dataclasses.dataclass(frozen=True)
class BertWords:
    """How a BERT tokenizes texts.

    Attributes:
      vocabulary: The word pieces; a piece's index is its id.
      lowercase: Whether texts are converted to lower case first.
      strip_accents: Whether accents are removed.
      split_cjk: Whether every Chinese character is a word.
      unknown, start, end, padding: The special pieces.
    """

    vocabulary: tuple[str, ...]
    lowercase: bool = True
    strip_accents: bool = True
    split_cjk: bool = True
    unknown: str = "[UNK]"
    start: str = "[CLS]"
    end: str = "[SEP]"
    padding: str = "[PAD]"


@dataclasses.dataclass(frozen=True)
class BertFolder:
    """A folder as read, without its weights.

    Attributes:
      path: The folder.
      shape, words: The architecture and the tokenizer.
      pooling: `mean`, `cls` or `max`, from the folder; mean by default.
      normalize: Whether the folder scales embeddings to length 1.
      max_tokens: Maximum number of tokens of a text, including start and end.
    """

    path: pathlib.Path
    shape: BertShape
    words: BertWords | PieceWords
    pooling: str
    normalize: bool
    max_tokens: int


def read_folder(path: pathlib.Path) -> BertFolder:
    """Returns the architecture, tokenizer and pooling of a folder.

    Args:
      path: The folder, with config.json, a vocabulary (vocab.txt, sentencepiece.bpe.model, or
        tokenizer.json with a unigram model) and model.safetensors. The files of
        sentence-transformers and tokenizer_config.json are read if they exist.

    Raises:
      InputError: A file is missing or wrong, or the model is neither a plain BERT nor an XLM-R.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such folder")
    shape = _shape(path)
    words: BertWords | PieceWords
    if (path / "vocab.txt").is_file():
        file, words = path / "vocab.txt", _words(path)
        size = len(words.vocabulary)
    else:
        file, words = piece_words(path)
        size = words.size + words.offset
    if size > shape.vocabulary_size:
        raise InputError(
            f"{file}: {size} word pieces, but config.json has "
            f"vocab_size {shape.vocabulary_size}; the two files are of different models"
        )
    sentence = _json(path / "sentence_bert_config.json", {})
    if sentence.get("do_lower_case"):
        words = dataclasses.replace(words, lowercase=True)
    longest = int(sentence.get("max_seq_length") or DEFAULT_MAX_TOKENS)
    pooling, normalize = _sentence_modules(path)
    _check_weights_file(path)
    return BertFolder(path, shape, words, pooling, normalize, min(longest, shape.positions))


def read_weights(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns all tensors of the folder's model.safetensors as float32, without the type's prefix.

    Raises:
      InputError: The file or the package that reads it is missing, or the file is damaged.
    """
    _check_weights_file(path)
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise InputError(
            f"reading model.safetensors needs a package: {install_command('pretrained')}"
        ) from error
    file = path / "model.safetensors"
    try:
        tensors = safetensors.numpy.load_file(file)
    except (safetensors.SafetensorError, KeyError, TypeError) as error:
        raise InputError(f"{file}: not a safetensors file that NumPy can read: {error}") from error
    prefix = PREFIXES[_model_type(path)]
    read: dict[str, np.ndarray] = {}
    for name, values in tensors.items():
        plain = name.removeprefix(prefix)
        if plain in read:
            raise InputError(
                f"{file}: holds {plain!r} twice, with and without the prefix {prefix!r}"
            )
        read[plain] = values if values.dtype.kind in "iub" else values.astype(np.float32)
    return read


def _check_weights_file(path: pathlib.Path) -> None:
    if (path / "model.safetensors").is_file():
        return
    if (path / "model.safetensors.index.json").is_file():
        raise InputError(f"{path}: its weights are in several files; save them as one")
    pickled = path / "pytorch_model.bin"
    if pickled.is_file():
        raise InputError(
            f"{pickled}: weights as a pickle are not read, since a pickle can run any code; if "
            "you trust it, convert it: model.save_pretrained(DIR, safe_serialization=True)"
        )
    raise InputError(f"{path}: no model.safetensors, the file with the weights")


def _model_type(path: pathlib.Path) -> str:
    kind = str(_json(path / "config.json").get("model_type", "bert"))
    if kind not in PREFIXES:
        raise InputError(
            f"{path / 'config.json'}: model_type is {kind!r}; known: {', '.join(PREFIXES)}, since "
            "other models differ in positions or layers"
        )
    return kind


def _shape(path: pathlib.Path) -> BertShape:
    file = path / "config.json"
    config, kind = _json(file), _model_type(path)
    positions = config.get("position_embedding_type", "absolute")
    if positions != "absolute":
        raise InputError(
            f"{file}: position_embedding_type is {positions!r}; only 'absolute' is supported"
        )
    activation = config.get("hidden_act", "gelu")
    if activation not in GELUS:
        raise InputError(
            f"{file}: hidden_act is {activation!r}{did_you_mean(str(activation), GELUS)}; "
            f"known: {', '.join(GELUS)}"
        )
    missing = [key for key in _SHAPE_KEYS if not isinstance(config.get(key), int)]
    if missing:
        raise InputError(f"{file}: no whole number for {', '.join(missing)}")
    sizes = {ours: config[theirs] for theirs, ours in _SHAPE_KEYS.items()}
    check_sizes(file, sizes, path / "model.safetensors")
    offset = int(config.get("pad_token_id", 1)) + 1 if kind in FAIRSEQ else 0
    return BertShape(
        **(sizes | {"positions": sizes["positions"] - offset}),
        position_offset=offset,
        segments=int(config.get("type_vocab_size", 2)),
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
        tanh_gelu=GELUS[activation],
    )


def _words(path: pathlib.Path) -> BertWords:
    file = path / "vocab.txt"
    # Not splitlines(): some vocabularies have Unicode line separators as pieces.
    pieces = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    given = _json(path / "tokenizer_config.json", {})
    lowercase = bool(given.get("do_lower_case", True))
    accents = given.get("strip_accents")
    words = BertWords(
        vocabulary=tuple(pieces),
        lowercase=lowercase,
        strip_accents=lowercase if accents is None else bool(accents),
        split_cjk=bool(given.get("tokenize_chinese_chars", True)),
        unknown=_piece(given, "unk_token", "[UNK]"),
        start=_piece(given, "cls_token", "[CLS]"),
        end=_piece(given, "sep_token", "[SEP]"),
        padding=_piece(given, "pad_token", "[PAD]"),
    )
    for piece in (words.unknown, words.start, words.end, words.padding):
        if piece not in words.vocabulary:
            raise InputError(f"{file}: lacks the special piece {piece!r}")
    return words


def _piece(given: Mapping[str, Any], key: str, default: str) -> str:
    """Returns a special piece, which newer files give as a mapping with its content."""
    value = given.get(key, default)
    return str(value["content"] if isinstance(value, Mapping) else value)


def _sentence_modules(path: pathlib.Path) -> tuple[str, bool]:
    """Returns pooling and normalisation from sentence-transformers' files; else mean and False."""
    modules = _json(path / "modules.json", [])
    normalize = any(str(m.get("type", "")).endswith(".Normalize") for m in modules)
    folder = next((m["path"] for m in modules if m.get("type", "").endswith(".Pooling")), None)
    pooling = _json(path / (folder or "1_Pooling") / "config.json", {})
    modes = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens"}
    wanted = [ours for ours, theirs in modes.items() if pooling.get(f"pooling_mode_{theirs}")]
    if len(wanted) > 1:
        raise InputError(
            f"{path}: combines {' and '.join(wanted)} pooling; only one can be imported"
        )
    if pooling and not wanted:
        raise InputError(f"{path}: its pooling is not one of {', '.join(POOLINGS)}")
    return (wanted[0] if wanted else "mean"), normalize


def _json(file: pathlib.Path, default: Any = None) -> Any:
    if not file.is_file():
        if default is None:
            raise InputError(f"{file.parent}: no {file.name}, so not a Hugging Face model folder")
        return default
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file}: not JSON: {error}") from error
