"""The training command: refusals, where it writes, and the way from data to export."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest
import yaml

from mmrank.evaluate import main as evaluate
from mmrank.train import main

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMALL = """
seed: 1
model:
  width: 16
  drop: [description, rating, rating_count, sales, tags, user]
  encoders:
    text: {layers: 1, hidden: 16, heads: 2, intermediate: 16, max_tokens: 8, vocabulary_size: 300}
    photo: {height: 32, width: 32, network: EfficientNet, width_coefficient: 0.1,
            depth_coefficient: 0.1}
  head: {hidden: [16]}
training: {batch_lists: 16, epochs: 1}
evaluation: {baselines: [random, bm25, lambdamart], peer_trials: 1, without: [image, number]}
"""


@pytest.fixture
def config(tmp_path: pathlib.Path) -> pathlib.Path:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "training.epoch=3"], "unknown key 'epoch'; did you mean 'epochs'?"),
        (["--set", "training.epochs"], "write it as a.b=value"),
        (["--set", "training.epochs=many"], "training: epochs: expected int, got 'many'"),
        (["--data", "nowhere"], "nowhere"),
        ([], "names no dataset; add --data DIR"),
        (["--resume"], "give its folder"),
        (["--init-from", "nowhere"], "nowhere: no state.json, so this is not the folder of a run"),
        (["--set", "evaluation.baselines=[bm52]"], "unknown baseline 'bm52'"),
    ],
)
def test_wrong_input_is_a_one_line_error(
    config: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--config", str(config), *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("error: ") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small.yaml"]


def test_a_filled_folder_is_refused(
    config: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kept.txt").write_text("kept")
    assert main(["--config", str(config), "--data", "x", "--out", str(tmp_path / "mine")]) == 2
    assert "exists and is not empty" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["kept.txt"]


def test_data_with_errors_is_refused_before_training(
    config: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    schema = {
        "catalog": "items.csv",
        "lists": "lists.csv",
        "features": [
            {"name": "title", "kind": "text", "side": "item"},
            {"name": "grade", "kind": "number", "side": "label"},
        ],
    }
    (shop / "schema.yaml").write_text(yaml.safe_dump(schema), encoding="utf-8")
    (shop / "items.csv").write_text("item_id,title\na,red\nb,blue\n", encoding="utf-8")
    (shop / "lists.csv").write_text("list_id,item_id,grade\n1,a,-1\n1,c,2\n", encoding="utf-8")
    out = tmp_path / "run"
    assert main(["--config", str(config), "--data", str(shop), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "lists.csv" in said
    assert "'c'" in said
    assert not out.exists()


@pytest.mark.slow
def test_from_data_to_export(
    config: pathlib.Path, tiny_shop: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One command, its files, and the same figures from `evaluate` afterwards."""
    folder = config.parent
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    said = run("mmrank.train", "--config", str(config), "--data", str(tiny_shop))
    trained = folder / "runs" / "small-1"
    assert {"config.yaml", "schema.yaml", "metrics.json", "logs", "checkpoints", "export"} <= {
        p.name for p in trained.iterdir()
    }
    assert (trained / "export" / "1" / "saved_model.pb").is_file()
    assert said.splitlines()[-1].startswith("next")
    command = said.splitlines()[-1].removeprefix("next").split()
    assert command[:3] == ["python", "-m", "mmrank.evaluate"]
    run(*command[2:], "--json", "again.json", "--baselines", "random,bm25,lambdamart")
    first = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))
    again = json.loads((folder / "again.json").read_text(encoding="utf-8"))
    assert again["metrics"]["model"].keys() == first["metrics"]["model"].keys()
    for scorer in ("model", "lambdamart"):
        for name, interval in first["metrics"][scorer].items():
            assert again["metrics"][scorer][name]["mean"] == pytest.approx(interval["mean"])
    assert first["costs"]["model"]["train_seconds"] == first["seconds"]["training"]
    assert first["costs"]["lambdamart"]["tuning"]["trials"] == 1

    # The rows that show the value of a feature: scored without it, and compared like a baseline.
    # The price is this ranker's only number, so the row for numbers is named after it.
    rows = [c["b"] for c in first["comparisons"] if c["metric"] == "ndcg@10"]
    assert rows == ["without photo", "without price", "random", "bm25", "lambdamart"]
    monkeypatch.chdir(folder)  # in this process; separate processes were tested above
    asked = [*command[3:5], "--drop", "price", "--json", "less.json", "--baselines", "random,bm25"]
    assert evaluate(asked) == 0
    less = json.loads((folder / "less.json").read_text(encoding="utf-8"))
    for name, at in {"photo": again, "price": less}.items():
        dropped = at["metrics"][f"without {name}"]
        for metric, interval in first["metrics"][f"without {name}"].items():
            assert dropped[metric]["mean"] == pytest.approx(interval["mean"])
    tail = said[: said.index("\nrun ")].rstrip().splitlines()
    assert [line.split("  ")[0] for line in tail[-5:]] == [f"model - {row}" for row in rows]

    card = json.loads((trained / "export/1/assets.extra/model_card.json").read_text("utf-8"))
    assert card["run"] == "small-1"
    assert card["data"]["of_training"]
    actual = card["figures"]
    assert actual["metrics"] == first["metrics"]
    assert {"mean", "low", "high"} <= set(actual["metrics"]["model"]["ndcg@10"])
    assert actual["slices"] == first["slices"] != []
    text = (trained / "export/1/assets.extra/model_card.md").read_text("utf-8").splitlines()
    for name, metrics in {
        "all lists": first["metrics"]["model"],
        **{s["name"]: s["metrics"]["model"] for s in first["slices"] if s["metrics"]},
    }.items():
        mean, low, high = (metrics["ndcg@10"][part] for part in ("mean", "low", "high"))
        assert any(
            line.startswith(f"| {name} | {mean:.3f} ({low:.3f}–{high:.3f}) | ") for line in text
        )
