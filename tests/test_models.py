"""The whole network on a tiny simulated shop: what must change its scores, and what must not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from mmrank.build import build_model
from mmrank.config import Config
from mmrank.data.batches import Batch, Batches, ListArrays
from mmrank.data.tables import Dataset, load_dataset
from mmrank.features import Features, make_features
from mmrank.fusion import FUSIONS
from mmrank.models import RankingModel, present_name, ranking_model
from mmrank.objectives import build_loss
from mmrank.ranking.labels import masked_labels
from mmrank.schema import Schema, schema_from_dict
from mmrank.scoring import ListScorer, without
from mmrank.training.loop import seed_everything

# Features that would only add time to the tests below.
SECOND_OF_A_KIND = ("description", "rating", "rating_count", "sales")


@dataclasses.dataclass(frozen=True)
class Ranker:
    """A ranker with random weights, and the lists that it scores."""

    config: Config
    dataset: Dataset
    features: Features
    arrays: ListArrays
    model: RankingModel
    graph: Callable[..., tf.Tensor]

    def batches(self, **changes: object) -> Batches:
        return dataclasses.replace(Batches(self.arrays, 6, (8, 16, 32)), **changes)

    def scores(self, batch: Batch, training: bool = False) -> np.ndarray:
        return self.graph(inputs(batch), training).numpy()


def inputs(batch: Batch) -> dict[str, tf.Tensor]:
    return {n: tf.constant(v) for n, v in batch.items() if n != "grades"}


@pytest.fixture(scope="module")
def dataset(tiny_shop) -> Dataset:
    """The tiny shop with a pair feature in addition to its own features."""
    loaded = load_dataset(tiny_shop)
    plain = loaded.schema.to_dict()
    plain["features"].append({"name": "shown", "kind": "number", "side": "pair"})
    lists = loaded.lists.assign(shown=np.sin(np.arange(len(loaded.lists))).astype(np.float32))
    lists.loc[::5, "shown"] = np.nan
    return dataclasses.replace(loaded, schema=schema_from_dict(plain), lists=lists)


@pytest.fixture(scope="module")
def make(dataset, tiny_config) -> Callable[..., Ranker]:
    def one(fusion: str, drop: tuple[str, ...] = ()) -> Ranker:
        seed_everything(tiny_config)
        chosen = dataclasses.replace(
            tiny_config.model,
            fusion=dataclasses.replace(tiny_config.model.fusion, name=fusion),
            drop=drop,
        )
        config = dataclasses.replace(tiny_config, model=chosen)
        features = make_features(dataset.schema, config.model.encoders, drop)
        features.fit(dataset)
        arrays = features.arrays(dataset, dataset.lists)
        model = build_model(config, features)
        # As a graph of any shape, because in eager mode the forty calls below take minutes.
        graph = tf.function(
            lambda x, training: model.network(x, training=training), reduce_retracing=True
        )
        return Ranker(config, dataset, features, arrays, model, graph)

    return one


@pytest.fixture(scope="module")
def full(make) -> Ranker:
    """A ranker with a feature of every kind and concatenation."""
    return make("concat", SECOND_OF_A_KIND)


@pytest.fixture(scope="module")
def crossed(make) -> Ranker:
    """A ranker with cross-attention, without the photo, which takes long to trace."""
    return make("cross_attention", (*SECOND_OF_A_KIND, "photo"))


@pytest.fixture(params=["full", "crossed"])
def ranker(request) -> Ranker:
    return request.getfixturevalue(request.param)


@pytest.fixture
def batch(ranker) -> Batch:
    members = np.flatnonzero(ranker.arrays.users >= 0)[:6]
    return ranker.batches().make(members)


def test_the_batch_satisfies_the_assumptions_of_the_tests(batch):
    assert not batch["mask"].all()
    assert batch["mask"].any(1).all()
    assert batch["history_mask"].any()
    assert not batch["shown_present"][batch["mask"]].all()
    assert batch["shown_present"].any()


def test_scores_differ_between_candidates_and_padding_scores_zero(ranker, batch):
    scores = ranker.scores(batch)
    assert scores.shape == batch["mask"].shape
    assert np.isfinite(scores).all()
    assert (scores[~batch["mask"]] == 0).all()
    first = scores[0][batch["mask"][0]]
    assert len(np.unique(first)) == len(first)


def test_padding_candidates_and_events_changes_nothing(ranker, batch):
    """Arbitrary values in the padding: the last item of the batch, random pair values."""
    last = len(batch["price"]) - 1
    wide = dict(batch)
    for name, value in batch.items():
        if name in ("mask", "slots", "grades", "shown", "shown_present"):
            more = np.zeros([value.shape[0], 5], value.dtype)
            if name == "slots":
                more += last
            if name == "shown":
                more += 7
            wide[name] = np.concatenate([value, more], 1)
        elif name.startswith("history_"):
            more = np.zeros([value.shape[0], 3], value.dtype)
            if name != "history_mask":
                more += 1
            wide[name] = np.concatenate([value, more], 1)
    length = batch["mask"].shape[1]
    given = ranker.scores(wide)
    np.testing.assert_allclose(given[:, :length], ranker.scores(batch), atol=1e-5)


def test_values_in_padding_change_nothing(ranker, batch):
    other = dict(batch)
    last = len(batch["price"]) - 1
    other["slots"] = np.where(batch["mask"], batch["slots"], last)
    other["shown"] = np.where(batch["mask"], batch["shown"], np.float32(1e3))
    seen = batch["history_mask"]
    other["history_slots"] = np.where(seen, batch["history_slots"], last)
    other["history_types"] = np.where(seen, batch["history_types"], 1)
    other["history_ages"] = np.where(seen, batch["history_ages"], np.float32(99))
    np.testing.assert_allclose(ranker.scores(other), ranker.scores(batch), atol=1e-6)


def test_permuting_candidates_permutes_scores(ranker, batch):
    order = np.random.default_rng(0).permutation(batch["mask"].shape[1])
    listwise = ("mask", "slots", "grades", "shown", "shown_present")
    moved = {n: v[:, order] if n in listwise else v for n, v in batch.items()}
    np.testing.assert_allclose(ranker.scores(moved), ranker.scores(batch)[:, order], atol=1e-5)


def test_permuting_unique_items_changes_nothing(ranker, batch):
    count = len(batch["price"])
    order = np.random.default_rng(0).permutation(count)
    position = np.argsort(order).astype(np.int32)
    moved = {n: v[order] if n in ranker.model.item_tower.input else v for n, v in batch.items()}
    moved["slots"] = position[batch["slots"]]
    moved["history_slots"] = position[batch["history_slots"]]
    np.testing.assert_allclose(ranker.scores(moved), ranker.scores(batch), atol=1e-5)


def garbage(value: np.ndarray, present: np.ndarray) -> np.ndarray:
    """The value, with arbitrary numbers wherever it is absent."""
    out = value.copy()
    if value.dtype == np.uint8:
        out[~present] = 77
    elif value.dtype == np.float32:
        out[~present] = np.float32(1e6)
    else:
        out[~present] = 1
    return out


@pytest.mark.parametrize("training", [False, True])
def test_a_value_under_a_false_presence_flag_changes_nothing(ranker, batch, training):
    """Each feature in turn is absent on a third of its rows, in inference and in training."""
    for encoder in ranker.model.encoders:
        flag = present_name(encoder.name)
        present = batch[flag].copy()
        present.reshape(-1)[::3] = False
        one = {**batch, flag: present}
        other = {**one, encoder.name: garbage(one[encoder.name], present)}
        reseed(ranker.model.network)  # the same dropout and the same initial moving statistics
        before = ranker.scores(one, training)
        reseed(ranker.model.network)
        np.testing.assert_allclose(
            ranker.scores(other, training), before, atol=1e-6, err_msg=encoder.name
        )


def reseed(network: tf.keras.Model) -> None:
    for layer in network._flatten_layers():
        if hasattr(layer, "_random_generator"):
            layer._random_generator._generator.reset_from_seed(1)


def test_presence_matters(ranker, batch):
    """With a flag turned off the scores change: absence differs from any value."""
    before = ranker.scores(batch)
    for encoder in ranker.model.encoders:
        flag = present_name(encoder.name)
        after = ranker.scores({**batch, flag: np.zeros_like(batch[flag])})
        assert np.isfinite(after).all()
        assert np.abs(after - before).max() > 1e-6, encoder.name


def test_scores_are_finite_if_all_features_are_absent(ranker, batch):
    empty = {n: np.zeros_like(v) if n.endswith("_present") else v for n, v in batch.items()}
    empty["history_mask"] = np.zeros_like(batch["history_mask"])
    for training in (False, True):
        assert np.isfinite(ranker.scores(empty, training)).all()


def gradients(ranker: Ranker, batch: Batch, training: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    """Scores, and dense gradients of the loss by every trainable variable; zeros where None."""
    loss = build_loss(ranker.config.training.loss)
    variables = ranker.model.network.trainable_variables
    labels = masked_labels(tf.constant(batch["grades"]), tf.constant(batch["mask"]))
    with tf.GradientTape() as tape:
        scores = ranker.model.network(inputs(batch), training=training)
        value = loss(labels, scores)
    given = tape.gradient(value, variables)
    dense = [
        np.zeros(v.shape, np.float32) if g is None else tf.convert_to_tensor(g).numpy()
        for v, g in zip(variables, given, strict=True)
    ]
    return scores.numpy(), dense


def test_an_item_encoded_once_or_at_every_slot_gives_the_same_scores_and_gradients(ranker):
    """In inference mode, since repeated items affect the statistics of BatchNormalization."""
    members = np.arange(6)
    once = ranker.batches().make(members)
    often = ranker.batches(unique_items=False).make(members)
    assert len(once["price"]) < len(often["price"])
    scores, grads = gradients(ranker, once, training=False)
    scores_often, grads_often = gradients(ranker, often, training=False)
    np.testing.assert_allclose(scores_often, scores, atol=1e-5)
    for variable, one, other in zip(
        ranker.model.network.trainable_variables, grads, grads_often, strict=True
    ):
        # Another order of sums: float32 precision relative to the largest part of the gradient.
        size = max(1.0, float(np.abs(one).max()))
        np.testing.assert_allclose(other / size, one / size, atol=1e-5, err_msg=variable.name)


def test_every_trainable_variable_gets_a_finite_gradient(ranker):
    members = np.flatnonzero(ranker.arrays.users >= 0)[:12]
    batch = ranker.batches().make(members)
    # Embeddings of absence only learn where a value is absent.
    for encoder in ranker.model.encoders:
        flag = present_name(encoder.name)
        batch[flag] = batch[flag].copy()
        batch[flag].reshape(-1)[::4] = False
    batch["history_mask"][::3] = False
    _, grads = gradients(ranker, batch, training=True)
    idle = []
    for variable, gradient in zip(ranker.model.network.trainable_variables, grads, strict=True):
        assert np.isfinite(gradient).all(), variable.name
        if not gradient.any():
            idle.append(variable.name)
    # A softmax ignores what is added to every key, so that a key's bias has no gradient by design,
    # nor has the last bias of the scoring tower, which shifts all scores of a list equally.
    assert [n for n in idle if "/key/bias" not in n and n != last_bias(ranker)] == []


def last_bias(ranker: Ranker) -> str:
    return [v.name for v in ranker.model.scorer.trainable_variables if "bias" in v.name][-1]


def test_list_scorer_agrees_with_the_network(ranker):
    """Every list of the shop, with incomplete last batches, against the network list by list."""
    scorer = ListScorer(ranker.model, 7, (8, 16, 32))
    given = scorer(ranker.arrays)
    expected = np.zeros_like(given)
    for members, batch in ranker.batches(batch_lists=5).once():
        scores = ranker.scores(batch)
        for row, i in zip(scores, members, strict=True):
            first, last = ranker.arrays.offsets[i], ranker.arrays.offsets[i + 1]
            expected[first:last] = row[: last - first]
    # Other batches sum in another order.
    np.testing.assert_allclose(given, expected, rtol=2e-5, atol=2e-5)


def test_list_scorer_of_no_lists_gives_no_scores(crossed):
    rows = crossed.dataset.lists.iloc[:0]
    arrays = crossed.features.arrays(crossed.dataset, rows)
    assert ListScorer(crossed.model, 4, (8,))(arrays).shape == (0,)


def test_graph_and_eager_scores_are_equal(ranker, batch):
    eager = ranker.model.network(inputs(batch), training=False)
    np.testing.assert_allclose(ranker.scores(batch), eager.numpy(), atol=1e-5)


def test_dropped_features_score_as_absent_ones(ranker):
    """`without` clears flags, as is done here by hand; a dropped history is an unknown user's."""
    names = ("title", "query", "shown", "history", "user")
    gone = without(ranker.arrays, names)
    by_hand = dataclasses.replace(
        ranker.arrays,
        items={**ranker.arrays.items, "title_present": np.zeros(len(ranker.dataset.catalog), bool)},
        contexts={
            **ranker.arrays.contexts,
            "query_present": np.zeros(len(ranker.arrays.lengths), bool),
            "user_present": np.zeros(len(ranker.arrays.lengths), bool),
        },
        pairs={**ranker.arrays.pairs, "shown_present": np.zeros(len(ranker.dataset.lists), bool)},
        users=np.full(len(ranker.arrays.lengths), -1),
    )
    members = np.arange(6)
    scores = ranker.scores(ranker.batches(arrays=gone).make(members))
    expected = ranker.scores(ranker.batches(arrays=by_hand).make(members))
    np.testing.assert_array_equal(scores, expected)
    assert np.abs(scores - ranker.scores(ranker.batches().make(members))).max() > 1e-4


def test_scores_depend_on_the_query(ranker, batch):
    """Another query gives other scores: interactions affect them."""
    other = {n: v[::-1] if n in ("query", "query_present") else v for n, v in batch.items()}
    assert np.abs(ranker.scores(other) - ranker.scores(batch)).max() > 1e-4


def test_a_model_without_item_features_is_refused(crossed):
    query = [e for e in crossed.model.encoders if e.side == "query"]
    with pytest.raises(ValueError, match="side item"):
        ranking_model(query, width=8, fusion=None, head=None)


def minimal(schema: Schema) -> Schema:
    kept = [f for f in schema.features if f.name in ("price", "grade")]
    return dataclasses.replace(schema, features=tuple(kept), events=None)


def test_a_shop_with_only_item_numbers_can_be_ranked(dataset, tiny_config):
    """Without query, user and history, context and fusion still work."""
    small = dataclasses.replace(dataset, schema=minimal(dataset.schema), events=None)
    features = make_features(small.schema, {}, ())
    features.fit(small)
    arrays = features.arrays(small, small.lists)
    for fusion in ("concat", "cross_attention"):
        chosen = dataclasses.replace(tiny_config.model.fusion, name=fusion)
        config = dataclasses.replace(
            tiny_config, model=dataclasses.replace(tiny_config.model, fusion=chosen)
        )
        scores = ListScorer(build_model(config, features), 8, (8, 16, 32))(arrays)
        assert np.isfinite(scores).all()
        assert len(np.unique(scores.round(5))) > 5


@pytest.mark.parametrize(
    ("fusion", "rank_model"), [*((name, "none") for name in FUSIONS), ("mean", "attention_gru")]
)
def test_every_fusion_and_a_rank_model_over_numbers_and_a_category(
    dataset, tiny_config, fusion, rank_model
):
    """Without photo and texts: absent values, no present value at all, permuted candidates."""
    seed_everything(tiny_config)
    kept = [f for f in dataset.schema.features if f.name in ("price", "rating", "brand", "grade")]
    small = dataclasses.replace(
        dataset,
        schema=dataclasses.replace(dataset.schema, features=tuple(kept), events=None),
        events=None,
    )
    features = make_features(small.schema, {}, ())
    features.fit(small)
    head = dataclasses.replace(
        tiny_config.model.head, rank_model=rank_model, attention_layers=None, gru_units=4
    )
    chosen = dataclasses.replace(tiny_config.model.fusion, name=fusion)
    model = dataclasses.replace(tiny_config.model, fusion=chosen, head=head)
    network = build_model(dataclasses.replace(tiny_config, model=model), features).network
    batch = Batches(features.arrays(small, small.lists), 4, (16, 32)).make(np.arange(4))
    for name in ("price", "rating", "brand"):
        batch[present_name(name)] = np.arange(len(batch["price"])) % 3 != 0
    batch["rating_present"] = np.arange(len(batch["price"])) % 2 != 0

    expected = network(inputs(batch)).numpy()
    assert np.isfinite(expected).all()
    other = dict(batch)
    for name in ("price", "rating", "brand"):
        other[name] = garbage(batch[name], batch[present_name(name)])
    np.testing.assert_allclose(network(inputs(other)).numpy(), expected, atol=1e-6)

    order = np.arange(batch["mask"].shape[1])[::-1]
    turned = {n: v[:, order] if n in ("mask", "slots") else v for n, v in batch.items()}
    # Items with nothing present are duplicates, which a GRU distinguishes only by their order.
    if rank_model == "none":
        given = network(inputs(turned)).numpy()
        np.testing.assert_allclose(given, expected[:, order], atol=1e-5)


@pytest.mark.parametrize("name", ["mask", "slots", "grades", "tokens", "price_present"])
def test_a_feature_named_like_an_input_of_the_network_is_refused(crossed, name):
    """Two inputs of the same name would silently receive each other's values."""
    price = next(e for e in crossed.model.encoders if e.name == "price")
    odd = dataclasses.replace(price, name=name)
    with pytest.raises(ValueError, match=name):
        ranking_model([price, odd], width=8, fusion=None, head=None)
