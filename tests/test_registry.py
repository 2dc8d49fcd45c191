"""Every registry refuses unknown names and options in the same way, and accepts new entries."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from mmrank.collaborative.scorers import SCORERS
from mmrank.config import ConfigError
from mmrank.evaluation.baselines import BASELINES
from mmrank.evaluation.peers import PEERS
from mmrank.fusion import FUSIONS
from mmrank.matching.extras import EXTRAS
from mmrank.outputs import MissingExtra
from mmrank.propensity import METHODS
from mmrank.ranges import Count, Share
from mmrank.ranking.heads import SHARINGS
from mmrank.ranking.lambda_weights import LAMBDA_WEIGHTS
from mmrank.ranking.losses import LOSSES
from mmrank.ranking.multitask import MULTITASK
from mmrank.ranking.rank_models import RANK_MODELS
from mmrank.registry import Entry, Registry
from mmrank.training.strategy import STRATEGIES
from pipelines.preparers import PREPARERS

REGISTRIES = (
    BASELINES,
    EXTRAS,
    FUSIONS,
    LAMBDA_WEIGHTS,
    LOSSES,
    METHODS,
    MULTITASK,
    PEERS,
    PREPARERS,
    RANK_MODELS,
    SCORERS,
    SHARINGS,
    STRATEGIES,
)
ENTRIES = [
    pytest.param(registry, name, id=f"{registry.what}-{name}")
    for registry in REGISTRIES
    for name in registry
]


@dataclasses.dataclass(frozen=True)
class BoxOptions:
    height: Count
    filled: Share = 0.5


class Box:
    def __init__(self, colour: str, height: int, filled: float, lid: bool = False):
        self.colour, self.height, self.filled, self.lid = colour, height, filled, lid


def area(width: int, *, height: int, filled: float) -> float:
    return width * height * filled


@pytest.fixture
def boxes() -> Registry[Entry]:
    return Registry("box", {"plain": Entry(Box, BoxOptions)})


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda r: r.what)
def test_an_unknown_name_is_refused_with_the_nearest(registry: Registry[Any]) -> None:
    name = max(registry, key=len)
    wrong = name[:-1]
    with pytest.raises(ConfigError) as raised:
        registry.make(wrong, where="a.key")
    assert str(raised.value).startswith(f"a.key: unknown {registry.what} {wrong!r}; did you mean '")
    assert name in str(raised.value)
    with pytest.raises(ConfigError, match="; known: ") as raised:
        registry.make("?")
    assert all(known in str(raised.value) for known in registry)


@pytest.mark.parametrize(("registry", "name"), ENTRIES)
def test_an_unknown_option_is_refused(registry: Registry[Any], name: str) -> None:
    known = [field.name for field in dataclasses.fields(registry[name].Options)]
    wrong = f"{known[0]}_" if known else "size"
    with pytest.raises(ConfigError) as raised:
        registry.make(name, {wrong: 1}, where="a.key")
    hint = f"did you mean {known[0]!r}?" if known else "it takes no options"
    expected = f"a.key: {registry.what} {name}: unknown option {wrong!r}; {hint}"
    assert str(raised.value) == expected


@pytest.mark.parametrize(("registry", "name"), ENTRIES)
def test_every_entry_has_a_frozen_dataclass_of_options(registry: Registry[Any], name: str) -> None:
    assert registry[name].Options.__dataclass_params__.frozen


def test_options_and_arguments_reach_the_class(boxes: Registry[Entry]) -> None:
    box = boxes.make("plain", {"height": 3}, "red", lid=True)
    assert (box.colour, box.height, box.filled, box.lid) == ("red", 3, 0.5, True)
    again = boxes.make("plain", BoxOptions(height=9), "red")
    assert again.height == 9


def test_a_function_gets_its_options_before_its_arguments(boxes: Registry[Entry]) -> None:
    boxes["area"] = Entry.function(area, BoxOptions)
    assert boxes.make("area", {"height": 3, "filled": 1})(2) == 2 * 3 * 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "k: box plain: needs the option height"),
        ({"height": 0}, "k: box plain: height: expected 1 or more, got 0"),
        ({"height": "high"}, "k: box plain: height: expected int, got 'high'"),
        ({"height": 1, "filled": 1.5}, "k: box plain: filled: expected 0 to 1, got 1.5"),
        ({"height": 1, "fillde": 1}, "k: box plain: unknown option 'fillde'; did you mean"),
    ],
)
def test_values_that_do_not_fit_are_refused(
    boxes: Registry[Entry], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        boxes.options("plain", options, "k")
    assert str(raised.value).startswith(message)


def test_a_section_of_several_entries_is_split(boxes: Registry[Entry]) -> None:
    assert boxes.pick("plain", {"height": 3, "weight": 2}) == {"height": 3}


def test_what_is_not_an_entry_is_refused(boxes: Registry[Entry]) -> None:
    with pytest.raises(TypeError, match="box 'mine': wrap it in an Entry"):
        boxes["mine"] = Box  # type: ignore[assignment]
    with pytest.raises(TypeError, match="options of an entry must be a dataclass, got"):
        Entry(Box, dict)


def test_a_missing_module_is_reported_with_its_extra() -> None:
    boxes = Registry("box", {"plain": Entry(Box), "new": Entry(Box, needs=("no_such", "trees"))})
    boxes.check_installed("plain")
    with pytest.raises(MissingExtra, match=r"the box new needs no_such: pip install .*\[trees\]"):
        boxes.check_installed("new")
