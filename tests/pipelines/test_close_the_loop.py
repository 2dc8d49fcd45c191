"""The round from ranking to training again, played small through all its commands."""

from __future__ import annotations

import json
import pathlib

import pandas as pd
import pytest
import yaml

from mmrank.data.page_log import read_page_log
from pipelines.close_the_loop import main

PAGES = 25
CONFIG = {
    "data": {"buckets": [32]},
    "model": {
        "match": "none",
        "width": 8,
        "drop": ["title", "brand"],
        "encoders": {
            "text": {
                "layers": 1, "heads": 2, "hidden": 16, "intermediate": 16, "max_tokens": 8,
                "vocabulary_size": 300,
            }
        },
        "head": {"hidden": [8]},
        "order": "click * purchase",
    },
    "training": {"epochs": 1, "tasks": {"click": {}, "purchase": {"given": "click"}}},
    "evaluation": {"baselines": []},
}  # fmt: skip


@pytest.mark.slow
def test_one_round(tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    config, out = tmp_path / "small.yaml", tmp_path / "loop"
    config.write_text(yaml.safe_dump(CONFIG))
    small = ["--items", "80", "--old", "40", "--pages", str(PAGES), "--rounds", "1"]
    assert main(["--config", str(config), "--out", str(out), *small]) == 0

    log = read_page_log(out / "log")
    assert len(log.pages) == PAGES
    assert log.left_out() == ""
    assert any(page.clicks.any() for page in log.pages)
    assert any((page.shown.order != page.shown.base).any() for page in log.pages)
    swapped = [page.shown for page in log.pages if (page.shown.order != page.shown.base).any()]
    assert all(0 < shown.probability < 0.3 for shown in swapped)

    lists = pd.read_parquet(out / "data-1" / "lists.parquet")
    shown = {(p.shown.page, p.shown.items[c]) for p in log.pages for c in p.shown.order}
    assert set(zip(lists["list"], lists["item"], strict=True)) == shown
    rounds = json.loads((out / "rounds.json").read_text())
    assert sorted(rounds) == ["run-0", "run-1"]
    printed = capfd.readouterr().out
    for module in ("mmrank.rerank --log", "mmrank.export", "mmrank.judge", "mmrank.train"):
        assert f"$ python -m {module}" in printed

    assert main(["--config", str(config), "--out", str(out), *small]) == 2  # not overwritten
    assert "not empty" in capfd.readouterr().err


def test_wrong_arguments(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert main(["--config", "nothing.yaml", *out]) == 2
    assert "nothing.yaml: no such file" in capsys.readouterr().err
    assert main(["--config", "nothing.yaml", "--user", "saturated", *out]) == 2
    assert "saturation" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
