"""The layer over all fields: its properties, and its features of brands and vectors."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmrank.encoders.base import FeatureKind
from mmrank.encoders.category import Category
from mmrank.encoders.tags import Tags
from mmrank.encoders.text import Text
from mmrank.matching.matcher import Matcher
from mmrank.matching.plan import MatchPlan, TermRows, fit_plan
from mmrank.matching.rows import VectorPair
from mmrank.schema import Feature

TITLES = ["Red wool hat", "Blue cotton hat 500 ml", "Acme steel pipe 3/4 in", "", "Green hat"]
BRANDS = ["Acme", "Blue Moon", "Acme", "Other", None]
TAGS = ["winter|gift", "summer", "", "tool|red hat", "gift"]
QUERIES = ["red hat", "blue moon hat", "3/4 inch pipe acme", "nothing known"]


def kind(cls: type[FeatureKind], name: str, side: str, **options: object) -> FeatureKind:
    feature = Feature(name, cls.__name__.lower(), side, name, options)
    return cls(feature, {})


QUERY = kind(Text, "query", "query")
ITEMS = [kind(Text, "title", "item"), kind(Category, "brand", "item"), kind(Tags, "tags", "item")]
COLUMNS = {"query": QUERIES, "title": TITLES, "brand": BRANDS, "tags": TAGS}
PAIR = VectorPair("query", "title", 3)


@pytest.fixture(scope="module")
def plan() -> MatchPlan:
    made = fit_plan([QUERY], ITEMS, lambda k: pd.Series(COLUMNS[k.name], dtype=object))
    assert made is not None
    return made


@pytest.fixture(scope="module")
def matcher(plan: MatchPlan) -> Matcher:
    layer = Matcher(plan, [PAIR], ["title", "brand", "tags"])
    rows = layer.rows
    layer.build([(1, rows.query_width), (1, 1, rows.item_width), (1, 1, 3), (1, 1)])
    return layer


def rows(plan: MatchPlan, kinds: list[FeatureKind], vectors: np.ndarray) -> np.ndarray:
    parts = []
    for one in kinds:
        layout = plan.layout(one.name)
        assert layout is not None
        raw, _ = one.read(pd.Series(COLUMNS[one.name], dtype=object), None)
        parts.append(TermRows(layout)(raw))
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.concatenate([*parts, unit.astype(np.float32)], -1)


@pytest.fixture(scope="module")
def inputs(plan: MatchPlan) -> list[np.ndarray]:
    """Four queries, each with all five items."""
    random = np.random.default_rng(0)
    asked = rows(plan, [QUERY], random.normal(size=[4, 3]))
    offered = rows(plan, ITEMS, random.normal(size=[5, 3]))
    present = np.array([[bool(t), bool(b), bool(g)] for t, b, g in zip(TITLES, BRANDS, TAGS)])  # noqa: B905
    return [asked, np.stack([offered] * 4), np.stack([present] * 4), np.ones([4, 5], bool)]


def test_names_are_found_in_queries(matcher: Matcher, inputs: list[np.ndarray]) -> None:
    features = matcher.features(inputs)[0].numpy()

    def of(name: str) -> list[list[float]]:
        return features[..., matcher.names.index(name)].tolist()

    # The fifth item has no brand; "blue moon" is a brand of two words, and "hat" is not a brand.
    assert of("query/brand/named") == [
        [0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1, 0, 1, 0, 0], [0, 0, 0, 0, 0]
    ]  # fmt: skip
    another = np.array(of("query/brand/another_named"))
    present = inputs[2][..., 1]
    assert (another * present).tolist() == [
        [0, 0, 0, 0, 0], [1, 0, 1, 1, 0], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0]
    ]  # fmt: skip
    assert of("query/tags/named")[0] == [0, 0, 0, 1, 0]


def test_cosines_are_those_of_the_vectors(matcher: Matcher, inputs: list[np.ndarray]) -> None:
    cosine = matcher.features(inputs)[0].numpy()[..., matcher.names.index("query/title/cosine")]
    for b in range(4):
        for i in range(5):
            plain = float(np.dot(inputs[0][b, -3:], inputs[1][b, i, -3:]))
            assert cosine[b, i] == pytest.approx(plain, abs=1e-6)


def test_idf_by_a_loop(plan: MatchPlan) -> None:
    # `hat` is in four of five items (titles and tags together); a stem of one item counts as rare.
    n, count = 5, 4
    lookup = dict(zip(plan.stems.tolist(), plan.idf.tolist(), strict=True))
    from mmrank.matching.words import hashes

    hat = float(hashes(tf.constant("hat")))
    assert lookup[hat] == pytest.approx(np.log1p((n - count + 0.5) / (count + 0.5)), rel=1e-4)
    assert plan.rare == pytest.approx(np.log1p((n - 1 + 0.5) / 1.5), rel=1e-4)
    assert float(hashes(tf.constant("wool"))) not in lookup


def test_permuted_candidates_have_permuted_features(
    matcher: Matcher, inputs: list[np.ndarray]
) -> None:
    order = [3, 1, 4, 0, 2]
    asked, *listed = inputs
    moved = matcher([asked, *(a[:, order] for a in listed)])
    np.testing.assert_array_equal(moved, matcher(inputs).numpy()[:, order])


def test_absent_fields_and_padding_are_zero(matcher: Matcher, inputs: list[np.ndarray]) -> None:
    asked, offered, present, mask = (a.copy() for a in inputs)
    present[:, 1] = False
    mask[:, 4] = False
    before = matcher([asked, offered, present, mask]).numpy()
    offered[:, 1], offered[:, 4] = 7.0, 9.0
    after = matcher([asked, offered, present, mask]).numpy()
    np.testing.assert_array_equal(before, after)
    assert not after[:, 4].any()
    own = [
        i for i, n in enumerate(matcher.names) if n.startswith("query/title/") and "there" not in n
    ]
    assert not after[:, 1][:, own].any()


def test_an_empty_query_has_no_match_features(matcher: Matcher, inputs: list[np.ndarray]) -> None:
    asked, *listed = inputs
    features, there = matcher.features([np.zeros_like(asked), *listed])
    flags = [i for i, n in enumerate(matcher.names) if n.endswith("/there")]
    rest = np.delete(np.where(there, features, 0), flags, -1)
    assert not rest.any()


def test_eager_equals_graph_and_a_plan_survives_json(
    matcher: Matcher, plan: MatchPlan, inputs: list[np.ndarray]
) -> None:
    eager = matcher(inputs).numpy()
    np.testing.assert_allclose(tf.function(matcher)(inputs), eager, atol=1e-6)
    again = MatchPlan.restored(json.loads(json.dumps(plan.state())))
    other = Matcher(again, [PAIR], ["title", "brand", "tags"])
    np.testing.assert_allclose(other(inputs), eager, atol=1e-4)
    twin = Matcher.from_config(matcher.get_config())
    np.testing.assert_allclose(twin(inputs), eager, atol=1e-4)


def test_gradients_reach_vectors_and_are_finite(matcher: Matcher, inputs: list[np.ndarray]) -> None:
    offered = tf.constant(inputs[1])
    with tf.GradientTape() as tape:
        tape.watch(offered)
        total = tf.reduce_sum(matcher([inputs[0], offered, *inputs[2:]]))
    gradient = tape.gradient(total, offered).numpy()
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[..., -3:]).sum() > 0


def test_without_query_features_there_is_no_plan() -> None:
    assert fit_plan([], ITEMS, lambda k: pd.Series(COLUMNS[k.name])) is None
