"""A policy that was trained: read from its folder, it orders pages as the environment does."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import yaml

from mmrank.config import ConfigError
from mmrank.reranking import RerankEnv, draw_page
from mmrank.reranking.columns import PageColumns
from mmrank.reranking.config import DrawnPages, RerankConfig
from mmrank.reranking.dqn import DQNOptions, Policy
from mmrank.reranking.guards import Guards, Rules
from mmrank.reranking.offline.options import OfflineOptions
from mmrank.reranking.trained import About, load_policy, network_of, write_about

SIZE = 4
SMALL = RerankConfig(
    pages=DrawnPages(size=SIZE),
    dqn=DQNOptions(width=8, heads=2, layers=1),
    offline=OfflineOptions(width=8, heads=2, layers=1),
)


def saved(folder: pathlib.Path, config: RerankConfig, about: About = About(3)) -> Policy:  # noqa: B008
    """A policy with random weights, written as a training writes it."""
    network = network_of(config, about.width)
    rng = np.random.default_rng(8)
    network.set_weights([rng.normal(0, 0.7, w.shape) for w in network.get_weights()])
    policy = Policy(network)
    policy.save(folder / "weights")
    (folder / "config.yaml").write_text(yaml.safe_dump(dataclasses.asdict(config)))
    write_about(folder, about)
    return policy


@pytest.mark.parametrize("agent", ["dqn", "cql"])
def test_orders_as_the_environment(tmp_path, agent) -> None:
    config = dataclasses.replace(SMALL, agent=agent, most_moves=3)
    policy, rng = saved(tmp_path, config), np.random.default_rng(1)
    pages = [draw_page(size, rng) for size in (4, 2, 3, 4, 4)]
    rules = Rules(pin={"1": 2})
    env = RerankEnv(size=SIZE, most_moves=3, guards=Guards(rules=rules))
    loaded = load_policy(tmp_path)
    assert loaded.size == SIZE
    for given, wanted in zip(loaded.orders(pages, rules), policy.orders(pages, env), strict=True):
        np.testing.assert_array_equal(given, wanted)


def test_the_agent_ranker_keeps_the_order(tmp_path) -> None:
    saved(tmp_path, dataclasses.replace(SMALL, agent="ranker"))
    page = draw_page(SIZE, np.random.default_rng(1))
    [order] = load_policy(tmp_path).orders([page])
    assert order.tolist() == list(range(SIZE))


def test_what_it_has_to_be_given_is_kept(tmp_path) -> None:
    about = About(3, PageColumns(price="cost"), "abc")
    saved(tmp_path, SMALL, about)
    assert load_policy(tmp_path).about == about
    wide = dataclasses.replace(draw_page(2, np.random.default_rng(1)), vector=np.ones([2, 5]))
    with pytest.raises(ValueError, match="vectors of width 5, but the policy learned from 3"):
        load_policy(tmp_path).orders([wide])


def test_damaged_folders(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"no policy.json, .* continue with --resume"):
        load_policy(tmp_path)
    saved(tmp_path, SMALL)
    for text in ("[1]", json.dumps({"width": "a"})):
        (tmp_path / "policy.json").write_text(text)
        with pytest.raises(ConfigError, match=r"policy.json"):
            load_policy(tmp_path)
    write_about(tmp_path, About(9))
    with pytest.raises(ConfigError, match="weights: damaged"):
        load_policy(tmp_path)
