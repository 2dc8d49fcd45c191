import numpy as np
import pytest

from mmrank.data.simulator import world
from mmrank.data.simulator.clock import LOG_END, LOG_START, START
from mmrank.data.simulator.products import Products, make_products
from mmrank.data.simulator.queries import Queries, make_queries


@pytest.fixture(scope="module")
def products() -> Products:
    return make_products(3000, np.random.default_rng(0))


@pytest.fixture(scope="module")
def queries(products: Products) -> Queries:
    return make_queries(800, products, np.random.default_rng(1))


def _says(text: str, value: world.Value) -> bool:
    return any(word in text for word in value.zh + value.en)


def test_named_attributes_are_in_the_texts(products: Products) -> None:
    for i in range(300):
        text = products.title[i] + " " + (products.description[i] or "")
        for a, attribute in enumerate(world.ATTRIBUTE_NAMES):
            value = world.value_of(attribute, products.attributes[i, a])
            if products.named[i, a]:
                assert _says(text, value), (attribute, text)
            elif attribute in ("colour", "material"):
                assert not _says(text, value), (attribute, text)


def test_shares_of_texts_without_visible_attributes(products: Products) -> None:
    # A title names it with probability .45; a description (of 85 in 100 items) with .05.
    silent = (1 - 0.45) * (1 - 0.85 * 0.05)
    for name in ("colour", "pattern"):
        found = 1 - products.named[:, world.column(name)].mean()
        assert found == pytest.approx(silent, abs=3 * np.sqrt(0.25 / len(products)))
    missing = np.mean([d is None for d in products.description])
    assert missing == pytest.approx(0.15, abs=0.02)
    assert all(products.title)


def test_both_languages_occur(products: Products) -> None:
    chinese = np.array([any("\u4e00" <= c <= "\u9fff" for c in t) for t in products.title])
    english = np.array([any("a" <= c <= "z" for c in t) for t in products.title])
    assert (chinese & ~english).mean() > 0.2
    assert (english & ~chinese).mean() > 0.2
    assert (chinese & english).mean() > 0.2


def test_numbers_by_their_formulas(products: Products) -> None:
    base = np.array([world.TYPES[t].price for t in products.types])
    np.testing.assert_allclose(
        products.price, base * np.exp(1.6 * (products.level - 0.5)), atol=0.051
    )
    np.testing.assert_array_equal(np.isnan(products.rating), products.rating_count == 0)
    rated = ~np.isnan(products.rating)
    assert ((products.rating[rated] >= 1) & (products.rating[rated] <= 5)).all()
    often = products.rating_count > 15
    assert np.corrcoef(products.rating[often], products.quality[often])[0, 1] > 0.9


def test_late_items_have_no_sales_yet(products: Products) -> None:
    late = products.arrived >= LOG_START
    assert late.mean() == pytest.approx(0.12, abs=0.02)
    assert (products.arrived < LOG_END).all()
    assert (products.arrived[~late] < START).all()
    assert (products.sales[late] == 0).all()
    assert (products.rating_count[late] == 0).all()


def test_a_material_suits_its_type(products: Products) -> None:
    column = world.column("material")
    for kind, values in zip(products.types[:300], products.attributes[:300], strict=True):
        assert world.MATERIALS[values[column]].key in world.TYPES[kind].materials


def test_a_query_names_only_its_attributes(queries: Queries) -> None:
    for text, kind, wanted in zip(queries.text, queries.types, queries.wanted, strict=True):
        assert _says(text, world.TYPES[kind].value)
        for a, attribute in enumerate(world.ATTRIBUTE_NAMES):
            if wanted[a] >= 0:
                assert _says(text, world.value_of(attribute, wanted[a]))
        assert (wanted >= 0).sum() <= 2


def test_queries_are_distinct_and_follow_zipf(queries: Queries) -> None:
    assert len(set(queries.text)) == len(queries.text) == len(queries)
    assert queries.popularity.sum() == pytest.approx(1)
    assert queries.popularity[0] / queries.popularity[31] == pytest.approx(32**0.8)


def test_no_query_names_a_middle_price(queries: Queries) -> None:
    assert not (queries.wanted[:, world.column("price")] == 1).any()


def test_every_query_has_a_fitting_product(products: Products, queries: Queries) -> None:
    for kind, wanted in zip(queries.types[:100], queries.wanted[:100], strict=True):
        named = wanted >= 0
        fits = (products.types == kind) & (products.attributes[:, named] == wanted[named]).all(1)
        assert fits.any()
