"""The command line of the missing-modality curve; the curve itself is tested in evaluation/."""

from __future__ import annotations

import importlib.util
import pathlib

import pytest

from mmrank.missing import main


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--run", "nowhere"], "nowhere: no such folder"),
        (["--shares", "0,120"], "give percentages from 0 to 100"),
        (["--shares", "half"], "give percentages from 0 to 100"),
        (["--plot", "curve.txt"], "end its name in .png, .svg or .pdf"),
        (["--plot", "nowhere/curve.png"], "the folder nowhere does not exist"),
        (["--json", "mine.json"], "mine.json exists; add --force"),
    ],
)
def test_wrong_input_is_one_line(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "mine.json").write_text("mine", encoding="utf-8")
    assert main(["--run", "run", "--modality", "photo", *args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert (tmp_path / "mine.json").read_text(encoding="utf-8") == "mine"


def test_without_matplotlib_the_extra_is_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    args = ["--run", str(tmp_path), "--modality", "photo", "--plot", str(tmp_path / "c.png")]
    assert main(args) == 2
    assert "pip install -e '.[plots]'" in capsys.readouterr().err


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    assert "python -m mmrank.missing --run" in capsys.readouterr().out
