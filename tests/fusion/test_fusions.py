"""Fusions: what permutes, what absence hides, and attention against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.fusion import FUSIONS, make_fusion

LISTS, LENGTH, TOKENS, CONTEXTS, WIDTH = 2, 3, 4, 2, 8


@pytest.fixture
def inputs() -> tuple[np.ndarray, ...]:
    """Tokens, their presence, contexts and their presence; some of each are absent."""
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=[LISTS, LENGTH, TOKENS, WIDTH]).astype(np.float32)
    present = np.ones([LISTS, LENGTH, TOKENS], bool)
    present[0, 1, 2] = present[1, 0, :2] = False
    contexts = rng.normal(size=[LISTS, CONTEXTS, WIDTH]).astype(np.float32)
    contexts_present = np.array([[True, False], [True, True]])
    return tokens, present, contexts, contexts_present


@pytest.fixture(params=FUSIONS)
def fusion(request) -> tf.keras.layers.Layer:
    tf.keras.utils.set_random_seed(1)
    return make_fusion(request.param, {})


def vectors(fusion: tf.keras.layers.Layer, inputs: tuple[np.ndarray, ...]) -> np.ndarray:
    return fusion(tuple(tf.constant(i) for i in inputs)).numpy()


def test_permuting_candidates_permutes_vectors(fusion, inputs):
    tokens, present, contexts, here = inputs
    order = [2, 0, 1]
    given = vectors(fusion, (tokens[:, order], present[:, order], contexts, here))
    expected = vectors(fusion, inputs)
    np.testing.assert_allclose(given, expected[:, order], atol=1e-6)
    assert np.abs(given - expected).max() > 0.1


def test_nothing_present_is_finite_and_so_are_its_gradients(fusion, inputs):
    tokens, present, contexts, here = inputs
    # A learned vector of absence may be all zeros, where a norm has no slope.
    tokens[0, 0, 0] = contexts[1, 1] = 0
    watched = [tf.constant(tokens), tf.constant(contexts)]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        given = fusion((watched[0], np.zeros_like(present), watched[1], np.zeros_like(here)))
        value = tf.reduce_sum(given**2)
    assert given.shape[:2] == (LISTS, LENGTH)
    assert np.isfinite(given.numpy()).all()
    for gradient in tape.gradient(value, [*watched, *fusion.trainable_variables]):
        assert np.isfinite(gradient.numpy()).all()


def test_an_unknown_fusion_is_refused_with_those_known():
    with pytest.raises(ValueError, match="unknown fusion 'sum'; known: concat, cross_attention"):
        make_fusion("sum", {})


@pytest.mark.parametrize(
    ("name", "known"), [("concat", "none"), ("cross_attention", "dropout, heads")]
)
def test_an_unknown_option_is_refused_with_those_known(name, known):
    with pytest.raises(ValueError, match=rf"fusion {name}: .*'depth'.*its options: {known}$"):
        make_fusion(name, {"depth": 2})


def test_options_reach_the_fusion_and_its_config():
    fusion = make_fusion("cross_attention", {"heads": 2, "dropout": 0.3})
    again = FUSIONS["cross_attention"].from_config(fusion.get_config())
    assert (again.heads, again.dropout, again.name) == (2, 0.3, "fusion")


def test_concat_is_tokens_products_similarities_flags_and_contexts(inputs):
    """All of it in plain NumPy; interactions of what is absent are zero."""
    tokens, present, contexts, here = inputs
    given = vectors(make_fusion("concat", {}), inputs)
    for b in range(LISTS):
        for i in range(LENGTH):
            products, similar = [], []
            for k in range(TOKENS):
                for c in range(CONTEXTS):
                    one, other = tokens[b, i, k], contexts[b, c]
                    both = float(present[b, i, k] and here[b, c])
                    products.append(both * one * other)
                    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
                    similar.append(both * cosine)
            expected = np.concatenate(
                [
                    tokens[b, i].ravel(),
                    np.concatenate(products),
                    similar,
                    present[b, i],
                    contexts[b].ravel(),
                ]
            )
            np.testing.assert_allclose(given[b, i], expected, atol=1e-6)


def test_cross_attention_does_not_look_at_absent_tokens(inputs):
    tokens, present, contexts, here = inputs
    fusion = make_fusion("cross_attention", {})
    other = tokens.copy()
    other[~present] = 1e3
    given = vectors(fusion, (other, present, contexts, here))
    np.testing.assert_array_equal(given, vectors(fusion, inputs))
    seen = tokens.copy()
    seen[0, 0, 0] += 1
    moved = np.abs(vectors(fusion, (seen, present, contexts, here)) - given).max(-1) > 1e-3
    assert moved.tolist() == [[True, False, False], [False, False, False]]


def test_what_cross_attention_reads_is_attention_in_numpy(inputs):
    """One head: softmax over the present tokens, a residual, a normalisation."""
    tokens, present, contexts, _ = inputs
    fusion = make_fusion("cross_attention", {"heads": 1})
    vectors(fusion, inputs)  # makes the weights
    rng = np.random.default_rng(3)
    fusion.attention.set_weights([rng.normal(size=w.shape) for w in fusion.attention.weights])
    given = vectors(fusion, inputs)[..., : CONTEXTS * WIDTH]
    # [D, 1, K] kernels and [1, K] biases of query, key and value; [1, K, D] and [D] of the output.
    wq, bq, wk, bk, wv, bv, wo, bo = (w.numpy().squeeze() for w in fusion.attention.weights)
    for b in range(LISTS):
        for i in range(LENGTH):
            there = tokens[b, i][present[b, i]]
            logits = (contexts[b] @ wq + bq) @ (there @ wk + bk).T / np.sqrt(WIDTH)
            weight = np.exp(logits - logits.max(1, keepdims=True))
            weight /= weight.sum(1, keepdims=True)
            read = weight @ (there @ wv + bv) @ wo + bo + contexts[b]
            normal = (read - read.mean(1, keepdims=True)) / np.sqrt(
                read.var(1, keepdims=True) + fusion.norm.epsilon
            )
            np.testing.assert_allclose(given[b, i], normal.ravel(), atol=1e-4)
