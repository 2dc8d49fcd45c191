"""The listwise head with every rank model: padding, permutations, gradients, config, saving."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.build import build_head
from mmrank.config import Head
from mmrank.ranking.heads import RANK_MODELS, ListwiseHead

WIDTH = 5
VECTORS = np.random.default_rng(0).normal(size=[2, 4, WIDTH]).astype(np.float32)
MASK = np.array([[True, True, True, False], [True, True, True, True]])


# Every rank model, and further options of attention and GRU.
HEADS = {name: {"rank_model": name} for name in RANK_MODELS} | {
    "attention_2": {"rank_model": "attention", "attention_layers": 2},
    "gru_top": {"rank_model": "gru", "gru_top": 2},
    "gru_both_ways": {"rank_model": "attention_gru", "gru_bidirectional": True},
}


@pytest.fixture(params=HEADS)
def head(request) -> ListwiseHead:
    tf.keras.utils.set_random_seed(2)
    made = ListwiseHead(
        hidden=(32, 16),
        dropout=0.2,
        attention_heads=2,
        attention_width=3,
        gru_units=6,
        name="head",
        **HEADS[request.param],
    )
    made((VECTORS, MASK))
    for weight in made.trainable_weights:  # zero biases would hide mistakes
        weight.assign_add(tf.random.normal(weight.shape, stddev=0.1))
    return made


def scores(head: ListwiseHead, vectors: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return head((tf.constant(vectors), tf.constant(mask)), training=False).numpy()


def test_padding_scores_zero_and_candidates_do_not(head):
    given = scores(head, VECTORS, MASK)
    assert given.dtype == np.float32
    assert (given != 0).tolist() == MASK.tolist()


@pytest.mark.parametrize("value", [0.0, 100.0])
def test_more_padding_changes_nothing_whatever_its_values(head, value):
    wide = np.concatenate([VECTORS, np.full([2, 3, WIDTH], value, np.float32)], 1)
    wide[~np.pad(MASK, [(0, 0), (0, 3)])] = value
    given = scores(head, wide, np.pad(MASK, [(0, 0), (0, 3)]))
    np.testing.assert_allclose(given[:, :4], scores(head, VECTORS, MASK), atol=1e-6)
    assert not given[:, 4:].any()


def test_permuting_candidates_permutes_scores(head):
    order = [3, 1, 0, 2]
    given = scores(head, VECTORS[:, order], MASK[:, order])
    np.testing.assert_allclose(given, scores(head, VECTORS, MASK)[:, order], atol=1e-6)


def test_a_candidate_changes_other_scores_only_with_a_rank_model(head):
    other = VECTORS.copy()
    other[0, 1] += 2
    moved = np.abs(scores(head, other, MASK) - scores(head, VECTORS, MASK))
    assert moved[0, 1] > 1e-4
    assert (moved[0, [0, 2]] > 1e-6).any() == (head.arguments["rank_model"] != "none")
    assert (moved[1] < 1e-6).all()


@pytest.mark.parametrize("empty", [False, True])
def test_gradients_are_finite_even_for_a_list_of_padding(head, empty):
    mask = MASK & [[not empty], [True]]
    vectors = tf.constant(VECTORS)
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        value = tf.reduce_sum(head((vectors, tf.constant(mask)), training=True) ** 2)
    by_vectors, *by_weights = tape.gradient(value, [vectors, *head.trainable_variables])
    for gradient in (by_vectors, *by_weights):
        assert np.isfinite(gradient.numpy()).all()
    assert not by_vectors.numpy()[~mask].any()


def test_config_makes_the_same_head(head):
    again = ListwiseHead.from_config(head.get_config())
    assert again.get_config() == head.get_config()
    again((VECTORS, MASK))
    again.set_weights(head.get_weights())
    np.testing.assert_array_equal(scores(again, VECTORS, MASK), scores(head, VECTORS, MASK))


def test_every_weight_gets_a_gradient_including_the_initial_scores(head):
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(head((VECTORS, MASK), training=False) ** 2)
    variables = head.trainable_variables
    assert {id(v) for v in head.tower.trainable_variables} <= {id(v) for v in variables}
    for variable, gradient in zip(variables, tape.gradient(value, variables), strict=True):
        # A softmax ignores what is added to every key of an attention.
        assert gradient.numpy().any() or "/key/bias" in variable.name, variable.name


@pytest.mark.parametrize("length", [1, 7])
def test_any_number_of_lists_and_candidates(head, length):
    vectors = np.random.default_rng(1).normal(size=[3, length, WIDTH]).astype(np.float32)
    mask = np.ones([3, length], bool)
    graph = tf.function(
        lambda v, m: head((v, m), training=False),
        input_signature=[tf.TensorSpec([None, None, WIDTH]), tf.TensorSpec([None, None], tf.bool)],
    )
    given = graph(vectors, mask).numpy()
    np.testing.assert_allclose(given, scores(head, vectors, mask), atol=1e-5)
    alone = scores(head, vectors[1:2], mask[1:2])
    np.testing.assert_allclose(given[1:2], alone, atol=1e-5)


def as_model(rank_model: str) -> tf.keras.Model:
    vectors = tf.keras.Input([None, WIDTH], name="vectors")
    mask = tf.keras.Input([None], dtype=tf.bool, name="mask")
    head = ListwiseHead(hidden=(8,), dropout=0.1, rank_model=rank_model, name="head")
    return tf.keras.Model([vectors, mask], head((vectors, mask)))


def test_an_exported_graph_has_the_same_scores(tmp_path):
    """The graph is exported as for rankers: a module with a signature for any size."""
    model, module = as_model("attention_gru"), tf.Module()
    module.weights = model.weights
    specs = [tf.TensorSpec(t.shape, t.dtype, t.name) for t in model.inputs]
    module.score = tf.function(
        lambda vectors, mask: {"scores": model([vectors, mask], training=False)}, specs
    )
    tf.saved_model.save(module, str(tmp_path), signatures=module.score)
    served = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    given = served(vectors=tf.constant(VECTORS), mask=tf.constant(MASK))["scores"]
    np.testing.assert_allclose(given.numpy(), model([VECTORS, MASK]).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("rank_model", "file"),
    [
        ("gru", "model.keras"),
        pytest.param("attention_gru", "folder", marks=pytest.mark.slow),
    ],
)
def test_a_model_saved_by_keras_has_the_same_scores(rank_model, file, tmp_path):
    model = as_model(rank_model)
    model.save(tmp_path / file)
    again = tf.keras.models.load_model(
        tmp_path / file, custom_objects={"ListwiseHead": ListwiseHead}
    )
    expected = model([VECTORS, MASK]).numpy()
    np.testing.assert_allclose(again([VECTORS, MASK]).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "rank_model", "layers"),
    [
        ({}, "none", 1),
        ({"attention_layers": 0}, "none", 0),
        ({"attention_layers": 2}, "attention", 2),
        ({"rank_model": "attention"}, "attention", 1),
        ({"rank_model": "attention_gru", "attention_layers": 3}, "attention_gru", 3),
        ({"rank_model": "gru", "attention_layers": 0}, "gru", 0),
    ],
)
def test_the_rank_model_of_a_config(options, rank_model, layers):
    arguments = build_head(Head(gru_units=5, gru_top=9, **options)).get_config()
    assert (arguments["rank_model"], arguments["attention_layers"]) == (rank_model, layers)
    assert (arguments["gru_units"], arguments["gru_top"]) == (5, 9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank_model": "atention"}, "unknown rank model 'atention'; did you mean 'attention'"),
        ({"rank_model": "gru", "attention_layers": 2}, "gru has no attention, but attention_l"),
        ({"rank_model": "none", "attention_layers": 1}, "none has no attention, but attention_l"),
        (
            {"rank_model": "attention", "attention_layers": 0},
            "attention_layers: expected 1 or more, got 0",
        ),
        ({"rank_model": "gru", "gru_units": 0}, "gru_units: expected 1 or more, got 0"),
        ({"rank_model": "gru", "gru_top": 0}, "gru_top: expected 1 or more, got 0"),
    ],
)
def test_an_invalid_config_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build_head(Head(**options))
