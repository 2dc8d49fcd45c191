"""The network values a move by the page after it, with features as the environment has them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.reranking import USERS, RerankEnv, draw_page
from mmrank.reranking.dqn.network import CLOSED
from mmrank.reranking.exploration import PairSwap
from mmrank.reranking.graph import PolicyGraph, page_specs
from mmrank.reranking.guards import Guards
from mmrank.reranking.offline.network import PageNetwork, after_each
from mmrank.reranking.offline.observer import LogObserver
from mmrank.reranking.offline.rearranging import orders_by
from mmrank.reranking.played import draw_pages, played_log
from mmrank.reranking.playing import stacked
from mmrank.reranking.trained import padded_inputs
from mmrank.tracing import traced


def seen(env: RerankEnv, size: int, seed: int = 1) -> dict[str, np.ndarray]:
    page = draw_page(size, np.random.default_rng(seed))
    return env.reset(seed=0, options={"page": page})[0]


def test_candidates_after_each_action_are_those_of_the_environment() -> None:
    env = RerankEnv(size=5, most_moves=6)
    seen(env, 4)
    before, *_ = env.step(2)
    after = after_each(tf.constant(before["candidates"])[tf.newaxis])[0].numpy()
    page, order = env.page, env.order
    for action in range(4):
        copy = RerankEnv(size=5, most_moves=6)
        copy.reset(seed=0, options={"page": page})
        copy.step(2)
        assert copy.order.tolist() == order.tolist()
        wanted = copy.step(action)[0]["candidates"]
        np.testing.assert_allclose(after[action], wanted, atol=1e-6)


def test_a_position_does_not_depend_on_those_below() -> None:
    network = PageNetwork(1, width=8, heads=2, layers=2)
    one = stacked([seen(RerankEnv(size=4, most_moves=1), 4)])
    _, earned = network.parts(one)
    changed = {**one, "candidates": one["candidates"].copy()}
    changed["candidates"][0, 3] += 1.0
    _, other = network.parts(changed)
    np.testing.assert_allclose(earned[0, 0, :3], other[0, 0, :3], atol=1e-6)
    assert abs(float(earned[0, 0, 3] - other[0, 0, 3])) > 1e-6


def test_padding_changes_nothing() -> None:
    for most_moves in (2, None):
        network = PageNetwork(most_moves, width=8, heads=2, layers=1)
        short = network(stacked([seen(RerankEnv(size=3, most_moves=most_moves), 3)]))
        network.further.layers[-1].kernel.assign(tf.ones([8, 1]))
        short = network(stacked([seen(RerankEnv(size=3, most_moves=most_moves), 3)]))
        long = network(stacked([seen(RerankEnv(size=5, most_moves=most_moves), 3)]))
        np.testing.assert_allclose(long[0, :3], short[0], atol=1e-5)
        assert (long[0, 3:].numpy() == CLOSED).all()


def test_further_moves_count_only_where_some_are_left() -> None:
    network = PageNetwork(2, width=8, heads=2, layers=1)
    env = RerankEnv(size=3, most_moves=2)
    first = stacked([seen(env, 3)])
    last = stacked([env.step(1)[0]])
    network(first)
    network.further.layers[-1].bias.assign([1.0])
    for given, further in ((first, [0.0, 1.0, 1.0]), (last, [0.0, 0.0, 0.0])):
        values, earned = network.parts(given)
        np.testing.assert_allclose(values - tf.reduce_sum(earned, -1), [further], atol=1e-5)


@pytest.mark.parametrize("most_moves", [2, None])
def test_the_graph_of_a_policy_shows_the_same_orders(most_moves: int | None) -> None:
    pages = draw_pages(lambda rng: draw_page(4, rng), 20, seed=1)
    log = played_log(pages, PairSwap(), USERS.make("cascade"), seed=1)
    network, rng = PageNetwork(most_moves, width=8, heads=2, layers=1), np.random.default_rng(1)
    network(stacked([seen(RerankEnv(size=4), 4)]))
    network.set_weights([rng.normal(0, 0.5, w.shape) for w in network.get_weights()])
    orders = orders_by(network, LogObserver(log, most_moves))
    assert (orders != np.arange(4)).any()
    graph = PolicyGraph(network, most_moves)
    run = traced(lambda **page: graph(page)).get_concrete_function(**page_specs(3))
    shown = run(**padded_inputs(list(log.each()), Guards(), 3))["order"]
    np.testing.assert_array_equal(shown, orders)
