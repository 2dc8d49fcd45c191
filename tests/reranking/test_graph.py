"""A policy as one graph: the orders are those of the environment, move by move."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import tensorflow as tf

from mmrank.reranking import Page, RerankEnv, draw_page
from mmrank.reranking.dqn import Policy, QNetwork
from mmrank.reranking.graph import PolicyGraph, page_specs
from mmrank.reranking.guards import GuardOptions, Guards, Rules
from mmrank.tracing import traced

SIZE, MOST = 6, 5
LIMITS = {
    "no guard": GuardOptions(),
    "shift": GuardOptions(most_shift=1),
    "relevance": GuardOptions(least_relevance=0.97),
    "groups": GuardOptions(top=3, most_of_group=1),
    "all": GuardOptions(most_shift=2, least_relevance=0.9, top=2, most_of_group=1),
}
RULES = {"no rule": Rules(), "rules": Rules(pin={"4": 1}, boost={"5": 3})}


@pytest.fixture(scope="module")
def network() -> QNetwork:
    """A network whose values differ, as those of a trained one."""
    network = QNetwork(width=8, heads=2, layers=1)
    Policy(network).orders([draw_page(SIZE, np.random.default_rng(1))], RerankEnv(size=SIZE))
    rng = np.random.default_rng(8)
    network.set_weights([rng.normal(0, 0.7, w.shape) for w in network.get_weights()])
    bias = network.finish.layers[-1].bias
    bias.assign(bias - 3.0)  # so that some pages end early and others after the most moves
    return network


def graph_inputs(pages: Sequence[Page], guards: Guards, size: int) -> dict[str, tf.Tensor]:
    """The inputs of a graph for some pages, padded to a size with values that must not matter."""
    rng = np.random.default_rng(7)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in page_specs(3)}
    for page in pages:
        short = size - page.size
        for name in ("score", "attraction", "purchase", "dwell", "price"):
            columns[name].append(np.append(getattr(page, name), rng.uniform(1, 9, short)))
        columns["vector"].append(np.concatenate([page.vector, rng.normal(size=[short, 3])]))
        columns["group"].append(np.append(page.group, np.zeros(short, int)).astype(str))
        padding = np.arange(page.size, size)
        columns["start"].append(np.append(guards.start(page), padding))
        for name, rule in (("pinned", guards.rules.pin), ("boosted", guards.rules.boost)):
            wanted = [min(rule.get(item, 0), page.size) for item in page.item]
            columns[name].append(np.append(wanted, np.zeros(short, int)))
        columns["length"].append(np.array(page.size))
    specs = page_specs(3)
    return {
        n: tf.constant(np.stack(v).astype(object if n == "group" else specs[n].dtype.name))
        for n, v in columns.items()
    }


@pytest.mark.parametrize("most", [MOST, None])
@pytest.mark.parametrize("rules", RULES.values(), ids=list(RULES))
@pytest.mark.parametrize("limits", LIMITS.values(), ids=list(LIMITS))
def test_equals_the_environment(
    network: QNetwork, limits: GuardOptions, rules: Rules, most: int | None
) -> None:
    rng, guards = np.random.default_rng(5), Guards(limits, rules)
    pages = [draw_page(size, rng) for size in (6, 6, 6, 5, 4, 3, 2, 1) for _ in range(4)]
    wanted = Policy(network).orders(pages, RerankEnv(size=SIZE, most_moves=most, guards=guards))
    graph = PolicyGraph(network, most, limits)
    run = traced(lambda **page: graph(page)).get_concrete_function(**page_specs(3))
    given = run(**graph_inputs(pages, guards, SIZE))
    for row, (page, order) in enumerate(zip(pages, wanted, strict=True)):
        np.testing.assert_array_equal(given["order"][row, : page.size], order)
        opened = guards.open(page, guards.start(page), order)
        np.testing.assert_array_equal(given["open"][row, : page.size], opened)
    assert (given["moves"].numpy() > 0).any()
    bitten = limits != GuardOptions() or rules != Rules()
    assert (given["bites"].numpy() > 0).any() == bitten


def test_padding_changes_nothing(network: QNetwork) -> None:
    page, graph = draw_page(4, np.random.default_rng(2)), PolicyGraph(network)
    orders = [graph(graph_inputs([page], Guards(), n))["order"].numpy()[0] for n in (4, 6, 9)]
    for order in orders[1:]:
        np.testing.assert_array_equal(order[:4], orders[0])
        np.testing.assert_array_equal(order[4:], np.arange(4, len(order)))


def test_a_price_that_is_not_known_counts_as_usual(network: QNetwork) -> None:
    graph, fed = PolicyGraph(network), []
    for price in ([4.0, 0.0, 16.0], [4.0, 8.0, 16.0]):  # 8 is their geometric mean
        page = draw_page(3, np.random.default_rng(2))
        inputs = graph_inputs([page], Guards(), 3)
        fed.append(graph(inputs | {"price": tf.constant([price])})["order"].numpy())
    np.testing.assert_array_equal(*fed)
