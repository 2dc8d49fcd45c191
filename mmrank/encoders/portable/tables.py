"""Unicode 12.1's data on characters, as sorted tensors that graphs can search."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_text

from mmrank.encoders.portable import later

# Planes 0 to 3 and 14; no other plane has a character that normalisation changes.
_PLANES = np.r_[0:0xD800, 0xE000:0x40000, 0xE0000:0xE1000]
_CODES = _PLANES[~np.isin(_PLANES, list(later.CODES))]
SHIFT = 21  # bits of a code point
FORMS = {
    "NFC": "NFD",
    "NFD": "NFD",
    "NFKC": "NFKD",
    "NFKD": "NFKD",
}  # the decomposed form of each form


@dataclasses.dataclass(frozen=True)
class Spelling:
    """The replacements of single characters, fully decomposed.

    Attributes:
      codes: Code points that are replaced, ascending [C].
      starts: Where the replacement of each begins in `parts`, [C + 1].
      parts: The code points of all replacements.
    """

    codes: tf.Tensor
    starts: tf.Tensor
    parts: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Composition:
    """How marks are ordered and joined with their base characters.

    Attributes:
      marks: Code points of a combining class above 0, ascending [M].
      classes: Their classes [M].
      pairs: Two code points that are joined to one, `first << 21 | second`, ascending [P].
      whole: The joined code points [P].
      seconds: All second code points of pairs, ascending.
    """

    marks: tf.Tensor
    classes: tf.Tensor
    pairs: tf.Tensor
    whole: tf.Tensor
    seconds: tf.Tensor


def _kept(values: Sequence[int], dtype: tf.DType = tf.int32) -> tf.Tensor:
    """Returns a constant outside any graph: graphs refer to it, so it is held and saved once."""
    with tf.init_scope(), tf.device("/cpu:0"):
        return tf.constant(values, dtype)


def _by_tf_text(step: Callable[[tf.Tensor], tf.Tensor], texts: Sequence[str]) -> list[str]:
    with tf.init_scope():
        return [t.decode() for t in step(tf.constant(texts, tf.string)).numpy()]


def _spelling(step: Callable[[tf.Tensor], tf.Tensor]) -> Spelling:
    texts = [chr(c) for c in _CODES]
    changed = [
        (c, n) for c, t, n in zip(_CODES, texts, _by_tf_text(step, texts), strict=True) if t != n
    ]
    parts = [[ord(p) for p in new] for _, new in changed]
    return Spelling(
        _kept([c for c, _ in changed]),
        _kept([0, *itertools.accumulate(map(len, parts))]),
        _kept([p for new in parts for p in new]),
    )


@functools.cache
def spelling(form: str) -> Spelling:
    """Returns the replacements of characters in a Unicode form, as TF-Text applies it."""
    return _spelling(lambda texts: tensorflow_text.normalize_utf8(texts, FORMS[form]))


@functools.cache
def folding() -> Spelling:
    """Returns the replacements of characters by case folding, as TF-Text folds them."""
    return _spelling(
        lambda texts: tensorflow_text.normalize_utf8(tensorflow_text.case_fold_utf8(texts), "NFD")
    )


@functools.cache
def composition() -> Composition:
    """Returns how characters are ordered and joined, where Python's data and TF-Text agree.

    Source: Unicode Standard Annex 15; the Hangul syllables by section 3.12 of the standard.
    """
    codes = [int(c) for c in _CODES]
    marks = [c for c in codes if unicodedata.combining(chr(c))]
    # A mark of class 1 is sorted before all others; one of class 232 after all of class 1.
    moved = _changed("NFD", [chr(c) + "\u0334" for c in marks])
    moved |= _changed("NFD", ["\u0315" + chr(c) for c in marks])
    marks = [c for c, known in zip(marks, moved, strict=True) if known]
    pairs = {}
    for code in codes:
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            pairs[int(parts[0], 16), int(parts[1], 16)] = code
    for code in range(0xAC00, 0xD7A4):
        leading, rest = divmod(code - 0xAC00, 21 * 28)
        vowel, trailing = divmod(rest, 28)
        if trailing:
            pairs[code - trailing, 0x11A7 + trailing] = code
        else:
            pairs[0x1100 + leading, 0x1161 + vowel] = code
    written = _by_tf_text(
        lambda texts: tensorflow_text.normalize_utf8(texts, "NFC"),
        [chr(first) + chr(second) for first, second in pairs],
    )
    joined = sorted(
        (first << SHIFT | second, code)
        for ((first, second), code), one in zip(pairs.items(), written, strict=True)
        if one == chr(code)
    )
    return Composition(
        _kept(marks),
        _kept([unicodedata.combining(chr(c)) for c in marks]),
        _kept([key for key, _ in joined], tf.int64),
        _kept([code for _, code in joined]),
        _kept(sorted({key & (1 << SHIFT) - 1 for key, _ in joined})),
    )


def _changed(form: str, texts: Sequence[str]) -> np.ndarray:
    """Returns whether a Unicode form changes texts [N]."""
    written = _by_tf_text(lambda t: tensorflow_text.normalize_utf8(t, form), texts)
    return np.array([text != one for text, one in zip(texts, written, strict=True)])
