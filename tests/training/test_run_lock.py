"""One training at a time in a folder, however the previous one ended."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from mmrank.outputs import OutputError
from mmrank.train import main
from mmrank.training.run_lock import LOCK, locked_run

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOLD = """
import pathlib, sys, time
from mmrank.training.run_lock import locked_run
with locked_run(pathlib.Path(sys.argv[1])):
    time.sleep(60)
"""


def test_a_second_training_is_refused_with_the_owner(tmp_path: pathlib.Path) -> None:
    with locked_run(tmp_path):
        actual = f"process {os.getpid()} on .* is training this run"
        with pytest.raises(OutputError, match=actual), locked_run(tmp_path):
            pass
        assert (tmp_path / LOCK).exists()  # the refused training leaves it alone
    assert list(tmp_path.iterdir()) == []
    with locked_run(tmp_path):
        pass


def test_a_folder_that_stays_empty_is_removed(tmp_path: pathlib.Path) -> None:
    with locked_run(tmp_path / "a" / "run"):
        assert (tmp_path / "a" / "run").is_dir()
    assert not (tmp_path / "a" / "run").exists()
    with locked_run(tmp_path / "b"):
        (tmp_path / "b" / "config.yaml").touch()
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["config.yaml"]


def test_the_lock_of_an_owner_killed_by_kill_9_is_taken_over(tmp_path: pathlib.Path) -> None:
    run = tmp_path / "run"
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        deadline = time.monotonic() + 60
        while not ((run / LOCK).is_file() and (run / LOCK).read_text()):
            assert owner.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(OutputError, match=f"process {owner.pid} on"), locked_run(run):
            pass
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    assert (run / LOCK).is_file()
    with locked_run(run):
        assert f"process {os.getpid()} on" in (run / LOCK).read_text()


def test_the_command_refuses_a_run_that_is_being_trained(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "state.json").write_text('{"data": "nowhere"}')
    with locked_run(run):
        code = main(["--data", str(tmp_path), "--out", str(run), "--resume"])
    output = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert output[-1].startswith("error: ")
    assert "is training this run; wait until it has ended" in output[-1]


def test_a_folder_with_only_a_lock_counts_as_empty(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / LOCK).touch()
    main(["--data", str(tmp_path / "missing"), "--out", str(run)])
    actual = capsys.readouterr().err
    assert "not empty" not in actual
    assert "missing" in actual


def test_runs_without_a_name_get_different_folders(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "shop-1").mkdir(parents=True)
    assert main(["--data", str(tmp_path / "shop")]) == 2
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["shop-1"]
