"""The configs that the experiment compares, and what it refuses."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest

from mmrank.config import load_config
from mmrank.config_checks import check_config
from mmrank.data.simulator.write import shop_schema
from mmrank.models import check_input_names
from pipelines.debias_report import DEBIASED, RAW, TRUE
from pipelines.debias_shop import CONFIG, main, variants


def test_variants_differ_only_in_their_labels() -> None:
    config = load_config(CONFIG)
    compared = variants(config, pathlib.Path("p.csv"))
    assert {RAW, TRUE, DEBIASED} < set(compared)
    for one in compared.values():
        check_config(one)
        training = dataclasses.replace(one.training, tasks=config.training.tasks)
        assert dataclasses.replace(one, training=training) == config
    # Only the last model uses true grades, in training or in the choice of the best epoch.
    for name, one in compared.items():
        assert one.training.select_by is None
        assert set(one.training.tasks) == ({"grade"} if name == TRUE else {"click"})
    assert compared[DEBIASED].training.tasks["click"].position_bias.propensities == "p.csv"


def test_nothing_is_overwritten(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").touch()
    assert main(["--out", str(tmp_path)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert main(["--out", str(tmp_path / "new"), "--resamples", "1"]) == 2
    assert not (tmp_path / "new").exists()


def test_its_features_can_be_read_by_a_ranker() -> None:
    schema = shop_schema(match=True)
    pairs = [feature.name for feature in schema.side("pair")]
    assert pairs == ["shared_words"]
    check_input_names([f.name for f in schema.side("item", "query", "user", "pair")], None)
