"""Texts normalised in the graph, so that training and an export read the same characters.

Shoppers and shops type one word in many ways: `ＩＰＨＯＮＥ　１５` on a Chinese keyboard is
`iphone 15`, pasted titles carry zero-width and control characters.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_text

from mmrank.encoders.portable import unicode

FORMS = ("NFC", "NFD", "NFKC", "NFKD")
STOP_WORDS = {
    # The list of Lucene's EnglishAnalyzer but for "no" and "not", which turn a wish around.
    "english": tuple(
        "a an and are as at be but by for if in into is it of on or such that the their then there "
        "these they this to was will with".split()
    ),
    # Particles and phrases of questions. Chinese has no spaces, so that words are removed wherever
    # their characters stand: 和, 地 and 吧, parts of 和服, 地毯 and 酒吧, are no safe stop words.
    "chinese": tuple("的 吗 呢 啊 嘛 请问 以及 或者 并且 而且 因为 所以 但是".split()),
}

_IDEOGRAMS = r"\p{Han}\p{Hiragana}\p{Katakana}"
# Control characters are gone by then, so that this one can mark where words end.
_EDGE = "\x00"


@dataclasses.dataclass(frozen=True)
class Normalizer:
    """Texts of one spelling, from texts of any shape, in TensorFlow ops.

    In this order: the Unicode form (NFKC makes full-width letters, digits and spaces half-width,
    and half-width katakana full-width); case folding; format characters, such as zero-width spaces,
    removed; runs of white space and control characters become one space, none at the ends; stop
    words removed, unless nothing would remain. Bytes that are no UTF-8 become U+FFFD.

    Attributes:
      form: One of `FORMS`, or the empty text to leave characters as they are.
      fold_case: Whether upper and lower case become one; it also implies NFKC.
      stop_words: Words to remove, whatever their case, and names of `STOP_WORDS` for their words.
        One with a Chinese or Japanese character is removed wherever it stands, any other where
        it is a whole word.
      own_ops: Whether to do without the ops of TF-Text, which some servers lack.

    Source: Unicode Standard Annex 15 (normalisation forms).
    """

    form: str = "NFKC"
    fold_case: bool = False
    stop_words: Sequence[str] = ()
    own_ops: bool = False

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
        ops = unicode if self.own_ops else tensorflow_text
        if self.form:
            texts = ops.normalize_utf8(texts, self.form)
        if self.fold_case:
            texts = ops.case_fold_utf8(texts)
        texts = tf.strings.regex_replace(texts, r"\p{Cf}+", "")
        texts = _single_spaced(texts)
        return self._without_stop_words(texts) if self.stop_words else texts

    def _without_stop_words(self, texts: tf.Tensor) -> tf.Tensor:
        words = [w for name in self.stop_words for w in STOP_WORDS.get(name, (name,))]
        # The longest first: an alternation takes the first that fits.
        words.sort(key=len, reverse=True)
        left = texts
        spaced = [w for w in words if not _has_ideogram(w)]
        if spaced:
            # Every word and every run between words gets edges of its own: neighbours share none.
            between = rf"([^\pL\pN\pM'’&+\-]+|[{_IDEOGRAMS}]+)"
            left = tf.strings.regex_replace(left, between, rf"{_EDGE}\1{_EDGE}")
            left = tf.strings.join([_EDGE, left, _EDGE])
            found = f"(?i){_EDGE}(?:{'|'.join(map(_escaped, spaced))}){_EDGE}"
            left = tf.strings.regex_replace(left, found, _EDGE + _EDGE)
            left = tf.strings.regex_replace(left, _EDGE, "")
        inside = [w for w in words if _has_ideogram(w)]
        if inside:
            left = tf.strings.regex_replace(left, "(?i)" + "|".join(map(_escaped, inside)), "")
        left = _single_spaced(left)
        return tf.where(left == "", texts, left)


def _single_spaced(texts: tf.Tensor) -> tf.Tensor:
    return tf.strings.strip(tf.strings.regex_replace(texts, r"[\s\pZ\p{Cc}]+", " "))


def _has_ideogram(word: str) -> bool:
    return (
        re.search("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]", word)
        is not None
    )


def _escaped(word: str) -> str:
    """The word as a pattern of RE2."""
    return re.sub(r"([^\w\s])", r"\\\1", word)
