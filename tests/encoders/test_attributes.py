"""Attributes: tokens of names and values, numbers with units, padding, and the weighted mean."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.encoders.attributes import Attributes, AttributesEncoder
from mmrank.schema import Feature

COLUMN = pd.Series(
    [
        {"Colour": "navy blue", "Weight": "1 kg"},
        {"Colour": "Navy  Blue", "Weight": "3000g"},
        "colour: red; weight: 2 kg",
        "{}",
        None,
    ],
    dtype=object,
)
INDICES = {"colour=navy blue": 1, "weight#gram": 0}


def attributes(**options: object) -> Attributes:
    return Attributes(Feature("attributes", "attributes", "item", "attributes"), options)


def fitted(values: pd.Series = COLUMN, **options: object) -> Attributes:
    kind = attributes(**options)
    kind.fit(values)
    return kind


def tokens(value: object) -> list[str]:
    kind = attributes()
    raw, _ = kind.read(pd.Series([value], dtype=object), None)
    (found,) = kind._tokens(tf.constant(raw)).texts.to_list()
    return [t.decode() for t in found]


def of(kind: Attributes, *values: object) -> np.ndarray:
    return kind.arrays(pd.Series(list(values), dtype=object), None)[0]


def test_tokens_are_the_whole_value_and_its_words():
    assert tokens({"Colour": "Navy Blue", "ＳＩＺＥ": "L"}) == [
        "colour=navy blue",
        "size=l",
        "navy",
        "blue",
    ]
    assert tokens("wireless; 产品: 红色 大号") == ["=wireless", "产品=红色 大号", "红色", "大号"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1 kg", ["a#gram", "a#gram=1000"]),
        ("1000g", ["a#gram", "a#gram=1000"]),
        ("3/4 in", ["a#metre", "a#metre=0.01905"]),
        ('1 1/2"', ["a#metre", "a#metre=0.0381"]),
        ("1.5 m", ["a#metre", "a#metre=1.5"]),
        ("1,5 m", ["a#metre", "a#metre=1.5"]),
        ("500ML", ["a#litre", "a#litre=0.5"]),
        ("1,299", ["a#", "a#=1299"]),
        ("42.0", ["a#", "a#=42"]),
        (42, ["a#", "a#=42"]),
        ("-3 °C", ["a#degree", "a#degree=-3"]),
        ("10 - 80", ["a=10 - 80", "10", "80"]),
        ("5 wheels", ["a=5 wheels", "5", "wheels"]),
        ("1.2.3", ["a=1.2.3"]),
        (True, ["a=yes"]),
    ],
)
def test_numbers_with_units_are_numbers(value, expected):
    assert tokens({"a": value}) == expected


def test_known_tokens_have_rows_and_numbers_are_scaled_by_training_items():
    """The logarithms of weights of 1000, 3000 and 2000 g are standardised."""
    kind = fitted(max_tokens=4, oov_buckets=2)
    # Tokens of at least two rows: the most frequent first, ties by name.
    assert kind.vocabulary == ("weight#gram", "blue", "colour=navy blue", "navy")
    assert kind.keys == ("weight#gram",)
    logs = np.log1p([1000.0, 3000.0, 2000.0])
    first, none = of(kind, "weight: 1 kg; colour: navy blue", "")
    scaled = (logs[0] - logs.mean()) / logs.std()
    # Row 0 is padding, rows 1 and 2 are the buckets, row 3 is the most frequent token.
    np.testing.assert_allclose(first[0], [3, 1, scaled], rtol=1e-5)
    np.testing.assert_array_equal(first[1], [5, 0, 0])
    assert first[2][0] in (1, 2)  # weight#gram=1000, which occurs once
    np.testing.assert_array_equal(first[3], [6, 0, 0])
    np.testing.assert_array_equal(none, np.zeros((4, 3)))


def test_extreme_numbers_are_clipped_and_unknown_ones_are_absent():
    kind = fitted()
    (row,) = of(kind, "weight: 1" + "0" * 30 + " kg")
    assert row[0, 2] == 5
    (row,) = of(kind, "height: 3 m")
    assert row[0, 1] == row[0, 2] == 0


def test_thousands_of_names_are_one_feature():
    values = pd.Series([{f"name {i}": i % 7, f"text {i}": f"v{i % 3}"} for i in range(3_000)] * 2)
    kind = fitted(values, max_words=100)
    assert len(kind.vocabulary) == 100
    assert kind.input_spec().shape.as_list() == [None, 64, 3]


def test_empty_attributes_are_absent():
    raw, present = attributes().read(COLUMN, None)
    assert present.tolist() == [True, True, True, False, False]
    assert raw[2] == "colour: red\nweight: 2 kg"


def test_a_column_and_a_graph_agree():
    kind = fitted()
    raw, _ = kind.read(COLUMN, None)
    eager = kind.preprocess(tf.constant(raw)).numpy()
    np.testing.assert_array_equal(of(kind, *COLUMN), eager)
    np.testing.assert_array_equal(kind.traced_preprocess()(tf.constant(raw)).numpy(), eager)
    assert eager.shape == (5, 64, 3)
    assert of(kind).shape == (0, 64, 3)


def test_an_embedding_is_the_mean_by_attention():
    layer = AttributesEncoder(4, words=9, numbers=2, attention=3)
    inputs = np.zeros((3, 5, 3), np.float32)
    inputs[0, :3] = [[2, 0, 0], [5, 1, -0.5], [9, 0, 0]]
    inputs[1, 0] = [5, 2, 2.0]
    given = layer(inputs).numpy()
    table, slopes = layer.table.embeddings.numpy(), layer.slopes.embeddings.numpy()
    tokens = np.stack([table[2], table[5] - 0.5 * slopes[1], table[9]])
    kernel, bias = (w.numpy() for w in layer.hidden.weights)
    logits = np.tanh(tokens @ kernel + bias) @ layer.weight.kernel.numpy()
    weights = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(given[0], (weights * tokens).sum(0), atol=1e-6)
    np.testing.assert_allclose(given[1], table[5] + 2 * slopes[2], atol=1e-6)
    np.testing.assert_array_equal(given[2], np.zeros(4))
    # Neither more padding nor another order changes the result.
    padded = np.pad(inputs, [(0, 0), (0, 4), (0, 0)])[:, ::-1]
    np.testing.assert_allclose(layer(padded), given, atol=1e-6)


def test_without_attention_it_is_the_plain_mean():
    layer = AttributesEncoder(4, words=9, numbers=2, attention=0)
    inputs = np.zeros((1, 3, 3), np.float32)
    inputs[0, :2, 0] = [2, 5]
    table = layer(inputs) is not None and layer.table.embeddings.numpy()
    np.testing.assert_allclose(layer(inputs)[0], (table[2] + table[5]) / 2, atol=1e-6)
    assert not layer.weight.built


def test_every_item_has_an_embedding_even_with_nothing_known():
    kind = fitted(pd.Series([None], dtype=object))
    given = kind.encoder(4)(tf.constant(of(kind, "a: b c; d: 3 kg")))
    assert np.isfinite(given.numpy()).all()


def test_what_was_fitted_survives_a_round_trip():
    other = attributes()
    other.restore(fitted().state())
    np.testing.assert_array_equal(of(other, *COLUMN), of(fitted(), *COLUMN))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"oov_buckets": 0}, "oov_buckets: expected 1 or more, got 0"),
        ({"max_tokens": 0}, "max_tokens: expected 1 or more, got 0"),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        attributes(**options)


def test_an_unreadable_cell_is_reported():
    with pytest.raises(ConfigError, match=r"'attributes': row 2 begins like JSON"):
        fitted(pd.Series(["a: b", "{a"]))
