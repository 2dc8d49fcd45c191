"""The command of the search: errors, results, continuing, and reproducing the best trial."""

from __future__ import annotations

import csv
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from mmrank.config import load_config
from mmrank.outputs import MissingExtra
from mmrank.tune import main

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMALL = """
seed: 1
model:
  width: 16
  match: none
  drop: [description, rating, rating_count, sales, tags, user, photo, history]
  encoders:
    text: {layers: 1, hidden: 16, heads: 2, intermediate: 16, max_tokens: 8, vocabulary_size: 300}
  head: {hidden: [16]}
training: {batch_lists: 16, epochs: 2, learning_rate: 0.01}
evaluation: {baselines: [random]}
"""
SPACE = """
training.learning_rate: {low: 1e-3, high: 5e-2, log: true}
training.epochs: {low: 1, high: 2}
model.head.hidden: [[16], []]
"""


@pytest.fixture
def files(tmp_path: pathlib.Path) -> list[str]:
    """The options of the config, the space, and a folder for the search."""
    return _files(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials", "0"], "--trials 0: give 1 or more"),
        (["--trials", "1", "--jobs", "0"], "--jobs 0: give 1 or more"),
        (["--trials", "1", "--hours", "0"], "--hours 0: give a number above 0"),
        (["--trials", "1"], "names no dataset; add --data DIR"),
        (
            ["--trials", "1", "--peers", "lambdamrat"],
            "unknown peer 'lambdamrat'; did you mean 'lambdamart'?",
        ),
        (["--trials", "1", "--data", "nowhere"], "nowhere"),
        (["--trials", "1", "--set", "training.epoch=3"], "did you mean 'epochs'?"),
        (
            ["--trials", "1", "--data", "x", "--set", "training.strategy=multi_worker"],
            "a trial is trained on one host",
        ),
        (["--trials", "1", "--data", "x", "--space", "no.yaml"], "no.yaml: no such file"),
    ],
)
def test_wrong_input_is_one_line(
    files: list[str],
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert main([*files, *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_config_without_a_model_is_referred_to_suggest(
    files: list[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.yaml").write_text("seed: 1\n", encoding="utf-8")
    assert main([*files, "--trials", "1", "--data", "x"]) == 2
    assert "`python -m mmrank.suggest` writes a config" in capsys.readouterr().err


def test_without_optuna_the_extra_is_named(
    files: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(what: str, module: str, extra: str) -> None:
        assert module == "optuna"
        raise MissingExtra(f"{what}: {extra}")

    monkeypatch.setattr("mmrank.tune.require_extra", missing)
    assert main([*files, "--trials", "1"]) == 2
    assert capsys.readouterr().err == "error: mmrank.tune: tune\n"


def test_a_value_that_the_config_refuses_is_reported_before_data_is_read(
    files: list[str],
    tiny_shop: pathlib.Path,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "space.yaml").write_text("training.loss.name: [softmax_loss, sofmax_loss]\n")
    (tmp_path / "data").mkdir()
    shutil.copy(tiny_shop / "schema.yaml", tmp_path / "data")
    assert main([*files, "--trials", "1", "--data", str(tmp_path / "data")]) == 2
    said = capsys.readouterr().err
    assert "space.yaml: training.loss.name: sofmax_loss: training.loss: unknown loss" in said
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def searched(
    tiny_shop: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[pathlib.Path, list[str]]:
    """A search of two trials that was killed in the second and continued, and its command."""
    folder = tmp_path_factory.mktemp("search")
    out = folder / "out"
    command = [*_files(folder), "--trials", "2", "--data", str(tiny_shop)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "mmrank.tune", *command], env=environment
    ) as process:
        _wait_until(lambda: (out / "trials" / "1" / "log.txt").is_file(), process)
        children = _children(process.pid)
        process.kill()
    assert children
    _wait_until(lambda: not any(_runs(child) for child in children))
    assert main(command) == 0
    return out, command


@pytest.mark.slow
def test_a_search_continues_after_kill_9(searched: tuple[pathlib.Path, list[str]]) -> None:
    out, command = searched
    rows = _rows(out)
    assert [(row["trial"], row["end"]) for row in rows] == [("0", "whole"), ("2", "whole")]
    assert main(command) == 0  # finished: nothing is trained again
    assert _rows(out) == rows
    other = out.parent / "other.yaml"
    other.write_text("training.epochs: [1, 2]\n", encoding="utf-8")
    assert main([*command, "--space", str(other)]) == 2


@pytest.mark.slow
def test_the_best_config_reproduces_its_figure(
    searched: tuple[pathlib.Path, list[str]], tmp_path: pathlib.Path
) -> None:
    from mmrank.train import main as train

    out, _ = searched
    best = max(_rows(out), key=lambda row: float(row["figure"]))
    head = (out / "best.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert head.startswith(f"# ndcg@10 {float(best['figure']):.4f} on the validation lists")
    config = load_config(out / "best.yaml")
    assert config.training.learning_rate == float(best["training.learning_rate"])
    assert train(["--config", str(out / "best.yaml"), "--out", str(tmp_path / "run")]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["validation_ndcg@10"] == pytest.approx(float(best["figure"]), abs=1e-6)


@pytest.mark.slow
def test_test_lists_do_not_change_a_search(
    searched: tuple[pathlib.Path, list[str]], tiny_shop: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """With other grades and queries in the test lists, config and peer have the same figures."""
    pytest.importorskip("lightgbm")
    data = tmp_path / "poisoned"
    shutil.copytree(tiny_shop, data)
    lists = pd.read_parquet(data / "lists.parquet")
    test = (lists["split"] == "test").to_numpy()
    assert 0 < test.sum() < len(lists)
    lists.loc[test, "grade"] = np.arange(test.sum()) % 2 * 4
    lists.loc[test, "query"] = "poison"
    lists.to_parquet(data / "lists.parquet", index=False)
    options = ["--trials", "2", "--jobs", "2", "--data", str(data)]
    peer = ["--peers", "lambdamart"]
    assert main([*_files(tmp_path), *options, *peer]) == 0
    figures = [
        {row["trial"]: row["figure"] for row in _rows(out)}["0"]
        for out in (searched[0], tmp_path / "out")
    ]
    assert figures[0] == figures[1] != ""
    assert main([*searched[1], *peer]) == 0
    tunings = [
        json.loads((out / "peers.json").read_text(encoding="utf-8"))["lambdamart"]["tuning"]
        for out in (searched[0], tmp_path / "out")
    ]
    assert tunings[0] == tunings[1]
    assert tunings[0]["trials"] == 2
    assert 0 < tunings[0]["validation"] <= 1


def _files(folder: pathlib.Path) -> list[str]:
    """Writes a config and a space, and returns the options of the command."""
    (folder / "small.yaml").write_text(SMALL, encoding="utf-8")
    (folder / "space.yaml").write_text(SPACE, encoding="utf-8")
    options = {"config": "small.yaml", "space": "space.yaml", "out": "out"}
    return [word for o, file in options.items() for word in (f"--{o}", str(folder / file))]


def _rows(out: pathlib.Path) -> list[dict[str, str]]:
    with (out / "trials.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _wait_until(true: object, process: subprocess.Popen[bytes] | None = None) -> None:
    end = time.monotonic() + 240
    assert callable(true)
    while not true():
        assert time.monotonic() < end
        assert process is None or process.poll() is None
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    """The child processes of a process."""
    finished = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, check=True
    )
    return [int(word) for word in finished.stdout.split()]


def _runs(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    stat = pathlib.Path("/proc") / str(pid) / "stat"
    return stat.is_file() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
