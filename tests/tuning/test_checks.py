"""The values of a space are checked with the config; the space that the project ships."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest

from mmrank.config import ConfigError, read_plain
from mmrank.data.simulator.write import shop_schema
from mmrank.ranking.losses import LAMBDA_WEIGHTS, loss_names
from mmrank.tuning.checks import check_space
from mmrank.tuning.reading import read_space
from mmrank.tuning.space import Choices, Range, Space

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            Choices("training.loss.name", ("softmax_loss", "softmax")),
            "s: training.loss.name: softmax: training.loss: unknown loss 'softmax'",
        ),
        (
            Choices("training.loss", ({"name": "softmax_loss"}, {"naem": "softmax_loss"})),
            "{naem: softmax_loss}: training: loss: unknown key 'naem'; did you mean 'name'?",
        ),
        (
            Choices("model.fusion.name", ("concat", "concta")),
            "s: model.fusion.name: concta: model.fusion: unknown fusion 'concta'",
        ),
        (Range("model.width", 8.5, 16.5), "s: model.width: 8.5: model: width: expected int"),
        (Choices("model.drop", ([], ["foto"])), "['foto']: model.drop: unknown feature 'foto'"),
        (Choices("model.encoders.text.layer", (1, 2)), "s: model.encoders.text.layer: 1: "),
        (Choices("model.width.narrow", (1, 2)), "s: model.width.narrow: 'width' is a value"),
    ],
)
def test_the_error_names_a_value_that_the_config_refuses(setting: Any, message: str) -> None:
    base = {"model": {"width": 16}, "training": {"epochs": 1}}
    message = message.replace("['foto']", "[foto]")
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_space(Space("s", (setting,), base), shop_schema())


def test_the_error_of_a_wrong_base_names_no_setting() -> None:
    base = {"training": {"select_metric": "ndgc"}}
    settings = (Choices("training.epochs", (1, 2)),)
    with pytest.raises(ConfigError, match=r"training.select_metric: .*ndcg"):
        check_space(Space("s", settings, base), shop_schema())


def test_the_shipped_space_has_every_loss_and_lambda_weight_and_fits_the_quickstart() -> None:
    base = read_plain(ROOT / "configs" / "quickstart.yaml")
    space = read_space(ROOT / "configs" / "space.yaml", base)
    check_space(space, shop_schema())
    (losses,) = [s for s in space.settings if s.key == "training.loss"]
    assert {loss["name"] for loss in losses.checked} == set(loss_names())
    assert {loss.get("lambda_weight") for loss in losses.checked} == {None, *LAMBDA_WEIGHTS}
    assert set(space.drawn_for_base()) == {s.key for s in space.settings}
