"""The base of fusions: tokens with presence, and their interactions with query and user."""

from __future__ import annotations

import tensorflow as tf


class Fusion(tf.keras.layers.Layer):
    """The base class of all fusions: tokens and contexts → one vector [B, L, F] per candidate.

    `call` takes a tuple of
      tokens [B, L, K, D]: K modality embeddings of each candidate;
      present [B, L, K] bool: which of them are present;
      contexts [B, C, D]: the query and the user;
      contexts_present [B, C] bool.
    Absent tokens and contexts hold a learned embedding already. A fusion must return finite
    values even if nothing is present.

    Example:
      One list of one candidate with two tokens, of which the second is absent, and one context:

      >>> import tensorflow as tf
      >>> from mmrank.fusion import make_fusion
      >>> tokens = tf.constant([[[[1.0, 2.0], [3.0, 4.0]]]])
      >>> present = tf.constant([[[True, False]]])
      >>> contexts, contexts_present = tf.constant([[[1.0, 1.0]]]), tf.constant([[True]])
      >>> fusion = make_fusion("mean", {})
      >>> vectors = fusion((tokens, present, contexts, contexts_present))
      >>> vectors[0, 0, :2].numpy().tolist()  # the mean of the present tokens
      [1.0, 2.0]
    """


def visible(present: tf.Tensor) -> tf.Tensor:
    """Which tokens a fusion may read, [B, L, K] bool: those present, or all if none is present.

    If nothing is present, all tokens hold their learned embeddings of absence, so that such a
    candidate gets a learned vector too.

    Example:
      >>> import tensorflow as tf
      >>> visible(tf.constant([[[True, False], [False, False]]])).numpy().tolist()
      [[[True, False], [True, True]]]
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
      flags: [B, L, M] bool, the modalities' presence, which distinguishes zero from absent.

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
    """Elementwise products [B, L, K, C, D] of every token with every context.

    Example:
      >>> import tensorflow as tf
      >>> products(tf.constant([[[[3.0, 4.0]]]]), tf.constant([[[1.0, 2.0]]])).numpy().tolist()
      [[[[[3.0, 8.0]]]]]
    """
    return tokens[:, :, :, None, :] * contexts[:, None, None, :, :]


def similarities(tokens: tf.Tensor, contexts: tf.Tensor) -> tf.Tensor:
    """Cosine similarities [B, L, K, C] of every token with every context.

    Example:
      >>> import tensorflow as tf
      >>> tokens, contexts = tf.constant([[[[3.0, 0.0], [0.0, 2.0]]]]), tf.constant([[[1.0, 0.0]]])
      >>> similarities(tokens, contexts).numpy().round(4).tolist()
      [[[[1.0], [0.0]]]]
    """
    return tf.einsum(
        "blkd,bcd->blkc",
        tf.math.l2_normalize(tokens, -1, epsilon=1e-6),
        tf.math.l2_normalize(contexts, -1, epsilon=1e-6),
    )


def pair_presence(present: tf.Tensor, contexts_present: tf.Tensor) -> tf.Tensor:
    """Whether both token and context are present, [B, L, K, C] bool."""
    return present[..., None] & contexts_present[:, None, None, :]


def flatten(x: tf.Tensor, axes: int) -> tf.Tensor:
    """The last `axes` axes merged into one: [B, L, ...] → [B, L, F]. They must be static."""
    width = 1
    for size in x.shape[-axes:]:
        width *= size
    shape = tf.shape(x)
    return tf.ensure_shape(tf.reshape(x, [shape[0], shape[1], width]), [None, None, width])


def per_candidate(contexts: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Contexts [B, C, D] repeated for every candidate: [B, L, C·D].

    Example:
      >>> import tensorflow as tf
      >>> per_candidate(tf.constant([[[1.0], [2.0]]]), tf.constant(3)).numpy().tolist()
      [[[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]]
    """
    width = contexts.shape[1] * contexts.shape[2]
    flat = tf.reshape(contexts, [-1, 1, width])
    return tf.repeat(flat, length, axis=1)
