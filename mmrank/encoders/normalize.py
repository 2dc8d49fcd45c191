"""Normalises texts in the graph, so that training and an export read the same characters.

Users and merchants type one word in many ways: `ＩＰＨＯＮＥ　１５` on a Chinese keyboard is
`iphone 15`, and pasted titles contain zero-width and control characters.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_text

from mmrank.encoders.portable import unicode
from mmrank.encoders.portable.later import PATTERN

FORMS = ("NFC", "NFD", "NFKC", "NFKD")
STOP_WORDS = {
    # The list of Lucene's EnglishAnalyzer except "no" and "not", which invert the meaning.
    "english": tuple(
        "a an and are as at be but by for if in into is it of on or such that the their then there "
        "these they this to was will with".split()
    ),
    # Particles and question phrases. Chinese has no spaces, so these are removed wherever their
    # characters occur. 和, 地 and 吧 are unsafe: they are parts of 和服, 地毯 and 酒吧.
    "chinese": tuple("的 吗 呢 啊 嘛 请问 以及 或者 并且 而且 因为 所以 但是".split()),
}

_IDEOGRAMS = r"\p{Han}\p{Hiragana}\p{Katakana}"
# Control characters are removed by then, so this one can mark where words end.
_EDGE = "\x00"


@dataclasses.dataclass(frozen=True)
class Normalizer:
    """Normalises the spelling of texts of any shape, in TensorFlow ops.

    The steps, in this order:
    1. Bytes that are not UTF-8 become U+FFFD. So do the few characters that only a Unicode version
       later than 12.1 normalises differently, so that every version of TF-Text gives one result.
    2. The Unicode form: NFKC makes full-width letters, digits and spaces half-width, and
       half-width katakana full-width.
    3. Case folding.
    4. Format characters, such as zero-width spaces, are removed.
    5. Runs of white space and control characters become one space, and none at the ends.
    6. Stop words are removed, unless nothing would remain.

    Attributes:
      form: One of `FORMS`, or the empty text to leave characters unchanged.
      fold_case: Whether upper and lower case become one; it also implies NFKC.
      stop_words: Words to remove, in any case, and names of `STOP_WORDS` for their words. A word
        with a Chinese or Japanese character is removed wherever it occurs, any other word only
        where it is a whole word.
      own_ops: Whether to do without the ops of TF-Text, which some servers lack.

    Source: Unicode Standard Annex 15 (normalisation forms).

    Example:
      >>> import tensorflow as tf
      >>> normalize = Normalizer("NFKC", fold_case=True, own_ops=True)
      >>> texts = normalize(tf.constant(["ＩＰＨＯＮＥ　１５", "  Red  Dress"]))
      >>> [text.decode() for text in texts.numpy()]
      ['iphone 15', 'red dress']
    """

    form: str = "NFKC"
    fold_case: bool = False
    stop_words: Sequence[str] = ()
    own_ops: bool = False

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
        texts = tf.strings.regex_replace(texts, PATTERN, "\ufffd")
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
        # Longest first: an alternation takes the first alternative that matches.
        words.sort(key=len, reverse=True)
        left = texts
        spaced = [w for w in words if not _has_ideogram(w)]
        if spaced:
            # Every word and every run between words gets its own edges: neighbours share none.
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
    """Returns the word as a pattern of RE2."""
    return re.sub(r"([^\w\s])", r"\\\1", word)
