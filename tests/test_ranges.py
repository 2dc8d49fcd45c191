"""Ranges by hand, every number of the config out of its range, and that each number has one."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any

import pytest

from mmrank.config import Config, ConfigError, FineTune, from_mapping
from mmrank.data.kinds import KINDS
from mmrank.encoders import encoder_of
from mmrank.encoders.behavior import HistoryOptions
from mmrank.ranges import Count, Dropped, Positive, Range, Share, Weight

ELSEWHERE = {FineTune}  # `mmrank.training.fine_tune` checks its numbers together


@pytest.mark.parametrize(
    ("kind", "inside", "outside", "actual"),
    [
        (Count, [1, 10**9], [0, -1], "1 or more"),
        (Positive, [1e-30, 5.0], [0.0, -0.1, math.nan, math.inf], "above 0"),
        (Weight, [0.0, 3.0], [-1e-9, math.nan, math.inf], "0 or more"),
        (Share, [0.0, 1.0], [-0.1, 1.1, math.nan], "0 to 1"),
        (Dropped, [0.0, 0.99], [1.0, -0.1], "0 to below 1"),
        (Annotated[float, Range(0, 1, above=True)], [1e-9, 1.0], [0.0, 1.1], "above 0 and up to 1"),
    ],
)
def test_bounds(kind: Any, inside: list[float], outside: list[float], actual: str) -> None:
    (bounds,) = kind.__metadata__
    assert all(value in bounds for value in inside)
    assert not any(value in bounds for value in outside)
    assert str(bounds) == actual


def numbers(cls: type) -> Iterator[tuple[str, Any]]:
    """Every number among the fields of a dataclass and of nested ones: its name and its type."""
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        for part in parts(hint):
            if dataclasses.is_dataclass(part) and part not in ELSEWHERE:
                yield from numbers(typing.cast(type, part))
            elif part in (int, float) or typing.get_origin(part) is Annotated:
                yield f"{cls.__name__}.{name}", part


def parts(hint: Any) -> Iterator[Any]:
    """The types that an optional value, a list or a mapping consists of."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union, tuple):
        for argument in arguments:
            yield from parts(argument)
    elif isinstance(origin, type) and issubclass(origin, typing.Mapping):  # type: ignore[arg-type]
        yield from parts(arguments[1])
    else:
        yield hint


def options() -> list[type]:
    kinds = [encoder_of(name).Options for name, kind in KINDS.items() if kind.encoder]
    return [Config, HistoryOptions, *kinds]


@pytest.mark.parametrize("cls", options(), ids=lambda cls: cls.__name__)
def test_every_number_has_a_range(cls: type) -> None:
    assert not [name for name, kind in numbers(cls) if kind in (int, float)]


@pytest.mark.parametrize(
    ("key", "value", "actual"),
    [
        ("training.batch_lists", -1, "1 or more"),
        ("training.batch_lists", 0, "1 or more"),
        ("training.learning_rate", -0.01, "above 0"),
        ("training.learning_rate", math.nan, "above 0"),
        ("training.warmup", 2, "0 to 1"),
        ("training.clip_norm", 0, "above 0"),
        ("training.epochs", 0, "1 or more"),
        ("training.patience", 0, "1 or more"),
        ("data.max_candidates", 1, "2 or more"),
        ("data.buckets", [8, 0], "1 or more"),
        ("model.width", 0, "1 or more"),
        ("model.head.hidden", [0], "1 or more"),
        ("model.head.dropout", 1, "0 to below 1"),
        ("model.trees.depths", [11], "1 to 10"),
        ("model.cross.sub_batch", 0, "1 or more"),
        ("model.cross.rescore", 0, "1 or more"),
        ("model.cross.fields.title", 0, "1 or more"),
        ("training.teacher.share", 0, "above 0 and up to 1"),
        ("seed", -1, "0 to 4294967295"),
    ],
)
def test_a_number_out_of_its_range_is_a_one_line_error(key: str, value: Any, actual: str) -> None:
    plain: Any = value
    for name in reversed(key.split(".")):
        plain = {name: plain}
    with pytest.raises(ConfigError) as caught:
        from_mapping(Config, plain, "config")
    wrong = value[-1] if isinstance(value, list) else value
    assert str(caught.value).endswith(f"expected {actual}, got {wrong}")
    assert "\n" not in str(caught.value)
    assert all(name in str(caught.value) for name in key.split("."))
