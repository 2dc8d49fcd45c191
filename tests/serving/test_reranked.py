"""A policy in an export: signature, `Ranker.rank`, `StagedRanker` and NumPy give one order."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from mmrank.build import build_features, build_model
from mmrank.config import Config, ConfigError, Loss, Task
from mmrank.data.tables import Dataset, load_dataset
from mmrank.export import main
from mmrank.reranking.columns import PageColumns
from mmrank.reranking.config import DrawnPages, RerankConfig
from mmrank.reranking.dqn.options import DQNOptions
from mmrank.reranking.guards import GuardOptions, Guards, Rules
from mmrank.reranking.ranked_pages import ranked_pages
from mmrank.reranking.trained import About, TrainedPolicy, network_of
from mmrank.serving.card import CARD, read_card
from mmrank.serving.export import export_run
from mmrank.serving.fingerprint import item_fingerprint
from mmrank.serving.policy import policy_tables
from mmrank.serving.ranker import Ranker
from mmrank.serving.rearranging import Rearranged
from mmrank.serving.request import RankError
from mmrank.serving.staged import StagedRanker
from mmrank.trained_run import Run

SIZE = 5
LIMITS = GuardOptions(most_shift=3, least_relevance=0.5, top=2, most_of_group=1)
PLAIN = """
import sys
import numpy as np, tensorflow as tf
rerank = tf.saved_model.load(sys.argv[1]).signatures["rerank"]
given = {name: tf.constant(array) for name, array in np.load(sys.argv[2]).items()}
given |= {"items": tf.constant([["P000001", "P000002"]]), "groups": tf.constant([["", "a"]])}
assert "mmrank" not in sys.modules
print(sorted(rerank(**given)["order"][0].numpy().tolist()))
"""


@pytest.fixture(scope="module")
def shop(tiny_shop) -> Dataset:
    return load_dataset(tiny_shop)


@pytest.fixture(scope="module")
def run(shop, tiny_config) -> Run:
    """A ranker on price, sales and brand with random weights and three tasks."""
    kept = ("price", "sales", "brand")
    drop = [f.name for f in shop.schema.side("item", "query", "user") if f.name not in kept]
    tasks = {
        "click": Task(),
        "purchase": Task(given="click"),
        "dwell": Task(loss=Loss("mean_squared_loss")),
    }
    config: Config = dataclasses.replace(
        tiny_config,
        model=dataclasses.replace(tiny_config.model, drop=tuple(drop), order="click * purchase"),
        training=dataclasses.replace(tiny_config.training, tasks=tasks),
    )
    tf.keras.utils.set_random_seed(5)
    features = build_features(config, shop.schema)
    features.fit(shop)
    model = build_model(config, features)
    return Run(pathlib.Path("nowhere"), config, shop.folder, features, model)


@pytest.fixture(scope="module")
def policy(run, tmp_path_factory) -> TrainedPolicy:
    """A policy with random weights that moves candidates on most pages."""
    columns = PageColumns().of_ranker(run.fitted.schema, run.outputs.names)
    width = run.model.scorer.input["tokens"].shape[-1]
    options = DQNOptions(width=8, heads=2, layers=1)
    config = RerankConfig(pages=DrawnPages(size=SIZE), most_moves=4, guards=LIMITS, dqn=options)
    network = network_of(config, width)
    rng = np.random.default_rng(8)
    network.set_weights([rng.normal(0, 0.7, w.shape) for w in network.get_weights()])
    bias = network.finish.layers[-1].bias
    bias.assign(bias - 3.0)
    return TrainedPolicy(
        tmp_path_factory.mktemp("policy"),
        config,
        About(width, columns, item_fingerprint(run.model, run.fitted)),
        network,
    )


@pytest.fixture(scope="module")
def exported(run, shop, policy, tmp_path_factory) -> pathlib.Path:
    return export_run(run, tmp_path_factory.mktemp("page") / "export", shop, policy=policy)


@pytest.fixture(scope="module")
def ranker(exported) -> Ranker:
    return Ranker.load(exported)


def lists_of(shop: Dataset) -> list[list[str]]:
    rows = shop.rows("test")
    return [group["item_id"].tolist() for _, group in rows.groupby("list_id", sort=False)]


def items(ranked) -> list[str]:
    return [entry.item for entry in ranked]


@pytest.mark.parametrize("rules", [Rules(), Rules(pin={"PIN": 2}, boost={"BOOST": 1})])
def test_equals_the_policy_in_numpy(run, shop, policy, ranker, exported, rules) -> None:
    rows = shop.rows("test")
    pages = ranked_pages(run, shop, rows, policy.about.columns, SIZE)
    assert len(pages) == len(lists_of(shop))
    assert any(page.price.std() > 0 for page in pages)
    staged, moved = StagedRanker.load(exported), 0
    for page, ids in zip(pages, lists_of(shop), strict=True):
        names = {"PIN": page.item[3], "BOOST": page.item[4]}
        here = dataclasses.replace(
            rules,
            pin={names[n]: p for n, p in rules.pin.items()},
            boost={names[n]: p for n, p in rules.boost.items()},
        )
        [order] = policy.orders([page], here)
        wanted = page.item[order].tolist()
        ranked = ranker.rank(candidates=ids, policy=True, rules=here)
        plain = ranker.rank(candidates=ids)
        assert items(ranked)[:SIZE] == wanted
        assert items(ranked)[SIZE:] == items(plain)[SIZE:]
        assert {p.item: p.score for p in ranked} == {p.item: p.score for p in plain}
        given = staged.rank(candidates=ids, rerank=Rearranged(here))
        assert [ids[given.order[i]] for i in given.page.base] == items(ranked)
        np.testing.assert_allclose(given.page.seen["price"], page.price, rtol=1e-6)
        np.testing.assert_allclose(given.page.seen["attraction"], page.attraction, rtol=1e-4)
        np.testing.assert_allclose(given.page.seen["vector"], page.vector, atol=1e-5)
        assert [g.decode() for g in given.page.seen["group"]] == page.group.tolist()
        guards = Guards(LIMITS, here)
        np.testing.assert_array_equal(given.page.open, guards.open(page, guards.start(page), order))
        moved += items(ranked) != items(plain)
    assert moved >= len(pages) / 2


def test_raw_products_get_the_order_of_their_ids(shop, ranker) -> None:
    names = ranker.card.names("item")
    catalog = shop.catalog.set_index("item_id")
    for ids in lists_of(shop)[:3]:
        raw = [
            {n: v for n, v in catalog.loc[i, list(names)].items() if v == v and v is not None}
            for i in ids
        ]
        order = [ids[p.index] for p in ranker.rank(candidates=raw, policy=True)]
        assert order == items(ranker.rank(candidates=ids, policy=True))


def test_rules_reach_below_the_page(shop, ranker) -> None:
    ids = lists_of(shop)[0]
    plain = items(ranker.rank(candidates=ids))
    rules = Rules(pin={plain[-1]: 1}, exclude=(plain[0],))
    ranked = items(ranker.rank(candidates=ids, policy=True, rules=rules))
    assert ranked[0] == plain[-1]
    assert plain[0] not in ranked
    assert len(ranked) == len(ids) - 1
    everything = Rules(exclude=tuple(ids))
    assert ranker.rank(candidates=ids, policy=True, rules=everything) == []


def test_without_the_policy_only_the_rules_hold(shop, exported, ranker) -> None:
    ids = lists_of(shop)[0]
    plain = items(ranker.rank(candidates=ids))
    how = Rearranged(Rules(pin={plain[-1]: 1}), policy=False)
    given = StagedRanker.load(exported).rank(candidates=ids, rerank=how)
    assert [ids[given.order[i]] for i in given.page.base] == [plain[-1], *plain[:-1]]
    assert given.page.seen is None
    assert not given.page.open[1:].any()


def test_a_single_candidate(shop, ranker) -> None:
    [entry] = ranker.rank(candidates=[shop.item_ids[0]], policy=True)
    assert entry.item == shop.item_ids[0]
    unknown = ranker.rank(candidates=["nothing", "known"], policy=True)
    assert sorted(items(unknown)) == ["known", "nothing"]


def test_loads_without_mmrank(exported, ranker, tmp_path) -> None:
    inputs = ranker.signatures["rerank"].structured_input_signature[1]
    arrays = {
        n: np.zeros([1, *[2, 2, *spec.shape[2:]][1 : spec.shape.rank]], spec.dtype.as_numpy_dtype)
        for n, spec in inputs.items()
        if spec.dtype != tf.string
    }
    arrays |= {"start": np.array([[0, 1]], np.int32), "list_length": np.array([2], np.int32)}
    np.savez(tmp_path / "page.npz", **arrays)
    out = subprocess.run(
        [sys.executable, "-c", PLAIN, str(exported), str(tmp_path / "page.npz")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert out.stdout.strip() == "[0, 1]"


def test_the_card(exported, tmp_path) -> None:
    card = read_card(exported)
    assert card.policy.size == SIZE
    assert card.policy.guarded
    assert card.policy.columns == PageColumns()
    plain = json.loads((exported / CARD).read_text())
    for wrong in ({"size": 0}, {"guarded": 1}, {"columns": {"click": "clicks"}}):
        (tmp_path / CARD.parent).mkdir(exist_ok=True)
        damaged = plain | {"policy": plain["policy"] | wrong}
        (tmp_path / CARD).write_text(json.dumps(damaged))
        with pytest.raises(RankError, match="damaged"):
            read_card(tmp_path)


def test_refusals(run, shop, policy, small_export, ranker, capsys) -> None:
    with pytest.raises(RankError, match="no policy; export the run with --policy"):
        Ranker.load(small_export).rank(candidates=["P000001"], policy=True)
    with pytest.raises(RankError, match="give policy=True"):
        ranker.rank(candidates=["P000001"], rules=Rules())
    for about, message in (
        (dataclasses.replace(policy.about, columns=None), "learned from drawn pages"),
        (dataclasses.replace(policy.about, fingerprint="0"), "pages of another ranker"),
    ):
        other = TrainedPolicy(policy.folder, policy.config, about, policy.graph.network)
        with pytest.raises(ConfigError, match=message):
            policy_tables(other, shop, item_fingerprint(run.model, run.fitted))
    assert main(["--run", "runs/none", "--policy", "nowhere"]) == 2
    assert "nowhere: no policy.json" in capsys.readouterr().err


def test_a_group_that_the_ranker_does_not_take(run, shop, policy, tmp_path) -> None:
    """A feature that a model drops is still in the catalogue, from which the export has it."""
    drop = (*run.config.model.drop, "brand")
    model = dataclasses.replace(run.config.model, drop=drop)
    config = dataclasses.replace(run.config, model=model)
    features = build_features(config, shop.schema)
    features.fit(shop)
    other = dataclasses.replace(
        run, config=config, fitted=features, model=build_model(config, features), _kept={}
    )
    width = other.model.scorer.input["tokens"].shape[-1]
    about = About(width, policy.about.columns, item_fingerprint(other.model, other.fitted))
    moved = TrainedPolicy(policy.folder, policy.config, about, policy.graph.network)
    exported = export_run(other, tmp_path / "export", shop, policy=moved)
    ids = lists_of(shop)[0]
    given = StagedRanker.load(exported).rank(candidates=ids, rerank=Rearranged())
    brands = shop.catalog.set_index("item_id")["brand"]
    named = [brands[ids[i]] for i in given.order[: given.page.size]]
    assert [g.decode() for g in given.page.seen["group"]] == named
