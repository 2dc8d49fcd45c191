"""Episodes on pages of several lengths: how they end, and that padding changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from mmrank.reranking import Page, RerankEnv, draw_page
from mmrank.reranking.dqn import Policy, QNetwork
from mmrank.reranking.moves import FINISH
from mmrank.reranking.playing import played


@pytest.fixture(scope="module")
def pages() -> list[Page]:
    rng = np.random.default_rng(1)
    return [draw_page(4, rng, shortest=2) for _ in range(20)]


@pytest.fixture(scope="module")
def policy(pages: list[Page]) -> Policy:
    policy = Policy(QNetwork(width=8, heads=2, layers=1))
    policy.orders(pages[:1], RerankEnv(size=4))
    # Heads begin at zero; these are weights as after training.
    rng = np.random.default_rng(2)
    network = policy.network
    network.set_weights([w + rng.normal(0, 0.5, w.shape) for w in network.get_weights()])
    return policy


def test_lengths_are_drawn_evenly() -> None:
    rng = np.random.default_rng(1)
    sizes = [draw_page(5, rng, shortest=3).size for _ in range(3000)]
    counts = np.bincount(sizes, minlength=6)[3:] / 3000
    np.testing.assert_allclose(counts, 1 / 3, atol=0.04)  # 4 standard deviations


@pytest.mark.parametrize("most", [5, None])
def test_padding_changes_nothing(pages: list[Page], policy: Policy, most: int | None) -> None:
    tight = [policy.orders([p], RerankEnv(size=p.size, most_moves=most))[0] for p in pages]
    for size in (4, 9):
        given = policy.orders(pages, RerankEnv(size=size, most_moves=most))
        assert [order.tolist() for order in given] == [order.tolist() for order in tight]
    assert any(order.tolist() != sorted(order) for order in tight)


def test_a_larger_environment_only_pads(pages: list[Page], policy: Policy) -> None:
    for page in pages[:5]:
        seen = []
        for size in (page.size, 9):
            env = RerankEnv(size=size, most_moves=None)
            env.reset(options={"page": page})
            seen.append(env.step(1)[0])
        for name in ("candidates", "mask", "actions"):
            np.testing.assert_array_equal(seen[1][name][: page.size], seen[0][name])
            assert not seen[1][name][page.size :].any()
        assert seen[0]["moves"] == seen[1]["moves"]
        values = [policy.values([each])[0, : page.size] for each in seen]
        np.testing.assert_allclose(values[0], values[1], atol=1e-5)


@pytest.mark.parametrize(("size", "moves"), [(1, 1), (2, 1), (3, 3), (4, 6)])
def test_a_page_has_the_moves_that_its_orders_need(size: int, moves: int) -> None:
    env = RerankEnv(size=5, most_moves=None)
    page = draw_page(size, np.random.default_rng(1))
    seen, _ = env.reset(seed=1, options={"page": page})
    assert seen["moves"].tolist() == [1.0]
    ended = [env.step(1)[2] for _ in range(moves)]
    assert ended == [False] * (moves - 1) + [True]


def test_each_page_ends_by_itself(pages: list[Page]) -> None:
    """What chooses moves sees only pages that have not ended: here pages of 2 finish at once."""
    counts = []

    def choose(seen):
        counts.append(len(seen))
        return np.array([FINISH if each["mask"].sum() == 2 else 1 for each in seen])

    orders = played(choose, pages, RerankEnv(size=4, most_moves=3))
    longer = sum(page.size > 2 for page in pages)
    assert counts == [len(pages), longer, longer]
    for page, order in zip(pages, orders, strict=True):
        swapped = [1, 0, *range(2, page.size)]
        assert order.tolist() == ([0, 1] if page.size == 2 else swapped)
