"""The complementary shop: what each kind of feature adds, by orders that use the true values."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
import pytest
import yaml

from mmrank.data.simulator import UserError, simulate
from mmrank.data.simulator.clicks import ClickModel
from mmrank.data.simulator.grades import held_share
from mmrank.data.simulator.kinds import COMPLEMENTARY, KINDS, OVERLAPPING, Kind
from mmrank.data.simulator.logs import make_log
from mmrank.data.simulator.products import make_products
from mmrank.data.simulator.queries import make_queries
from mmrank.data.simulator.summary import mean_ndcg
from mmrank.data.simulator.users import appeal, make_population
from mmrank.data.simulator.world import ATTRIBUTE_NAMES, ATTRIBUTES, column

ITEMS, QUERIES, USERS = 800, 300, 60
VISIBLE = [column("colour"), column("pattern")]
Order = Callable[[bool, bool, bool], float]


def order_of(kind: Kind) -> Order:
    """NDCG@10 of the order by expected use, with or without photos, tastes and numbers."""
    rng = np.random.default_rng(4)
    products = make_products(ITEMS, rng, kind)
    population = make_population(USERS, rng)
    queries = make_queries(QUERIES, products, rng, kind)
    lists, _ = make_log(QUERIES, products, population, queries, ClickModel(), rng, kind=kind)

    def ndcg(photos: bool, tastes: bool, numbers: bool) -> float:
        seen = dataclasses.replace(
            products, quality=products.quality if numbers else np.full(ITEMS, 0.6)
        )
        values = products.attributes.copy()
        if not photos:
            hidden = ~products.named[:, VISIBLE]
            values[:, VISIBLE] = np.where(hidden, -2, values[:, VISIBLE])
        if not numbers:
            values[:, column("price")] = -2
        scores = []
        for _, page in lists.groupby("list", sort=False):
            query, user = page["query"].iloc[0], page["user"].iloc[0]
            items = page["item"].to_numpy()
            wanted = queries.wanted[query]
            named = (wanted >= 0).sum()
            liked = (
                appeal(population, user, seen, items, kind) if tastes else np.full(len(page), 0.4)
            )
            use = (named * held_share(wanted, values[items]) + liked) / (named + 1)
            scores.append(np.where(products.types[items] == queries.types[query], use, -1))
        ordered = lists.assign(score=-np.concatenate(scores)).sort_values(
            ["list", "score"], kind="stable"
        )
        return mean_ndcg(ordered["list"].to_numpy(), ordered["grade"].to_numpy())[1]

    return ndcg


def test_complementary_photos_and_preferences_each_raise_ndcg() -> None:
    ndcg = order_of(COMPLEMENTARY)
    everything = ndcg(True, True, True)
    assert everything > 0.99
    assert ndcg(False, True, True) < everything - 0.08
    assert ndcg(True, False, True) < everything - 0.08
    assert ndcg(True, True, False) < everything - 0.01


def test_overlapping_photos_raise_ndcg_less() -> None:
    worth = [o(True, True, True) - o(False, True, True) for o in map(order_of, KINDS.values())]
    assert dict(zip(KINDS, worth, strict=True))["overlapping"] < max(worth) - 0.03


@pytest.mark.parametrize("kind", [OVERLAPPING, COMPLEMENTARY])
def test_a_kind_names_existing_attributes(kind: Kind) -> None:
    for table in (kind.in_title, kind.in_description, kind.asked, kind.tastes):
        assert set(table) <= set(ATTRIBUTES)
        assert all(0 <= value <= 1 for value in table.values())
    assert sum(kind.asked.values()) == pytest.approx(1)
    assert sum(kind.tastes.values()) == pytest.approx(1)
    assert sum(kind.named) == pytest.approx(1)


def test_complementary_texts_rarely_name_what_photos_show() -> None:
    products = make_products(2000, np.random.default_rng(0), COMPLEMENTARY)
    actual = dict(zip(ATTRIBUTE_NAMES, products.named.mean(0), strict=True))
    for name in ("colour", "pattern"):
        assert actual[name] == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 2000))
    # A title names it with probability .4; a description, which 85 of 100 items have, with .8.
    assert actual["style"] == pytest.approx(1 - 0.6 * (1 - 0.85 * 0.8), abs=0.04)
    queries = make_queries(300, products, np.random.default_rng(1), COMPLEMENTARY)
    assert not (queries.wanted[:, [column("style"), column("brand")]] >= 0).any()


def test_complementary_appeal_by_hand() -> None:
    products = make_products(60, np.random.default_rng(0), COMPLEMENTARY)
    users = make_population(2, np.random.default_rng(1))
    users.style[1, products.attributes[5, column("style")]] = 0.6
    users.level[1] = products.level[5] - 0.5
    raw = 0.7 * (0.7 * 0.6 + 0.3 * np.exp(-4.0)) + 0.3 * products.quality[5]
    found = appeal(users, 1, products, np.array([5]), COMPLEMENTARY)
    np.testing.assert_allclose(found, [1 / (1 + np.exp(-8 * (raw - 0.5)))], rtol=1e-12)


def test_the_kind_is_recorded_and_an_unknown_kind_is_refused(tmp_path: pathlib.Path) -> None:
    simulate(tmp_path / "shop", items=60, queries=10, users=2, kind="complementary")
    actual = yaml.safe_load((tmp_path / "shop" / "simulation.yaml").read_text(encoding="utf-8"))
    assert actual["arguments"]["kind"] == "complementary"
    with pytest.raises(UserError, match="kind is 'other', but must be one of overlapping, compl"):
        simulate(tmp_path / "no", items=60, queries=10, users=2, kind="other")
    assert not (tmp_path / "no").exists()
