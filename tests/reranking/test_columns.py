"""Which columns of a ranker a policy reads."""

from __future__ import annotations

import pytest

from mmrank.config import ConfigError
from mmrank.reranking.columns import PageColumns
from mmrank.schema import Catalog, Feature, Lists, Schema

SCHEMA = Schema(
    name="shop",
    catalog=Catalog(),
    lists=Lists(),
    events=None,
    features=(
        Feature("price", "number", "item", "price"),
        Feature("cost", "number", "item", "cost"),
        Feature("maker", "category", "item", "maker"),
    ),
)


def test_usual_names_that_are_missing_become_empty() -> None:
    found = PageColumns().of_ranker(SCHEMA, ["click"])
    assert found == PageColumns("price", "", "click", "", "")


def test_names_that_are_given_have_to_be_there() -> None:
    found = PageColumns(price="cost", group="maker", click="buy").of_ranker(SCHEMA, ["buy"])
    assert (found.price, found.group, found.click) == ("cost", "maker", "buy")
    with pytest.raises(ConfigError, match=r"columns.price: .* number of the item 'maker'"):
        PageColumns(price="maker").of_ranker(SCHEMA, [])
    with pytest.raises(ConfigError, match=r"columns.group: .* 'makr'; did you mean 'maker'"):
        PageColumns(group="makr").of_ranker(SCHEMA, [])
    with pytest.raises(ConfigError, match=r"columns.click: the ranker has no task 'clicks'"):
        PageColumns(click="clicks").of_ranker(SCHEMA, ["click"])
