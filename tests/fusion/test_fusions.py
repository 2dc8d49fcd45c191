"""Fusions: permutations, absent tokens, and attention against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.encoders.tokens import ModalityTokens
from mmrank.fusion import FUSIONS, CrossAttention, make_fusion

LISTS, LENGTH, TOKENS, CONTEXTS, WIDTH = 2, 3, 4, 2, 8


@pytest.fixture
def inputs() -> tuple[np.ndarray, ...]:
    """Tokens and their presence, contexts and their presence; some of each are absent."""
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


def test_vectors_and_gradients_are_finite_if_nothing_is_present(fusion, inputs):
    tokens, present, contexts, here = inputs
    # A learned vector of absence may be all zeros, where a norm has no gradient.
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


def test_values_of_an_absent_modality_change_nothing(fusion, inputs):
    """The tokens are made as in a ranker; one candidate has no present token."""
    values, present, contexts, here = inputs
    present[1, 2] = False
    tokens = ModalityTokens(tuple("abcd"), WIDTH)

    def through(stored: np.ndarray) -> np.ndarray:
        made = tokens(([*tf.unstack(stored, axis=2)], [*tf.unstack(present, axis=2)]))
        return vectors(fusion, (made, present, contexts, here))

    other = values.copy()
    other[~present] = 1e6
    np.testing.assert_array_equal(through(other), through(values))
    seen = values.copy()
    seen[0, 0, 0, :3] += 1
    moved = np.abs(through(seen) - through(values)).max(-1) > 1e-3
    assert moved.tolist() == [[True, False, False], [False, False, False]]


@pytest.mark.parametrize("name", sorted(FUSIONS.keys() - {"concat"}))
def test_only_concat_puts_absent_tokens_into_its_vectors(name, inputs):
    """If any token is present, even the learned vectors of absence have no effect."""
    tokens, present, contexts, here = inputs
    tf.keras.utils.set_random_seed(1)
    fusion = make_fusion(name, {})
    other = tokens.copy()
    other[~present] = 1e3
    expected = vectors(fusion, inputs)
    np.testing.assert_array_equal(vectors(fusion, (other, present, contexts, here)), expected)


def test_a_graph_of_any_size_equals_eager(fusion, inputs):
    specs = [[None, None, TOKENS, WIDTH], [None, None, TOKENS], [None, CONTEXTS, WIDTH]]
    kinds = [tf.float32, tf.bool, tf.float32, tf.bool]
    shapes = [*specs, [None, CONTEXTS]]
    expected = vectors(fusion, inputs)
    graph = tf.function(
        lambda *given: fusion(given),
        input_signature=[tf.TensorSpec(s, k) for s, k in zip(shapes, kinds, strict=True)],
    )
    given = graph(*inputs)
    assert graph.get_concrete_function().structured_outputs.shape[-1] == given.shape[-1]
    np.testing.assert_allclose(given, expected, atol=1e-5)


def test_config_makes_the_same_fusion(fusion, inputs):
    expected = vectors(fusion, inputs)
    again = type(fusion).from_config(fusion.get_config())
    assert again.get_config() == fusion.get_config()
    vectors(again, inputs)
    again.set_weights(fusion.get_weights())
    np.testing.assert_array_equal(vectors(again, inputs), expected)


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum()


# The pooled token of each fusion: of the present tokens, their indices, out of 4 modalities.
LOGITS = np.array([0.3, -1.0, 2.0, 0.5], np.float32)
POOLED = {
    "mean": lambda there, which: sum(there) / len(there),
    "sum": lambda there, which: sum(there) / 2,
    "max": lambda there, which: np.array([max(column) for column in zip(*there, strict=True)]),
    "min": lambda there, which: np.array([min(column) for column in zip(*there, strict=True)]),
    "weighted_mean": lambda there, which: softmax(LOGITS[which]) @ there,
}


@pytest.mark.parametrize("name", POOLED)
def test_pooling_in_numpy(name, inputs):
    """The pooled token, its products and similarities, flags and contexts, by a plain loop."""
    tokens, present, contexts, here = inputs
    present[1, 2] = False
    fusion = make_fusion(name, {})
    given = vectors(fusion, inputs)
    if name == "weighted_mean":
        fusion.set_weights([LOGITS])
        given = vectors(fusion, inputs)
    for b in range(LISTS):
        for i in range(LENGTH):
            known = present[b, i].any()
            which = np.flatnonzero(present[b, i] if known else np.ones(TOKENS))
            one = POOLED[name](tokens[b, i][which], which)
            products, similar = [], []
            for c in range(CONTEXTS):
                both = float(known and here[b, c])
                products.append(both * one * contexts[b, c])
                cosine = one @ contexts[b, c] / np.linalg.norm(one) / np.linalg.norm(contexts[b, c])
                similar.append(both * cosine)
            expected = [one, *products, similar, present[b, i], contexts[b].ravel()]
            np.testing.assert_allclose(given[b, i], np.concatenate(expected), atol=1e-5)


def test_gates_in_numpy(inputs):
    """Arevalo et al. 2017: each dimension of a token has a gate computed from all tokens."""
    tokens, present, _, _ = inputs
    fusion = make_fusion("gated", {})
    vectors(fusion, inputs)  # creates the weights
    rng = np.random.default_rng(3)
    fusion.set_weights([rng.normal(size=w.shape) for w in fusion.get_weights()])
    given = vectors(fusion, inputs)[..., :WIDTH]
    w, b = (v.numpy() for v in fusion.transform.weights)
    gate, bias = (v.numpy() for v in fusion.gate.weights)
    for one in np.ndindex(LISTS, LENGTH):
        seen = np.where(present[one][:, None], tokens[one], 0).ravel()
        gates = 1 / (1 + np.exp(-(seen @ gate + bias)))
        expected = np.zeros(WIDTH)
        for k in np.flatnonzero(present[one]):
            z = gates[k * WIDTH : (k + 1) * WIDTH]
            expected += z * np.tanh(tokens[one][k] @ w[k] + b[k])
        np.testing.assert_allclose(given[one], expected, atol=1e-5)


def test_more_modalities_do_not_blow_up_the_sum():
    """K unrelated tokens of unit variance: their sum divided by √K has unit variance too."""
    rng = np.random.default_rng(0)
    fusion = make_fusion("sum", {})
    for count in (1, 4, 64):
        tokens = rng.normal(size=[1, 50, count, WIDTH]).astype(np.float32)
        present = np.ones([1, 50, count], bool)
        pooled = fusion.pool(tf.constant(tokens), tf.constant(present), False).numpy()
        assert pooled.std() == pytest.approx(1, abs=0.15)


def test_the_transformer_distinguishes_modalities_and_stacks_its_layers(inputs):
    tokens, _, contexts, here = inputs
    present = np.ones_like(inputs[1])
    fusion = make_fusion("transformer", {"layers": 2, "heads": 2, "feed_forward": 5})
    given = vectors(fusion, (tokens, present, contexts, here))
    swapped = vectors(fusion, (tokens[:, :, [1, 0, 2, 3]], present, contexts, here))
    assert np.abs(given - swapped).max() > 1e-4
    fusion.kinds.assign(tf.zeros_like(fusion.kinds))
    given = vectors(fusion, (tokens, present, contexts, here))
    swapped = vectors(fusion, (tokens[:, :, [1, 0, 2, 3]], present, contexts, here))
    np.testing.assert_allclose(swapped, given, atol=1e-5)
    # Per layer: query, key, value, output (D² + D each), D·5 + 5 and 5·D + D, two norms of 2·D.
    layer = 4 * (WIDTH**2 + WIDTH) + (WIDTH * 5 + 5) + (5 * WIDTH + WIDTH) + 2 * 2 * WIDTH
    assert fusion.count_params() == TOKENS * WIDTH + 2 * layer


@pytest.mark.parametrize("option", ["layers", "heads", "feed_forward"])
def test_a_transformer_without_layers_is_refused(option):
    with pytest.raises(ValueError, match=f"transformer: {option}: expected 1 or more, got 0"):
        make_fusion("transformer", {option: 0})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("concta", "unknown fusion 'concta'; did you mean 'concat'"),
        ("xyz", "unknown fusion 'xyz'; known: concat, cross_attention, gated"),
    ],
)
def test_an_unknown_fusion_is_refused_with_the_nearest_or_those_known(name, message):
    with pytest.raises(ValueError, match=message):
        make_fusion(name, {})


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("concat", "it takes no options"),
        ("cross_attention", "known: dropout, heads"),
        ("sum", "it takes no options"),
    ],
)
def test_an_unknown_option_is_refused_with_those_known(name, known):
    with pytest.raises(ValueError, match=rf"fusion {name}: .*'depth'; {known}$"):
        make_fusion(name, {"depth": 2})


def test_options_reach_the_fusion_and_its_config():
    fusion = make_fusion("cross_attention", {"heads": 2, "dropout": 0.3})
    again = CrossAttention.from_config(fusion.get_config())
    assert (again.heads, again.dropout, again.name) == (2, 0.3, "fusion")


def test_concat_is_tokens_products_similarities_flags_and_contexts(inputs):
    """All parts in plain NumPy; interactions of absent tokens are zero."""
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


def test_the_attention_of_cross_attention_in_numpy(inputs):
    """One head: softmax over the present tokens, a residual connection, a normalisation."""
    tokens, present, contexts, _ = inputs
    fusion = make_fusion("cross_attention", {"heads": 1})
    vectors(fusion, inputs)  # creates the weights
    rng = np.random.default_rng(3)
    fusion.attention.set_weights([rng.normal(size=w.shape) for w in fusion.attention.weights])
    given = vectors(fusion, inputs)[..., : CONTEXTS * WIDTH]
    # Query, key, value: kernels [D, 1, K] and biases [1, K]; output: [1, K, D] and [D].
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


def test_the_rest_of_cross_attention_in_numpy(inputs):
    """After the attention: products with the contexts, similarities, flags and contexts."""
    tokens, present, contexts, here = inputs
    tf.keras.utils.set_random_seed(1)
    given = vectors(make_fusion("cross_attention", {"heads": 2}), inputs)
    for b in range(LISTS):
        for i in range(LENGTH):
            read = given[b, i, : CONTEXTS * WIDTH].reshape(CONTEXTS, WIDTH)
            similar = []
            for k in range(TOKENS):
                for c in range(CONTEXTS):
                    one, other = tokens[b, i, k], contexts[b, c]
                    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
                    similar.append(float(present[b, i, k] and here[b, c]) * cosine)
            products = [read[c] * contexts[b, c] for c in range(CONTEXTS)]
            expected = [read.ravel(), *products, similar, present[b, i], contexts[b].ravel()]
            np.testing.assert_allclose(given[b, i], np.concatenate(expected), atol=1e-5)


def test_a_weight_of_zero_hides_even_what_is_not_finite(inputs):
    tokens, present, *_ = inputs
    hidden = tokens.copy()
    hidden[~present] = np.inf
    fusion = make_fusion("weighted_mean", {})
    expected = vectors(fusion, inputs)[..., :WIDTH]
    given = fusion.pool(tf.constant(hidden), tf.constant(present), False)
    np.testing.assert_allclose(given, expected, atol=1e-6)


def test_dropout_of_the_transformer_is_on_in_training_only(inputs):
    def twice(dropout: float, training: bool) -> list[np.ndarray]:
        tf.keras.utils.set_random_seed(1)
        fusion = make_fusion("transformer", {"heads": 2, "dropout": dropout})
        tensors = tuple(tf.constant(i) for i in inputs)
        return [fusion(tensors, training=training).numpy() for _ in range(2)]

    served, again = twice(0.5, False)
    np.testing.assert_array_equal(again, served)
    dropped, other = twice(0.5, True)
    assert np.abs(dropped - other).max() > 0.01
    np.testing.assert_allclose(twice(0.0, True)[0], served, atol=1e-6)


@pytest.mark.parametrize("word", ["weights", "dtype", "trainable", "name"])
def test_arguments_of_keras_are_not_options(word: str) -> None:
    with pytest.raises(ValueError, match=f"fusion weighted_mean: unknown option '{word}'"):
        make_fusion("weighted_mean", {word: {"title": 2}})
