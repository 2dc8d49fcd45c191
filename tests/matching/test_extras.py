"""Extras: the values of each by plain loops, and properties of all."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.encoders.base import FeatureKind
from mmrank.encoders.category import Category
from mmrank.encoders.number import Number
from mmrank.encoders.text import Text
from mmrank.matching.extra import Catalogue
from mmrank.matching.extras import EXTRAS, check_extras
from mmrank.matching.matcher import Matcher
from mmrank.matching.plan import MatchPlan, TermRows, fit_plan
from mmrank.matching.query_category import QueryCategory
from mmrank.schema import Feature
from mmrank.versions import CLASSIC, version_set_of

ITEMS, MODALITIES = 40, ["title", "aisle", "price", "weight"]
QUERIES = [
    "red drill",
    "woll coat cord",
    "hat hat bolt",
    "xyzzyx",
    "screw driver red",
    "",
    "lampcord",
]
# Titles by aisle, so that words indicate aisles and prices. Every word is its own stem.
AISLES = {
    "garden": (["red", "coat", "hat", "wool", "black"], 10.0),
    "kitchen": (["lamp", "cord", "red", "black"], 100.0),
    "bath": (["drill", "saw", "bolt", "black", "screwdriver"], 1000.0),
}


def catalogue() -> dict[str, list[Any]]:
    random = np.random.default_rng(4)
    rows: dict[str, list[Any]] = {name: [] for name in MODALITIES}
    for _ in range(ITEMS):
        aisle = str(random.choice(list(AISLES)))
        words, price = AISLES[aisle]
        title = " ".join(random.choice(words, 3))
        rows["title"].append(title if random.random() > 0.1 else None)
        rows["aisle"].append(aisle if random.random() > 0.1 else None)
        value = round(float(price * random.lognormal(0, 0.3)), 2) - 20
        rows["price"].append(value if random.random() > 0.1 else None)
        rows["weight"].append(3.0)
    rows["aisle"][0] = "alone"  # the only item of its aisle
    return rows


COLUMNS: dict[str, list[Any]] = {"query": QUERIES} | catalogue()


def kind(cls: type[FeatureKind], name: str, side: str) -> FeatureKind:
    return cls(Feature(name, cls.__name__.lower(), side, name), {})


QUERY = kind(Text, "query", "query")
KINDS = [
    kind(Text, "title", "item"),
    kind(Category, "aisle", "item"),
    kind(Number, "price", "item"),
    kind(Number, "weight", "item"),
]


def column(one: FeatureKind) -> pd.Series:
    dtype = float if one.feature.kind == "number" else object
    return pd.Series(COLUMNS[one.name], dtype=dtype)


def fitted(extras: list[str]) -> MatchPlan:
    plan = fit_plan([QUERY], KINDS, column, extras)
    assert plan is not None
    return plan


def matcher_of(plan: MatchPlan) -> Matcher:
    others = {"item_numbers": dict.fromkeys(plan.numbers, 1)}
    return Matcher(plan, (), MODALITIES, others)


def inputs_of(plan: MatchPlan) -> list[np.ndarray]:
    """Every query with all items."""
    layout = plan.layout("query")
    asked = TermRows(layout, None, plan.packs("query"))(np.array(QUERIES, object))
    parts, present = [], []
    for one in KINDS:
        raw, there = one.read(column(one), None)
        present.append(there)
        of_terms = plan.layout(one.name)
        if of_terms is not None:
            parts.append(TermRows(of_terms)(raw) * there[:, None])
    for name in plan.numbers:
        raw, there = KINDS[MODALITIES.index(name)].read(column(KINDS[MODALITIES.index(name)]), None)
        parts += [raw[:, None], there[:, None].astype(np.float32)]
    offered = np.concatenate(parts, -1)
    count = len(QUERIES)
    shown = np.stack(present, -1)
    mask = np.ones([count, ITEMS], bool)
    return [asked, np.stack([offered] * count), np.stack([shown] * count), mask]


@pytest.fixture(scope="module")
def plan() -> MatchPlan:
    return fitted(list(EXTRAS))


@pytest.fixture(scope="module")
def inputs(plan: MatchPlan) -> list[np.ndarray]:
    return inputs_of(plan)


@pytest.fixture(scope="module")
def matcher(plan: MatchPlan, inputs: list[np.ndarray]) -> Matcher:
    layer = matcher_of(plan)
    layer(inputs)
    return layer


@pytest.fixture(scope="module")
def features(matcher: Matcher, inputs: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Features [queries, items] by name; NaN where they are absent."""
    values, there = matcher.features(inputs)
    return dict(zip(matcher.names, np.where(there, values, np.nan).transpose(2, 0, 1), strict=True))


@functools.cache
def documents() -> dict[str, int]:
    """The number of items in whose title or aisle each word occurs."""
    found: dict[str, int] = {}
    for title, aisle in zip(COLUMNS["title"], COLUMNS["aisle"], strict=True):
        for word in {*(title or "").split(), *([aisle] if aisle else [])}:
            found[word] = found.get(word, 0) + 1
    return found


def idf(word: str) -> float:
    count = max(documents().get(word, 0), 1)
    return math.log1p((ITEMS - count + 0.5) / (count + 0.5))


def known_words(query: str) -> list[str]:
    """Words of a query that occur in at least two items, repeated as in the query."""
    return [w for w in query.split() if documents().get(w, 0) > 1]


def test_categories_by_a_loop(features: dict[str, np.ndarray]) -> None:
    alpha = 0.1
    words = [w for w, n in documents().items() if n > 1]
    pairs = list(zip(COLUMNS["title"], COLUMNS["aisle"], strict=True))
    aisles = [a for a in AISLES if sum(b == a for _, b in pairs) > 1]
    # A word that occurs twice in a title counts once.
    titles = [((title or "").split(), aisle) for title, aisle in pairs]
    has = {(w, a): sum(b == a and w in t for t, b in titles) for w in words for a in aisles}
    for q, query in enumerate(QUERIES):
        asked = known_words(query)
        joint = {}
        for aisle in aisles:
            total = sum(has[w, aisle] for w in words)
            joint[aisle] = float(sum(b == aisle for _, b in pairs))
            for word in asked:
                joint[aisle] *= (has[word, aisle] + alpha) / (total + alpha * len(words))
        for i, (_, aisle) in enumerate(pairs):
            found = features["query/aisle/probable"][q, i]
            log = features["query/aisle/log_probable"][q, i]
            if not asked or aisle not in aisles:
                assert np.isnan(found)
                assert np.isnan(log)
                continue
            probability = joint[aisle] / sum(joint.values())
            assert found == pytest.approx(probability, abs=1e-5)
            assert log == pytest.approx(math.log(probability), abs=1e-4)
    assert np.nanmax(features["query/aisle/probable"][0]) > 0.5  # so the words were informative


def test_usual_numbers_of_words_by_a_loop(features: dict[str, np.ndarray]) -> None:
    logs = [None if p is None else math.copysign(math.log1p(abs(p)), p) for p in COLUMNS["price"]]
    some = [x for x in logs if x is not None]
    mean = sum(some) / len(some)
    deviation = math.sqrt(sum((x - mean) ** 2 for x in some) / len(some))
    assert min(some) < 0  # the sign is kept
    for q, query in enumerate(QUERIES):
        asked = known_words(query)
        weights, firsts, seconds = [], [], []
        for word in asked:
            own = [
                (x - mean) / deviation
                for x, title in zip(logs, COLUMNS["title"], strict=True)
                if x is not None and word in (title or "").split()
            ]
            weights.append(idf(word))
            firsts.append(sum(own) / (len(own) + 5))
            seconds.append((sum(x * x for x in own) + 5) / (len(own) + 5))
        for i, x in enumerate(logs):
            found = features["query/price/above_usual"][q, i]
            if not asked or x is None:
                assert np.isnan(found)
                continue
            usual, square = (
                sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
                for values in (firsts, seconds)
            )
            spread = math.sqrt(max(square - usual**2, 0.1**2))
            away = min(max(((x - mean) / deviation - usual) / spread, -10), 10)
            assert found == pytest.approx(away, abs=1e-4)
            assert features["query/price/from_usual"][q, i] == pytest.approx(abs(away), abs=1e-4)
    assert "query/weight/above_usual" not in features  # all items weigh the same


def test_spelling_by_a_loop(features: dict[str, np.ndarray]) -> None:
    # The corrections of the words of each query, and their similarity.
    meant = {
        "woll": (["wool"], 1 - 1 / 4),
        "screw": (["screwdriver"], 1 - 1 / 12),
        "driver": (["screwdriver"], 1 - 1 / 12),
        "lampcord": (["lamp", "cord"], 1 - 1 / 9),
    }
    for q, query in enumerate(QUERIES):
        words = query.split()
        others = [meant.get(w, ([], 0.0)) for w in words]
        weights = [
            max(map(idf, other)) if other else idf(word)
            for word, (other, _) in zip(words, others, strict=True)
        ]
        for i, (title, aisle) in enumerate(zip(COLUMNS["title"], COLUMNS["aisle"], strict=True)):
            texts = {"title": (title or "").split(), "aisle": [aisle] if aisle else []}
            likeness = {
                field: [
                    1.0 if w in text else alike if other and all(o in text for o in other) else 0.0
                    for w, (other, alike) in zip(words, others, strict=True)
                ]
                for field, text in texts.items()
            }
            likeness["any"] = [max(both) for both in zip(*likeness.values(), strict=True)]
            for field, text in (texts | {"any": ["always"]}).items():
                found = features[f"query/{field}/spelled"][q, i]
                if not words or not text:
                    assert np.isnan(found)
                    continue
                total = sum(w * a for w, a in zip(weights, likeness[field], strict=True))
                assert found == pytest.approx(total / sum(weights), abs=1e-5), (query, title)
            otherwise = features["query/any/spelled_otherwise"][q, i]
            if words:
                share = sum(bool(other) for other, _ in others) / len(words)
                assert otherwise == pytest.approx(share, abs=1e-6)
    assert np.nanmax(features["query/any/spelled"][4]) > 0.5


def test_permuted_candidates_have_permuted_features(
    matcher: Matcher, inputs: list[np.ndarray]
) -> None:
    order = np.random.default_rng(0).permutation(ITEMS)
    asked, *listed = inputs
    moved = matcher([asked, *(a[:, order] for a in listed)])
    np.testing.assert_allclose(moved, matcher(inputs).numpy()[:, order], atol=1e-6)


def test_queries_of_a_batch_are_independent(matcher: Matcher, inputs: list[np.ndarray]) -> None:
    together = matcher(inputs).numpy()
    for b in range(len(QUERIES)):
        alone = matcher([a[b : b + 1] for a in inputs])
        np.testing.assert_allclose(alone[0], together[b], atol=1e-5)


def test_absent_features_and_padding_are_zero(
    plan: MatchPlan, matcher: Matcher, inputs: list[np.ndarray]
) -> None:
    asked, offered, present, mask = (a.copy() for a in inputs)
    present[:, 1], mask[:, 4:] = False, False
    before = matcher([asked, offered, present, mask]).numpy()
    offered[:, 1], offered[:, 4:] = 7.0, 9.0
    after = matcher([asked, offered, present, mask]).numpy()
    np.testing.assert_array_equal(before, after)
    own = [f"query/{n}" for extra in plan.extras.values() for n in extra.names()]
    at = [matcher.names.index(n) for n in own]
    assert not after[:, 4:].any()
    assert not after[:, 1][:, [i for i in at if "/any/" not in matcher.names[i]]].any()
    # Lists of one length keep their features when they are padded further.
    short = matcher([inputs[0], *(a[:, :4] for a in inputs[1:])]).numpy()
    whole = matcher([*inputs[:3], mask]).numpy()
    np.testing.assert_allclose(whole[:, :4], short, atol=1e-6)


def test_eager_equals_graph_and_a_plan_survives_json(
    plan: MatchPlan, matcher: Matcher, inputs: list[np.ndarray]
) -> None:
    eager = matcher(inputs).numpy()
    assert np.isfinite(eager).all()
    np.testing.assert_allclose(tf.function(matcher)(inputs), eager, atol=1e-6)
    again = MatchPlan.restored(json.loads(json.dumps(plan.state())))
    assert again.state() == plan.state()
    more = TermRows(None, None, again.packs("query"))(np.array(QUERIES, object))
    np.testing.assert_array_equal(more, inputs[0][:, -more.shape[1] :])
    np.testing.assert_allclose(matcher_of(again)(inputs), eager, atol=1e-4)
    twin = Matcher.from_config(matcher.get_config())
    np.testing.assert_allclose(twin(inputs), eager, atol=1e-4)


def test_tensorflow_lite_returns_the_same(matcher: Matcher, inputs: list[np.ndarray]) -> None:
    def features(**given: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"features": matcher([given[n] for n in sorted(given)])}

    fed = {f"input_{i}": a for i, a in enumerate(inputs)}
    specs = {n: tf.TensorSpec([None, *a.shape[1:]], a.dtype, n) for n, a in fed.items()}
    traced = tf.function(features).get_concrete_function(**specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced], matcher)
    builtins, rest = tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS
    converter.target_spec.supported_ops = [builtins, rest]
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    if version_set_of() is not CLASSIC:  # once it works, `check_interpreter` may allow it
        with pytest.raises(RuntimeError, match="Select TensorFlow op"):
            interpreter.get_signature_runner()(**fed)
        return
    found = interpreter.get_signature_runner()(**fed)["features"]
    np.testing.assert_allclose(found, matcher(inputs), atol=1e-4)


def test_without_extras_nothing_changes(
    plan: MatchPlan, matcher: Matcher, inputs: list[np.ndarray]
) -> None:
    plain = fitted([])
    assert set(plain.state()) == {"queries", "fields", "stems", "idf", "rare"}
    assert plain.state() == {n: v for n, v in plan.state().items() if n != "extras"}
    assert plain.packs("query") == []
    assert plain.numbers == ()
    old = MatchPlan.restored(json.loads(json.dumps(plain.state())))  # saved before extras existed
    layer = matcher_of(old)
    own = [inputs[0][:, : layer.rows.query_width], inputs[1][..., : layer.rows.item_width]]
    usual = layer([*own, *inputs[2:]]).numpy()
    assert tuple(n for n in matcher.names if n in layer.names) == layer.names
    at = [matcher.names.index(n) for n in layer.names]
    np.testing.assert_allclose(matcher(inputs).numpy()[..., at], usual, atol=1e-4)


@pytest.mark.parametrize("name", list(EXTRAS))
def test_a_single_extra(
    name: str, plan: MatchPlan, inputs: list[np.ndarray], features: dict[str, np.ndarray]
) -> None:
    alone = dataclasses.replace(plan, extras={name: plan.extras[name]})
    layer = matcher_of(alone)
    own = [inputs[0][:, : layer.rows.query_width], inputs[1][..., : layer.rows.item_width]]
    layer([*own, *inputs[2:]])
    values, there = layer.features([*own, *inputs[2:]])
    values = np.where(there, values, np.nan).transpose(2, 0, 1)
    assert any(n.endswith(plan.extras[name].names()[0]) for n in layer.names)
    for actual, found in zip(layer.names, values, strict=True):
        np.testing.assert_allclose(found, features[actual], atol=1e-5)


def test_only_the_most_frequent_categories_of_a_word_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mmrank.matching.query_category.OF_EACH", 2)
    # Items 0 to 5: two each in aisles 5, 7 and 9. Item 3 has the second word, others the first.
    names = {"aisle": np.array([5, 5, 7, 7, 9, 9, 11], np.float32)}
    pairs = (np.array([0, 1, 2, 4, 5, 6, 3]), np.array([0, 0, 0, 0, 0, 0, 1]))
    stems = np.array([100, 200], np.float32)
    catalogue = Catalogue([KINDS[1]], column, ["aisle"], stems, pairs, names)
    (aisle,) = QueryCategory.fit(catalogue).categories
    assert aisle.values == (5, 7, 9)  # 11 has only one item
    assert aisle.items == (2, 2, 2)
    assert aisle.words == (2, 2, 2)
    assert aisle.of_stems == ((0, 2, 2, 2), (1, 1))


@pytest.mark.parametrize(
    ("name", "left", "message"),
    [
        ("category", 1, "category needs a category of items, which this model does not have"),
        ("number", 1, "number needs a number of items"),
        ("spelling", 0, "spelling needs a text of items"),
    ],
)
def test_an_extra_without_its_features_is_refused(name: str, left: int, message: str) -> None:
    kinds = {k.name: k for k in [QUERY, *KINDS[:left]]}
    with pytest.raises(ConfigError, match=message):
        check_extras([name], kinds)
    check_extras([name], {k.name: k for k in [QUERY, *KINDS]})


@pytest.mark.parametrize("name", list(EXTRAS))
@pytest.mark.parametrize("rows", [0, 3])
def test_an_empty_catalogue_has_no_extra_features(name: str, rows: int, inputs: list) -> None:
    def nothing(one: FeatureKind) -> pd.Series:
        return pd.Series([None] * rows, dtype=object)

    none = np.zeros(0, np.float32)
    pairs = (none.astype(np.int64), none.astype(np.int64))
    names = {"aisle": np.zeros(rows, np.float32)}
    catalogue = Catalogue(KINDS, nothing, ["title", "aisle"], none, pairs, names)
    extra = EXTRAS.make(name, {}, catalogue)
    assert extra.numbers == ()
    assert extra.names() == [n for n in extra.names() if "/spelled" in n]
    assert (
        EXTRAS[name].make.restored(json.loads(json.dumps(extra.state()))).state() == extra.state()
    )
