"""The file of a space: what is read, and what is refused before anything slow starts."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest
import yaml

from mmrank.config import ConfigError
from mmrank.tuning.reading import read_space
from mmrank.tuning.space import Space

BASE: dict[str, Any] = {
    "seed": 4,
    "model": {"head": {"hidden": [8]}},
    "training": {"epochs": 2, "learning_rate": 1e-3},
}


class Draws:
    """Suggests the last or highest value of everything, and records the calls."""

    def __init__(self) -> None:
        self.asked: dict[str, tuple[Any, ...]] = {}

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.asked[name] = tuple(choices)
        return choices[-1]

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        self.asked[name] = ("int", low, high, step, log)
        return high

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        self.asked[name] = ("float", low, high, step, log)
        return high


def space(tmp_path: pathlib.Path, actual: Any) -> Space:
    file = tmp_path / "space.yaml"
    file.write_text(actual if isinstance(actual, str) else yaml.safe_dump(actual), encoding="utf-8")
    return read_space(file, BASE)


def test_ranges_and_choices_are_drawn_and_set_in_the_base(tmp_path: pathlib.Path) -> None:
    text = """
training.learning_rate: {low: 1e-4, high: 1e-2, log: true}
training.weight_decay: {low: 0, high: 1}
training.epochs: {low: 2, high: 8, step: 3}
model.encoders.text.layers: {low: 1, high: 4, log: true}
model.head.hidden: [[8], [16, 8], []]
model.head.rank_model: [attention, null]
training.loss: [{name: softmax_loss}, {name: approx_ndcg_loss, options: {temperature: 1.0}}]
"""
    draws = Draws()
    found = space(tmp_path, text)
    values = found.suggest(draws)
    assert draws.asked == {
        "training.learning_rate": ("float", 1e-4, 1e-2, None, True),  # YAML 1.1 reads it as a text
        "training.weight_decay": ("float", 0.0, 1.0, None, False),  # a float's range, so not 0 or 1
        "training.epochs": ("int", 2, 8, 3, False),
        "model.encoders.text.layers": ("int", 1, 4, 1, True),
        "model.head.hidden": ("[8]", "[16, 8]", "[]"),
        "model.head.rank_model": ("attention", "null"),
        "training.loss": (
            "{name: softmax_loss}",
            "{name: approx_ndcg_loss, options: {temperature: 1.0}}",
        ),
    }
    assert found.plain(values) == {
        "seed": 4,
        "model": {
            "head": {"hidden": [], "rank_model": None},
            "encoders": {"text": {"layers": 4}},
        },
        "training": {
            "epochs": 8,
            "learning_rate": 1e-2,
            "weight_decay": 1.0,
            "loss": {"name": "approx_ndcg_loss", "options": {"temperature": 1.0}},
        },
    }
    assert BASE["training"] == {"epochs": 2, "learning_rate": 1e-3}


def test_values_of_the_base_are_drawn_if_the_space_contains_them(tmp_path: pathlib.Path) -> None:
    found = space(
        tmp_path,
        {
            "training.learning_rate": {"low": 1e-4, "high": 1e-2},
            "training.epochs": {"low": 3, "high": 9},  # the base config has 2
            "training.warmup": {"low": 0.0, "high": 0.2, "step": 0.05},  # 0.05 by default
            "training.patience": {"low": 1, "high": 9, "step": 4},  # 3 by default
            "model.head.hidden": [[16], [8]],
            "model.fusion": [{"name": "gated"}, {"name": "concat"}],
            "training.loss": [{"name": "list_mle_loss"}, {"name": "approx_ndcg_loss"}],
        },
    )
    assert found.drawn_for_base() == {
        "training.learning_rate": 1e-3,
        "training.warmup": 0.05,
        "model.head.hidden": "[8]",
        "model.fusion": "{name: concat}",  # the default
    }


@pytest.mark.parametrize(
    ("actual", "message"),
    [
        ("a: [", "space.yaml: not YAML"),
        ("- a", "expected keys of a config"),
        ("", "expected keys of a config"),
        ({"training.learning_rte": [1, 2]}, "did you mean 'training.learning_rate'?"),
        ({"learning_rate": [1, 2]}, "'learning_rate'; did you mean 'training.learning_rate'?"),
        ({"training.loss.nam": [1, 2]}, "did you mean 'training.loss.name'?"),
        ({"training.epochs.few": [1, 2]}, "training.epochs is a value, not a section"),
        ({"training.tasks.click.wieght": [1, 2]}, "'training.tasks.click.wieght'"),
        (
            {"training": {"learning_rate": [1, 2]}},
            "write training.learning_rate as one key, with dots",
        ),
        ({"model.width": 16}, "model.width: expected {low: …, high: …} or a list of choices"),
        ({"model.width": [16]}, "model.width: give two choices or more"),
        ({"model.head.hidden": [[8], [8]]}, "model.head.hidden: [8] is listed twice"),
        ({"model.width": {"low": 8}}, "model.width: has no high"),
        ({"model.width": {"low": 8, "hihg": 9}}, "unknown key 'hihg'; did you mean 'high'?"),
        ({"model.width": {"low": 8, "high": 8}}, "low 8 is not below high 8"),
        ({"model.width": {"low": "few", "high": 8}}, "low: expected a number, got 'few'"),
        ({"model.width": {"low": True, "high": 8}}, "low: expected a number, got True"),
        ({"model.width": {"low": 1, "high": float("inf")}}, "high: expected a number, got inf"),
        ({"model.width": {"low": 1, "high": 8, "log": "yes"}}, "log: expected true or false"),
        ({"model.width": {"low": 0, "high": 8, "log": True}}, "begins above 0"),
        ({"model.width": {"low": 1, "high": 8, "log": True, "step": 1}}, "do not go together"),
        ({"model.width": {"low": 1, "high": 8, "step": 0}}, "step 0: give a number above 0"),
        ({"model.width": {"low": 1, "high": 8, "step": 2}}, "no whole number of steps of 2"),
        (
            {"training.loss": [{}, {"name": "x"}], "training.loss.name": ["a", "b"]},
            "training.loss holds training.loss.name; leave one of them out",
        ),
        ({"training.select_metric": ["mrr", "map"]}, "trials are compared by it"),
        ({"evaluation.split": ["valid", "test"]}, "evaluates nothing"),
        ({"data.path": ["a", "b"]}, "name the dataset with --data"),
    ],
)
def test_wrong_spaces_are_one_line(tmp_path: pathlib.Path, actual: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        space(tmp_path, actual)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_reported(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_space(tmp_path / "no.yaml", BASE)
