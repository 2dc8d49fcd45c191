"""What fusion works on: tokens with presence, and their interactions with query and shopper."""

from __future__ import annotations

import tensorflow as tf


class Fusion(tf.keras.layers.Layer):
    """The base of all fusions: tokens and contexts → one vector [B, L, F] a candidate.

    `call` takes a tuple of
      tokens [B, L, K, D]: K modality embeddings of each candidate;
      present [B, L, K] bool: which of them are there;
      contexts [B, C, D]: the query and the shopper;
      contexts_present [B, C] bool.
    Absent tokens and contexts hold a learned embedding already. A fusion must give finite
    values even where nothing is present.
    """


def visible(present: tf.Tensor) -> tf.Tensor:
    """Which tokens a fusion may look at, [B, L, K] bool: those present, or all if none is.

    Where nothing is present all tokens hold their learned embeddings of absence, so that such a
    candidate too gets a vector, and a learned one.
    """
    return present | ~tf.reduce_any(present, -1, keepdims=True)


def interactions(
    tokens: tf.Tensor,
    present: tf.Tensor,
    contexts: tf.Tensor,
    contexts_present: tf.Tensor,
    flags: tf.Tensor,
) -> tf.Tensor:
    """Vectors [B, L, F]: tokens, their products and similarities with contexts, flags, contexts.

    Args:
      tokens: [B, L, K, D].
      present: [B, L, K] bool.
      contexts: [B, C, D].
      contexts_present: [B, C] bool.
      flags: [B, L, M] bool, the modalities' presence, so that zero can be told from absent.

    Masking: interactions with an absent token or context are zero.
    """
    both = tf.cast(pair_presence(present, contexts_present), tokens.dtype)
    return tf.concat(
        [
            flatten(tokens, 2),
            flatten(products(tokens, contexts) * both[..., None], 3),
            flatten(similarities(tokens, contexts) * both, 2),
            tf.cast(flags, tokens.dtype),
            per_candidate(contexts, tf.shape(tokens)[1]),
        ],
        axis=-1,
    )


def products(tokens: tf.Tensor, contexts: tf.Tensor) -> tf.Tensor:
    """Elementwise products [B, L, K, C, D] of every token with every context."""
    return tokens[:, :, :, None, :] * contexts[:, None, None, :, :]


def similarities(tokens: tf.Tensor, contexts: tf.Tensor) -> tf.Tensor:
    """Cosine similarities [B, L, K, C] of every token with every context."""
    return tf.einsum(
        "blkd,bcd->blkc",
        tf.math.l2_normalize(tokens, -1, epsilon=1e-6),
        tf.math.l2_normalize(contexts, -1, epsilon=1e-6),
    )


def pair_presence(present: tf.Tensor, contexts_present: tf.Tensor) -> tf.Tensor:
    """Whether both token and context are present, [B, L, K, C] bool."""
    return present[..., None] & contexts_present[:, None, None, :]


def flatten(x: tf.Tensor, axes: int) -> tf.Tensor:
    """The last `axes` axes as one: [B, L, ...] → [B, L, F]. They must be static."""
    width = 1
    for size in x.shape[-axes:]:
        width *= size
    shape = tf.shape(x)
    return tf.ensure_shape(tf.reshape(x, [shape[0], shape[1], width]), [None, None, width])


def per_candidate(contexts: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Contexts [B, C, D] repeated for every candidate: [B, L, C·D]."""
    width = contexts.shape[1] * contexts.shape[2]
    flat = tf.reshape(contexts, [-1, 1, width])
    return tf.repeat(flat, length, axis=1)
