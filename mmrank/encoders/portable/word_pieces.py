"""WordPiece tokens with the results of keras_nlp's tokenizer, by TensorFlow's own ops."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from keras_nlp.src.tokenizers.word_piece_tokenizer import (
    CJK_REGEX,
    PUNCTUATION_AND_CJK_REGEX,
    PUNCTUATION_REGEX,
    WHITESPACE_REGEX,
)

from mmrank.encoders.portable.unicode import case_fold_utf8, normalize_utf8

SUFFIX = "##"
MOST_BYTES = 100  # of a word; a longer word is unknown, as in TF-Text


class PortableWordPieces:
    """Token ids [N, T] int32 of normalised texts [N], padded with 0.

    The results equal those of a `keras_nlp.tokenizers.WordPieceTokenizer` that lowercases, strips
    accents and splits Chinese characters: the longest piece of the vocabulary first, from left to
    right, and one unknown token for a word that cannot be split into pieces.

    Args:
      vocabulary: The pieces by id; pieces inside a word begin with ##.
      max_tokens: T.
      unknown: The piece of unknown words.
      fold_case, strip_accents, split_cjk: Whether case is folded, accents are removed, and each
        Chinese character is a word.

    Source: Devlin et al. 2019, "BERT", section 3; Song et al. 2021, "Fast WordPiece Tokenization",
      algorithm 1's specification.

    Example:
      >>> import tensorflow as tf
      >>> pieces = PortableWordPieces(["[PAD]", "[UNK]", "red", "dress", "##es"], 4, "[UNK]")
      >>> pieces(tf.constant(["Red dresses", "mug"])).numpy().tolist()
      [[2, 3, 4, 0], [1, 0, 0, 0]]
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        max_tokens: int,
        unknown: str,
        fold_case: bool = True,
        strip_accents: bool = True,
        split_cjk: bool = True,
    ):
        self._max_tokens, self._fold_case = max_tokens, fold_case
        self._strip_accents, self._split_cjk = strip_accents, split_cjk
        self._unknown = list(vocabulary).index(unknown)
        self._longest = max(len(piece.removeprefix(SUFFIX)) for piece in vocabulary)
        ids = tf.range(len(vocabulary))
        initial = tf.lookup.KeyValueTensorInitializer(tf.constant(list(vocabulary)), ids)
        self.lookup_table = tf.lookup.StaticHashTable(initial, default_value=-1)

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        return self.ragged(texts).to_tensor(0, shape=[None, self._max_tokens])

    def ragged(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Returns token ids [N, tokens] int32 of the first T words, perhaps more than T ids."""
        words = self._words(texts)
        # Words repeat, so each distinct word is processed once.
        distinct, index = tf.unique(words.flat_values)
        folded = case_fold_utf8(distinct) if self._fold_case else distinct
        words = words.with_flat_values(tf.gather(folded, index))
        words = tf.ragged.boolean_mask(words, words != "")[:, : self._max_tokens]
        distinct, index = tf.unique(words.flat_values)
        pieces = tf.gather(self._pieces(distinct), index)
        there = pieces >= 0
        rows = tf.repeat(words.value_rowids(), tf.reduce_sum(tf.cast(there, tf.int32), 1))
        return tf.RaggedTensor.from_value_rowids(
            tf.boolean_mask(pieces, there), rows, nrows=words.nrows(), validate=False
        )

    def _pieces(self, words: tf.Tensor) -> tf.Tensor:
        """Returns the pieces of words [W, S] int32, padded with −1."""
        whole = self.lookup_table.lookup(words)
        fits = tf.strings.length(words) <= MOST_BYTES
        rows = tf.where(fits & (whole < 0))
        split = tf.cond(
            tf.size(rows) > 0,
            lambda: self._split(tf.gather_nd(words, rows)),
            lambda: tf.zeros([0, 1], tf.int32),
        )
        first = tf.where(fits, whole, self._unknown)[:, None]
        pieces = tf.pad(first, [[0, 0], [0, tf.shape(split)[1] - 1]], constant_values=-1)
        return tf.tensor_scatter_nd_update(pieces, rows, split)

    def _split(self, words: tf.Tensor) -> tf.Tensor:
        """Returns the pieces of words that are not in the vocabulary, [W, S]."""
        count = tf.size(words)
        lengths = tf.range(1, self._longest + 1)

        def step(
            number: tf.Tensor, left: tf.Tensor, known: tf.Tensor, found: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.TensorArray]:
            rows = tf.where(known & (left != ""))
            rest = tf.gather_nd(left, rows)
            shape = [tf.size(rest), self._longest]
            starts = tf.strings.substr(
                tf.broadcast_to(rest[:, None], shape),
                tf.zeros(shape, tf.int32),
                tf.broadcast_to(lengths, shape),
                unit="UTF8_CHAR",
            )
            keys = tf.cond(number > 0, lambda: tf.strings.join([SUFFIX, starts]), lambda: starts)
            ids = self.lookup_table.lookup(keys)
            longest = tf.reduce_max(tf.where(ids >= 0, lengths, 0), 1)
            piece = tf.gather(ids, tf.maximum(longest - 1, 0), batch_dims=1)
            past = tf.minimum(longest, tf.strings.length(rest, unit="UTF8_CHAR"))
            everything = tf.fill(tf.shape(past), MOST_BYTES)
            rest = tf.strings.substr(rest, past, everything, unit="UTF8_CHAR")
            nothing = tf.fill([count], -1)
            found = found.write(number, tf.tensor_scatter_nd_update(nothing, rows, piece))
            left = tf.tensor_scatter_nd_update(left, rows, rest)
            known = tf.tensor_scatter_nd_update(known, rows, longest > 0)
            return number + 1, left, known, found

        none = tf.TensorArray(tf.int32, 0, dynamic_size=True, element_shape=[None])
        _, _, known, found = tf.while_loop(
            lambda _, left, known, __: tf.reduce_any(known & (left != "")),
            step,
            (tf.constant(0), words, tf.ones_like(words, tf.bool), none),
        )
        pieces = tf.transpose(found.stack())
        unknown = tf.where(tf.range(tf.shape(pieces)[1]) == 0, self._unknown, -1)
        return tf.where(known[:, None], pieces, unknown)

    def _words(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Returns words of texts [N, words]; punctuation and Chinese characters are words too."""
        marks = PUNCTUATION_REGEX
        if self._split_cjk:
            texts = tf.strings.regex_replace(texts, CJK_REGEX, r" \0 ")
            marks = PUNCTUATION_AND_CJK_REGEX
        if self._strip_accents:
            texts = tf.strings.regex_replace(normalize_utf8(texts, "NFD"), r"\p{Mn}", "")
        texts = tf.strings.regex_replace(texts, marks, r" \0 ")
        texts = tf.strings.regex_replace(texts, WHITESPACE_REGEX, " ")
        words = tf.strings.split(texts, " ")
        return tf.ragged.boolean_mask(words, words != "")
