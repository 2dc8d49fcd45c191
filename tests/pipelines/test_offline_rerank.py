"""The check of offline learning: what it prints and writes, and wrong input."""

from __future__ import annotations

import json
import pathlib

import pytest

from pipelines.offline_rerank import main


@pytest.mark.slow
def test_a_small_run(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    small = ["--pages", "6000", "--test", "200", "--updates", "10"]
    assert main(["--user", "anchoring", "--out", str(out), *small]) == 0
    shown = capsys.readouterr().out
    assert "anchoring: 6000 logged pages, most moves 1" in shown
    result = json.loads((out / "offline_rerank.json").read_text())
    assert [row["agent"] for row in result["agents"]] == ["cql", "cloning"]
    for row in result["agents"]:
        assert (out / row["agent"] / "weights.index").is_file()
        assert row["true"]["low"] <= row["true"]["mean"] <= result["one_swap"]
        assert row["predicted"]["overlap"]["pages"] == 3000
        assert f"{row['true']['mean']:+.4f}" in shown
    assert main(["--out", str(out)]) == 2
    assert "exists and is not empty" in capsys.readouterr().err


def test_wrong_input(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--user", "satiation", "--out", str(tmp_path / "out")]) == 2
    assert "unknown user model 'satiation'; did you mean 'saturation'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit):
        main(["--pages", "0", "--out", str(tmp_path / "out")])
    assert "must be 1 or more" in capsys.readouterr().err
