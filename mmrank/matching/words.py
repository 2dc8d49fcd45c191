"""The words of texts, their stems, and the hashes of both as integers; by TensorFlow's own ops."""

from __future__ import annotations

import tensorflow as tf

from mmrank.encoders.normalize import Normalizer

# Hashes are kept as float32 alongside vectors; integers are exact there up to 2**24.
HASHES = 2**24 - 1
NORMALIZER = Normalizer("NFKC", fold_case=True, own_ops=True)

# In this order. Marks preserve the points and slashes of numbers while other punctuation is
# removed; a normalised text cannot contain control characters.
_POINT, _SLASH = "\x01", "\x02"
_SPELLINGS = (
    (r"(\d),(\d\d\d)", r"\1\2"),  # 1,000
    # 3/4" and 6' 2"; NFKC has made two primes of a double one
    (r"(\d)\s?(?:\"|''|′′|”|“)", r"\1 in "),
    (r"(\d)\s?['′’](\s|\d|$)", r"\1 ft \2"),
    # 4x4x8 and 1.2.3, twice, since matches do not overlap
    (r"(\d)[x×](\d)", r"\1 x \2"),
    (r"(\d)[x×](\d)", r"\1 x \2"),
    (r"(\d)(\pL)", r"\1 \2"),  # 500ml
    (r"([\p{Han}\p{Hiragana}\p{Katakana}])", r" \1 "),
    (r"(\d)\.(\d)", rf"\1{_POINT}\2"),
    (r"(\d)\.(\d)", rf"\1{_POINT}\2"),
    (r"(\d)/(\d)", rf"\1{_SLASH}\2"),
    (rf"[^\pL\pM\pN{_POINT}{_SLASH}]+", " "),
    (_POINT, "."),
    (_SLASH, "/"),
)
# Endings that English inflection adds to nouns and verbs; the first four exclude one another. Other
# words sometimes lose a letter, in the same way on both sides.
_ENDINGS = (
    (r"^(\pL{2,})ies$", r"\1y"),
    (r"^(\pL+(?:ss|sh|ch|x|z))es$", r"\1"),
    (r"^(\pL{2,}[^sui\W\d_])s$", r"\1"),
    (r"^(\pL{3,})(?:ing|ed)$", r"\1"),
    (r"^(\pL+)(?:nn|tt|pp|gg|mm|bb|dd)$", None),
    (r"^(\pL{3,})e$", r"\1"),
)
_DOUBLED = "ntpgmbd"


def words_of(texts: tf.Tensor) -> tf.RaggedTensor:
    """The words of texts [N], [N, words] string.

    Case and the Unicode form are folded. Every ideograph is a word; a number and its unit are two
    words (`500ml`); a decimal or a fraction is one word (`3/4`); signs for inches and feet are
    replaced by `in` and `ft` (`42"`).

    Example:
      >>> import tensorflow as tf
      >>> words = words_of(tf.constant(['Red-Dress 500ml, 42" 红裙']))
      >>> [word.decode() for word in words[0].numpy()]
      ['red', 'dress', '500', 'ml', '42', 'in', '红', '裙']
    """
    spelled = NORMALIZER(texts)
    for pattern, rewrite in _SPELLINGS:
        spelled = tf.strings.regex_replace(spelled, pattern, rewrite)
    return tf.strings.split(spelled)


def stems_of(words: tf.RaggedTensor) -> tf.RaggedTensor:
    """The words without the endings of English inflection, of the same shape.

    `cabinets` and `cabinet`, `berries` and `berry`, `fitting`, `fitted` and `fit` have one stem.

    Example:
      >>> import tensorflow as tf
      >>> words = words_of(tf.constant(["cabinets berries fitting fitted fit"]))
      >>> [stem.decode() for stem in stems_of(words)[0].numpy()]
      ['cabinet', 'berry', 'fit', 'fit', 'fit']
    """
    return words.with_flat_values(stemmed(words.flat_values))


def stemmed(words: tf.Tensor) -> tf.Tensor:
    """The words without the endings that `stems_of` removes, of any shape."""
    stems = words
    for pattern, rewrite in _ENDINGS:
        if rewrite is None:
            for letter in _DOUBLED:
                stems = tf.strings.regex_replace(stems, rf"^(\pL+{letter}){letter}$", r"\1")
        else:
            stems = tf.strings.regex_replace(stems, pattern, rewrite)
    return stems


def grams_of(words: tf.RaggedTensor) -> tf.RaggedTensor:
    """Runs of three characters of the words written without spaces, [N, grams] string.

    An underscore is added at both ends, so that a text of two characters has two runs.

    Example:
      >>> import tensorflow as tf
      >>> [gram.decode() for gram in grams_of(words_of(tf.constant(["red"])))[0].numpy()]
      ['_re', 'red', 'ed_']
    """
    joined = tf.strings.join(["_", tf.strings.reduce_join(words, axis=-1), "_"])
    return tf.strings.ngrams(tf.strings.unicode_split(joined, "UTF-8"), 3, separator="")


def phrases_of(words: tf.RaggedTensor, longest: int) -> tf.RaggedTensor:
    """Runs of one to `longest` words, written with spaces, [N, phrases] string.

    Example:
      >>> import tensorflow as tf
      >>> phrases = phrases_of(words_of(tf.constant(["red silk dress"])), longest=2)
      >>> sorted(phrase.decode() for phrase in phrases[0].numpy())
      ['dress', 'red', 'red silk', 'silk', 'silk dress']
    """
    return tf.strings.ngrams(words, list(range(1, longest + 1)), separator=" ")


def hashes(strings: tf.Tensor) -> tf.Tensor:
    """Hashes of strings of any shape: integers from 1 to 2**24 − 1, float32.

    Two words have the same number with a probability of 6e-8.
    """
    return tf.cast(tf.strings.to_hash_bucket_fast(strings, HASHES) + 1, tf.float32)


def hashed_rows(strings: tf.RaggedTensor, width: int) -> tf.Tensor:
    """The first `width` hashes of each row, [N, width] float32, 0 where there are fewer.

    Example:
      >>> import tensorflow as tf
      >>> rows = hashed_rows(words_of(tf.constant(["red dress", "red"])), width=3).numpy()
      >>> rows.shape, bool(rows[0, 0] == rows[1, 0]), rows[1, 1:].tolist()
      ((2, 3), True, [0.0, 0.0])
    """
    numbers = strings.with_flat_values(hashes(strings.flat_values))
    return numbers.to_tensor(0.0, shape=[None, width])
