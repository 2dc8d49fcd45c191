"""A config that fits a dataset, and the cost reported for it."""

from __future__ import annotations

import pathlib

import pytest

from mmrank.config import load_config
from mmrank.suggest import Need, main

SETTLED = (
    "--set=model.drop=[photo]",
    "--set=model.encoders.text={layers: 1, hidden: 16, heads: 2, max_tokens: 8}",
)


@pytest.mark.slow
def test_the_config_states_reasons_time_and_memory(
    tiny_shop: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shop.yaml"
    assert main(["--data", str(tiny_shop), "--out", str(out), *SETTLED]) == 0
    config = load_config(out)
    assert config.model.drop == ("photo",)
    assert config.model.encoders["text"]["hidden"] == 16
    assert config.training.epochs > 1
    head = [line for line in out.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert any(line.startswith("# model.width: ") for line in head)
    assert not any(line.startswith("# model.drop") for line in head)  # nobody chose it
    assert any("GiB of memory" in line for line in head)
    said = capsys.readouterr().out
    assert f"{config.training.epochs} epochs" in said

    before = out.read_text(encoding="utf-8")
    assert main(["--data", str(tiny_shop), "--out", str(out)]) == 2
    assert "exists and is never replaced" in capsys.readouterr().err
    assert out.read_text(encoding="utf-8") == before


def test_wrong_paths_and_values_are_refused_before_slow_work(
    tiny_shop: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(tiny_shop)]
    assert main([*data, "--out", str(tmp_path / "no" / "a.yaml")]) == 2
    assert "does not exist; create it first" in capsys.readouterr().err
    assert main([*data, "--out", str(tmp_path / "a.yaml"), "--set", "model.widht=3"]) == 2
    assert "width" in capsys.readouterr().err
    assert not (tmp_path / "a.yaml").exists()


def test_the_whole_time_is_preparation_and_all_epochs() -> None:
    assert str(Need(30.0, 60.0, 10, 3 * 2**30)) == (
        "at most 10 min on this machine: 30 s to prepare, 10 epochs of 60 s; 3.0 GiB of memory"
    )
