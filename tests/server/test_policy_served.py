"""A policy of an export over REST: the same pages as in process."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from mmrank.build import build_features, build_model
from mmrank.config import Config, ConfigError
from mmrank.data.page_log import read_page_log
from mmrank.data.tables import Dataset, load_dataset
from mmrank.outputs import UserError
from mmrank.reranking.columns import PageColumns
from mmrank.reranking.config import DrawnPages, RerankConfig
from mmrank.reranking.dqn.options import DQNOptions
from mmrank.reranking.guards import GuardOptions, Rules
from mmrank.reranking.trained import About, TrainedPolicy, network_of
from mmrank.serving.export import export_run
from mmrank.serving.fingerprint import item_fingerprint
from mmrank.serving.rearranging import Rearranged
from mmrank.serving.staged import StagedRanker
from mmrank.trained_run import Run

SIZE = 5
KEPT = ("query", "price", "brand")


@pytest.fixture(scope="module")
def exported_policy(
    tiny_shop: pathlib.Path, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """An export of a ranker and a guarded policy, both with random weights."""
    shop: Dataset = load_dataset(tiny_shop)
    drop = [f.name for f in shop.schema.side("item", "query", "user") if f.name not in KEPT]
    model = dataclasses.replace(tiny_config.model, drop=tuple(drop))
    config = dataclasses.replace(tiny_config, model=model)
    tf.keras.utils.set_random_seed(5)
    features = build_features(config, shop.schema)
    features.fit(shop)
    run = Run(pathlib.Path("nowhere"), config, shop.folder, features, build_model(config, features))
    width = run.model.scorer.input["tokens"].shape[-1]
    how = RerankConfig(
        pages=DrawnPages(size=SIZE),
        most_moves=4,
        guards=GuardOptions(most_shift=2),
        dqn=DQNOptions(width=8, heads=2, layers=1),
    )
    network = network_of(how, width)
    rng = np.random.default_rng(3)
    network.set_weights([rng.normal(0, 0.7, w.shape) for w in network.get_weights()])
    policy = TrainedPolicy(
        pathlib.Path("nowhere"),
        how,
        About(
            width, PageColumns().of_ranker(shop.schema, ()), item_fingerprint(run.model, features)
        ),
        network,
    )
    folder = tmp_path_factory.mktemp("policy") / "export"
    return export_run(run, folder, shop, policy=policy).parent


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("log")


@pytest.fixture(scope="module")
def served(
    exported_policy: pathlib.Path, log: pathlib.Path, serve_for_module: Callable[..., Any]
) -> Any:
    (log / "rules.yaml").write_text("pin: {P000003: 2}\nexclude: [P000004]\n")
    return serve_for_module(
        exported_policy,
        model={"warm_up": False},
        rerank={
            "exploration": "pair_swap",
            "options": {"epsilon": 0.6},
            "rules": str(log / "rules.yaml"),
            "switch": str(log / "off"),
        },
        log={"folder": str(log / "pages")},
    )


def test_pages_are_those_of_the_policy_but_for_exploration(
    served: Any, exported_policy: pathlib.Path, log: pathlib.Path
) -> None:
    staged = StagedRanker.load(exported_policy)
    items = [f"P{number:06d}" for number in range(1, 13)]
    rules = Rules(pin={"P000003": 2}, exclude=("P000004",))
    explored = 0
    for number in range(12):
        asked = {"query": f"red dress {number}", "candidates": items[number % 3 :]}
        reply = served.http.post("/rank", json=asked | {"rerank": True}).json()
        got = [entry["item"] for entry in reply["ranked"]]
        wanted = staged.rank(**asked, rerank=Rearranged(rules))
        base = [asked["candidates"][wanted.order[i]] for i in wanted.page.base]
        assert sorted(got) == sorted(base)
        explored += reply["explored"]
        if not reply["explored"]:
            assert got == base
        (log / "off").touch()
        off = served.http.post("/rank", json=asked | {"rerank": True}).json()
        (log / "off").unlink()
        ruled = staged.rank(**asked, rerank=Rearranged(rules, policy=False))
        assert [entry["item"] for entry in off["ranked"]] == [
            asked["candidates"][ruled.order[i]] for i in ruled.page.base
        ]
        assert off["policy"] == "off"
    assert 0 < explored < 12
    served.stop()
    pages = [page.shown for page in read_page_log(log / "pages").pages]
    assert [page.policy for page in pages] == [True, False] * 12
    assert all(page.seen is not None for page in pages[::2])


def test_a_guarded_policy_is_not_served_with_an_exploration_that_breaks_guards(
    exported_policy: pathlib.Path, serve: Callable[..., Any]
) -> None:
    with pytest.raises(UserError, match="use pair_swap") as caught:
        serve(exported_policy, model={"warm_up": False}, rerank={"exploration": "epsilon"})
    assert not isinstance(caught.value, ConfigError)
