"""Unicode forms and case folding with TF-Text's results, by TensorFlow's own ops."""

from __future__ import annotations

import tensorflow as tf

from mmrank.encoders.portable.tables import SHIFT, Spelling, composition, folding, spelling

# Marks on one character beyond this number are not joined, so that no client's text takes long.
# Unicode's own limit for streams is 30.
MOST_MARKS = 32
# Runs of white space as Python's `\s` defines it, in the syntax of RE2.
SPACES = r"[\s\p{Z}\x{1c}-\x{1f}\x{85}\v]+"
_ASCII = r"[\x00-\x7f]*"


def normalize_utf8(texts: tf.Tensor, form: str) -> tf.Tensor:
    """Returns texts [N] of valid UTF-8 in a Unicode form: NFC, NFD, NFKC or NFKD.

    Example:
      >>> import tensorflow as tf
      >>> texts = normalize_utf8(tf.constant(["１５ｍｌ", "½"]), "NFKC")
      >>> [text.decode() for text in texts.numpy()]
      ['15ml', '1⁄2']
    """
    return _rewritten(texts, texts, spelling(form), composed=form in ("NFC", "NFKC"))


def case_fold_utf8(texts: tf.Tensor) -> tf.Tensor:
    """Returns texts [N] of valid UTF-8, case-folded, in NFKC, without ignorable characters.

    Example:
      >>> import tensorflow as tf
      >>> [text.decode() for text in case_fold_utf8(tf.constant(["Straße", "RED"])).numpy()]
      ['strasse', 'red']
    """
    return _rewritten(texts, tf.strings.lower(texts), folding(), composed=True)


def _rewritten(
    texts: tf.Tensor, of_ascii: tf.Tensor, written: Spelling, composed: bool
) -> tf.Tensor:
    """Returns texts with characters replaced; `of_ascii` holds the results of ASCII texts."""
    rows = tf.where(~tf.strings.regex_full_match(texts, _ASCII))

    def others() -> tf.Tensor:
        codes = tf.strings.unicode_decode(tf.gather_nd(texts, rows), "UTF-8")
        codes = _ordered(_apart(codes, written))
        if composed:
            codes = _composed(codes)
        return tf.tensor_scatter_nd_update(
            of_ascii, rows, tf.strings.unicode_encode(codes, "UTF-8")
        )

    return tf.cond(tf.size(rows) > 0, others, lambda: of_ascii)


def _indices(keys: tf.Tensor, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the indices of values in ascending keys, and whether each value is a key."""
    at = tf.minimum(tf.searchsorted(keys, values), tf.size(keys) - 1)
    return at, tf.gather(keys, at) == values


def _apart(codes: tf.RaggedTensor, written: Spelling) -> tf.RaggedTensor:
    """Returns code points with each one replaced by its parts."""
    flat = codes.flat_values
    at, found = _indices(written.codes, flat)
    starts = written.starts
    first = tf.where(found, tf.gather(starts, at), 0)
    count = tf.where(found, tf.gather(starts, at + 1) - first, 1)
    # For each part: the character it comes from, and its index among the character's parts.
    source = tf.repeat(tf.range(tf.size(flat)), count)
    number = tf.range(tf.size(source)) - tf.gather(tf.cumsum(count, exclusive=True), source)
    part = tf.gather(written.parts, tf.gather(first, source) + number)
    parts = tf.where(tf.gather(found, source), part, tf.gather(flat, source))
    rows = tf.gather(codes.value_rowids(), source)
    return tf.RaggedTensor.from_value_rowids(parts, rows, nrows=codes.nrows(), validate=False)


def _classes(flat: tf.Tensor) -> tf.Tensor:
    """Returns the combining class of code points."""
    table = composition()
    at, found = _indices(table.marks, flat)
    return tf.where(found, tf.gather(table.classes, at), 0)


def _begins(codes: tf.RaggedTensor) -> tf.Tensor:
    """Returns whether a code point is the first of its text, [codes] bool."""
    rows = codes.value_rowids()
    return tf.concat([tf.ones_like(rows[:1], tf.bool), rows[1:] != rows[:-1]], 0)


def _ordered(codes: tf.RaggedTensor) -> tf.RaggedTensor:
    """Returns code points with the marks on each character sorted by their classes."""
    classes = _classes(codes.flat_values)

    def ordered() -> tf.Tensor:
        run = tf.cumsum(tf.cast((classes == 0) | _begins(codes), tf.int32))
        # Classes are 0 to 254, so the keys of runs do not overlap; equal keys keep their order.
        order = tf.argsort(run * 256 + classes, stable=True)
        return tf.gather(codes.flat_values, order)

    flat = tf.cond(tf.reduce_any(classes > 0), ordered, lambda: codes.flat_values)
    return codes.with_flat_values(flat)


def _composed(codes: tf.RaggedTensor) -> tf.RaggedTensor:
    """Returns ordered code points, with pairs joined that have a composed form."""
    table = composition()
    flat = codes.flat_values
    classes = _classes(flat)
    _, second = _indices(table.seconds, flat)
    # A piece may be joined: it runs from a character that joins nothing before it to the next.
    begins = ((classes == 0) & ~second) | _begins(codes)
    starts = tf.cast(tf.where(begins)[:, 0], tf.int32)
    sizes = tf.concat([starts[1:], [tf.size(flat)]], 0) - starts
    longer = tf.boolean_mask(tf.stack([starts, sizes], 1), sizes > 1)
    joined = tf.cond(
        tf.size(longer) > 0,
        lambda: _joined(flat, classes, longer[:, 0], longer[:, 1]),
        lambda: flat,
    )
    return tf.ragged.boolean_mask(
        codes.with_flat_values(joined), codes.with_flat_values(joined >= 0)
    )


def _joined(flat: tf.Tensor, classes: tf.Tensor, starts: tf.Tensor, sizes: tf.Tensor) -> tf.Tensor:
    """Returns code points, −1 where one was joined into an earlier one; all pieces in parallel."""
    table = composition()
    pairs, whole = table.pairs, table.whole

    def step(
        number: tf.Tensor, flat: tf.Tensor, base: tf.Tensor, before: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        # Finished pieces read their last code point again, and leave it unchanged.
        here = starts + tf.minimum(number, sizes - 1)
        code, mark = tf.gather(flat, here), tf.gather(classes, here)
        on = tf.gather(flat, tf.maximum(base, 0))
        key = tf.bitwise.left_shift(tf.cast(on, tf.int64), SHIFT) + tf.cast(code, tf.int64)
        at, known = _indices(pairs, key)
        active = number < sizes
        join = active & known & (base >= 0) & (before < mark)
        stay = active & ~join
        one, merged = tf.boolean_mask(base, join), tf.boolean_mask(here, join)
        flat = tf.tensor_scatter_nd_update(
            flat, one[:, None], tf.boolean_mask(tf.gather(whole, at), join)
        )
        flat = tf.tensor_scatter_nd_update(flat, merged[:, None], -tf.ones_like(merged))
        base = tf.where(stay & (mark == 0), here, base)
        before = tf.where(stay, tf.where(mark == 0, -1, mark), before)
        return number + 1, flat, base, before

    first = tf.gather(classes, starts)
    base = tf.where(first == 0, starts, -1)
    before = tf.where(first == 0, -1, first)
    most = tf.minimum(tf.reduce_max(sizes), MOST_MARKS)
    return tf.while_loop(
        lambda number, *_: number < most, step, (tf.constant(1), flat, base, before)
    )[1]
