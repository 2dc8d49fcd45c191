"""The benchmark of frozen towers: verdict and config. test_frozen_run.py tests its other parts."""

from __future__ import annotations

import pathlib

import pytest

from mmrank.data.tables import load_dataset
from pipelines.benchmarks.frozen_towers import Result, frozen_config, main


@pytest.mark.parametrize(
    ("result", "passed"),
    [
        (Result(before=20.0, after=1.0, one_pass=3.0, differ=1e-6, spread=0.1), True),
        (Result(before=19.9, after=1.0, one_pass=3.0, differ=1e-6, spread=0.1), False),
        (Result(before=90.0, after=1.0, one_pass=3.0, differ=1e-4, spread=0.1), False),
        (Result(before=90.0, after=1.0, one_pass=3.0, differ=0.0, spread=1e-7), False),
    ],
)
def test_the_verdict_requires_20_times_the_speed_and_equal_scores(result: Result, passed: bool):
    assert result.passed == passed
    assert f"{result.before:.1f}" in result.to_text()


def test_titles_queries_and_photos_have_frozen_encoders(tiny_shop: pathlib.Path):
    shop = load_dataset(tiny_shop)
    config = frozen_config("bert", "network.weights.h5", 32, pathlib.Path("cache"))
    names = {f.name for f in shop.schema.side("item", "query", "user", "pair")}
    used = names - set(config.model.drop)
    kinds = {f.name for f in shop.schema.features if f.kind in ("text", "image")}
    assert used & kinds == {"title", "query", "photo"}


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert "--text-handle models/minilm" in capsys.readouterr().out
