"""Unicode forms and case folding as TF-Text gives them, by TensorFlow's own ops."""

from __future__ import annotations

import tensorflow as tf

from mmrank.encoders.portable.tables import SHIFT, Spelling, composition, folding, spelling

# Marks on one character beyond which they are left as they stand (30 is Unicode's own limit for
# streams), so that nothing a client sends takes long.
MOST_MARKS = 32
# Runs of what Python's `\s` takes for white space, as RE2 writes it.
SPACES = r"[\s\p{Z}\x{1c}-\x{1f}\x{85}\v]+"
_ASCII = r"[\x00-\x7f]*"


def normalize_utf8(texts: tf.Tensor, form: str) -> tf.Tensor:
    """Texts [N] of valid UTF-8 in a Unicode form: NFC, NFD, NFKC or NFKD."""
    return _rewritten(texts, texts, spelling(form), composed=form in ("NFC", "NFKC"))


def case_fold_utf8(texts: tf.Tensor) -> tf.Tensor:
    """Texts [N] of valid UTF-8 with their case folded, in NFKC, without ignorable characters."""
    return _rewritten(texts, tf.strings.lower(texts), folding(), composed=True)


def _rewritten(
    texts: tf.Tensor, of_ascii: tf.Tensor, written: Spelling, composed: bool
) -> tf.Tensor:
    """Texts written in another way; those of ASCII alone are given."""
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


def _places(keys: tf.Tensor, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Where values stand in ascending keys, and whether they do."""
    at = tf.minimum(tf.searchsorted(keys, values), tf.size(keys) - 1)
    return at, tf.gather(keys, at) == values


def _apart(codes: tf.RaggedTensor, written: Spelling) -> tf.RaggedTensor:
    """Code points with each one written as its parts."""
    flat = codes.flat_values
    at, found = _places(written.codes, flat)
    starts = written.starts
    first = tf.where(found, tf.gather(starts, at), 0)
    count = tf.where(found, tf.gather(starts, at + 1) - first, 1)
    # Of each part: which character it comes from, and which of its parts it is.
    source = tf.repeat(tf.range(tf.size(flat)), count)
    number = tf.range(tf.size(source)) - tf.gather(tf.cumsum(count, exclusive=True), source)
    part = tf.gather(written.parts, tf.gather(first, source) + number)
    parts = tf.where(tf.gather(found, source), part, tf.gather(flat, source))
    rows = tf.gather(codes.value_rowids(), source)
    return tf.RaggedTensor.from_value_rowids(parts, rows, nrows=codes.nrows(), validate=False)


def _classes(flat: tf.Tensor) -> tf.Tensor:
    """The combining class of code points."""
    table = composition()
    at, found = _places(table.marks, flat)
    return tf.where(found, tf.gather(table.classes, at), 0)


def _begins(codes: tf.RaggedTensor) -> tf.Tensor:
    """Whether a code point is the first of its text, [codes] bool."""
    rows = codes.value_rowids()
    return tf.concat([tf.ones_like(rows[:1], tf.bool), rows[1:] != rows[:-1]], 0)


def _ordered(codes: tf.RaggedTensor) -> tf.RaggedTensor:
    """Code points with the marks on one character in the order of their classes."""
    classes = _classes(codes.flat_values)

    def ordered() -> tf.Tensor:
        run = tf.cumsum(tf.cast((classes == 0) | _begins(codes), tf.int32))
        # Runs hold a class each of 0 to 254; equal keys keep their order.
        order = tf.argsort(run * 256 + classes, stable=True)
        return tf.gather(codes.flat_values, order)

    flat = tf.cond(tf.reduce_any(classes > 0), ordered, lambda: codes.flat_values)
    return codes.with_flat_values(flat)


def _composed(codes: tf.RaggedTensor) -> tf.RaggedTensor:
    """Ordered code points, those joined that are written as one."""
    table = composition()
    flat = codes.flat_values
    classes = _classes(flat)
    _, second = _places(table.seconds, flat)
    # A piece is what may be joined: from a character that joins nothing before it to the next.
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
    """Code points with −1 for those that went into the one before, by pieces side by side."""
    table = composition()
    pairs, whole = table.pairs, table.whole

    def step(
        number: tf.Tensor, flat: tf.Tensor, base: tf.Tensor, before: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        # Finished pieces look at their last code point again, and leave it.
        here = starts + tf.minimum(number, sizes - 1)
        code, mark = tf.gather(flat, here), tf.gather(classes, here)
        on = tf.gather(flat, tf.maximum(base, 0))
        key = tf.bitwise.left_shift(tf.cast(on, tf.int64), SHIFT) + tf.cast(code, tf.int64)
        at, known = _places(pairs, key)
        going = number < sizes
        join = going & known & (base >= 0) & (before < mark)
        stay = going & ~join
        one, gone = tf.boolean_mask(base, join), tf.boolean_mask(here, join)
        flat = tf.tensor_scatter_nd_update(
            flat, one[:, None], tf.boolean_mask(tf.gather(whole, at), join)
        )
        flat = tf.tensor_scatter_nd_update(flat, gone[:, None], -tf.ones_like(gone))
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
