"""The command line of the export, on a run small enough to be exported repeatedly."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import shlex

import numpy as np
import pytest
import tensorflow as tf

from mmrank.build import build_features, build_model
from mmrank.config import CONFIG_FILE, FEATURES_FILE, STATE_FILE, Config, save_config
from mmrank.data.tables import load_dataset
from mmrank.export import main
from mmrank.schema import load_schema, save_schema
from mmrank.serving.ranker import Ranker
from mmrank.trained_run import load_run

KEPT = ("price", "user")


@pytest.fixture(scope="module")
def run_folder(
    tiny_shop: pathlib.Path, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """The folder of a run with two features, neither of a query nor of a history."""
    dataset = load_dataset(tiny_shop)
    sides = ("item", "query", "user", "pair")
    drop = tuple(f.name for f in dataset.schema.side(*sides) if f.name not in KEPT)
    model = dataclasses.replace(tiny_config.model, drop=drop)
    config = dataclasses.replace(tiny_config, model=model)
    features = build_features(config, dataset.schema)
    features.fit(dataset)
    folder = tmp_path_factory.mktemp("runs") / "small"
    folder.mkdir()
    tf.keras.utils.set_random_seed(2)
    build_model(config, features).network.save_weights(folder / "weights")
    save_config(config, folder / CONFIG_FILE)
    save_schema(dataset.schema, folder)
    features.save(folder / FEATURES_FILE)
    state = {"best_weights": "weights", "data": str(tiny_shop)}
    (folder / STATE_FILE).write_text(json.dumps(state))
    return folder


def test_exports_count_up(
    run_folder: pathlib.Path, tiny_shop: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--run", str(run_folder)]) == 0
    first, following = capsys.readouterr().out.splitlines()
    assert first == str(run_folder / "export" / "1")
    code = shlex.split(following.removeprefix("next: "))[-1]
    exec(compile(code, "next", "exec"), {})  # the printed command works unchanged
    assert capsys.readouterr().out.count("Ranked(index=") == 3
    assert main(["--run", str(run_folder), "--data", str(tiny_shop)]) == 0
    # The folder contains nothing else, such as unfinished exports.
    assert sorted(p.name for p in (run_folder / "export").iterdir()) == ["1", "2"]
    assert load_schema(run_folder / "export" / "1" / "assets.extra").name == "simulated shop"

    # A model without query, history and pairs can be served and used too.
    ranker = Ranker.load(run_folder / "export")
    assert ranker.folder.name == "2"
    dataset = load_dataset(tiny_shop)
    rows = dataset.lists[dataset.lists["list_id"] == dataset.lists["list_id"].iloc[0]]
    expected = load_run(run_folder).score(dataset, rows)
    scores = ranker.scores(candidates=rows["item_id"], user=rows["user_id"].iloc[0])
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)


def test_wrong_input_is_one_line(
    run_folder: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    cases = {
        ("--run", str(tmp_path / "none")): "no such folder; train a run",
        ("--run", str(tmp_path)): f"no {CONFIG_FILE}, so this is not",
        ("--run", str(run_folder), "--data", str(tmp_path / "none")): "--data: .*no such folder",
        ("--run", str(run_folder), "--data", str(tmp_path)): "schema.yaml: no such file",
        ("--run", str(run_folder), "--out", str(file)): "file is a file; name a folder",
    }
    for arguments, message in cases.items():
        assert main(arguments) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith("error: ")
        assert re.search(message, said), said
    assert file.read_text() == ""


def test_a_catalogue_without_a_column(
    run_folder: pathlib.Path,
    tiny_shop: pathlib.Path,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dataset = load_dataset(tiny_shop)
    features = tuple(f for f in dataset.schema.features if f.name != "price")
    save_schema(dataclasses.replace(dataset.schema, features=features), tmp_path)
    dataset.catalog.drop(columns="price").to_parquet(tmp_path / "catalog.parquet")
    for table in ("lists", "events"):
        (tmp_path / f"{table}.parquet").write_bytes((tiny_shop / f"{table}.parquet").read_bytes())
    (tmp_path / "images.zip").write_bytes((tiny_shop / "images.zip").read_bytes())
    out = tmp_path / "export"
    assert main(["--run", str(run_folder), "--data", str(tmp_path), "--out", str(out)]) == 2
    assert "no column 'price', which the run's feature price reads" in capsys.readouterr().err
    assert not out.exists()


def test_an_interrupt_leaves_nothing(
    run_folder: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tf.saved_model, "save", interrupted)
    out = tmp_path / "export"
    assert main(["--run", str(run_folder), "--out", str(out)]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted; nothing was written"
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--compress", "int9"], ["int9", "int8"]),
        (["--compress", "int8", "--max-loss", "1"], ["--max-loss 1", "below 1"]),
    ],
)
def test_an_unknown_compression_is_refused_at_once(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], more: list[str], words: list[str]
) -> None:
    assert main(["--run", str(tmp_path / "nowhere"), *more]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert all(word in said for word in words)
