"""The command line of distillation: a student that orders as its teacher does."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import tensorflow as tf

from mmrank.build import build_features, build_model
from mmrank.config import (
    CONFIG_FILE,
    FEATURES_FILE,
    STATE_FILE,
    TEACHER_FILE,
    Config,
    Head,
    load_config,
    save_config,
)
from mmrank.data.tables import Dataset, load_dataset
from mmrank.distill import main
from mmrank.schema import save_schema
from mmrank.serving.model_card import CARD_JSON
from mmrank.serving.ranker import Ranker
from mmrank.trained_run import load_run
from mmrank.training.loop import train_run

KEPT = ("price", "rating", "brand", "user")


@pytest.fixture(scope="module")
def shop(tiny_shop: pathlib.Path) -> Dataset:
    return load_dataset(tiny_shop)


@pytest.fixture(scope="module")
def teacher(
    shop: Dataset, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """The folder of a run with random weights that reads four features."""
    sides = ("item", "query", "user", "pair")
    drop = tuple(f.name for f in shop.schema.side(*sides) if f.name not in KEPT)
    model = dataclasses.replace(tiny_config.model, drop=drop, head=Head(hidden=(16,)))
    training = dataclasses.replace(tiny_config.training, epochs=12, patience=20)
    config = dataclasses.replace(tiny_config, model=model, training=training)
    features = build_features(config, shop.schema)
    features.fit(shop)
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    folder.mkdir()
    tf.keras.utils.set_random_seed(8)
    build_model(config, features).network.save_weights(folder / "weights")
    save_config(config, folder / CONFIG_FILE)
    save_schema(shop.schema, folder)
    features.save(folder / FEATURES_FILE)
    state = {"best_weights": "weights", "data": str(shop.folder)}
    (folder / STATE_FILE).write_text(json.dumps(state))
    return folder


@pytest.fixture(scope="module")
def known(tiny_shop: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The shop with copies of training lists for validation: a trained ranker does better there."""
    folder = tmp_path_factory.mktemp("known") / "shop"
    shutil.copytree(tiny_shop, folder)
    lists = pd.read_parquet(folder / "lists.parquet")
    again = lists[lists["split"] == "train"].assign(split="valid")
    again["list_id"] += "-again"
    pd.concat([lists[lists["split"] != "valid"], again]).to_parquet(folder / "lists.parquet")
    return load_dataset(folder)


@pytest.fixture(scope="module")
def taught(
    teacher: pathlib.Path, known: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """The folder of a trained run with the teacher's config."""
    folder = tmp_path_factory.mktemp("taught") / "large"
    folder.mkdir()
    train_run(load_config(teacher / CONFIG_FILE), known, folder)
    return folder


def arguments(teacher: pathlib.Path, out: pathlib.Path, *more: str) -> list[str]:
    config = str(teacher / CONFIG_FILE)
    return ["--run", str(teacher), "--config", config, "--out", str(out), *more]


@pytest.mark.slow
def test_a_student_ranks_like_its_teacher(
    taught: pathlib.Path,
    known: Dataset,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "student"
    given = arguments(taught, out, "--set", "model.width=8", "--max-loss", "0.9")
    assert main(given) == 0
    rows = known.rows("train").reset_index(drop=True)
    expected = load_run(taught).score(known, rows)
    scores = load_run(out).score(known, rows)
    lists = rows["list_id"].to_numpy()
    agreement = [
        scipy.stats.kendalltau(expected[lists == one], scores[lists == one]).statistic
        for one in np.unique(lists)
    ]
    assert np.nanmean(agreement) > 0.5
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines() if line[:7] in ("teacher", "student")]
    kept = json.loads((out / TEACHER_FILE).read_text())
    assert kept == {"run": str(taught.resolve()), "temperature": 1.0, "share": 1.0}
    ranked = Ranker.load(out / "export").rank(candidates=list(known.item_ids[:3]))
    assert len(ranked) == 3
    card = json.loads((out / "export" / "1" / CARD_JSON).read_text(encoding="utf-8"))
    assert card["model"]["teacher"] == kept | {"run": "large"}
    assert set(card["figures"]["metrics"]) == {"model", "teacher"}


@pytest.mark.slow
def test_a_student_that_loses_too_much_is_not_exported(
    taught: pathlib.Path,
    known: Dataset,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "student"
    # A student that learns nothing keeps its random weights.
    nothing = ["--set", "training.epochs=1", "--set", "training.learning_rate=1e-12"]
    assert main(arguments(taught, out, *nothing, "--max-loss", "0")) == 2
    printed, said = capsys.readouterr()
    assert said.strip().splitlines()[-1].startswith("error: the student")
    # The figures of both are reported, and the run is kept.
    assert [line.split()[0] for line in printed.splitlines() if line[:7] in ("teacher", "student")]
    assert not (out / "export").exists()
    assert json.loads((out / TEACHER_FILE).read_text())["run"] == str(taught.resolve())
    assert set(json.loads((out / "metrics.json").read_text())["metrics"]) == {"model", "teacher"}
    assert len(load_run(out).score(known, known.rows("test"))) == len(known.rows("test"))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--temperature", "0"], ["--temperature 0", "above 0"]),
        (["--share", "1.5"], ["--share 1.5", "at most 1"]),
        (["--max-loss", "-1"], ["--max-loss -1"]),
        (["--set", "training.tasks={click: {}}"], ["training.tasks", "remove training.tasks"]),
        (["--set", "data.records=there"], ["data.records"]),
        (["--set", "model.name=hybrid"], ["a student must be a network"]),
        (["--set", "evaluation.split=tset"], ["evaluation.split", "did you mean 'test'"]),
        (["--resume"], ["is not a run of mmrank.distill"]),
    ],
)
def test_wrong_input_is_a_one_line_error_and_writes_nothing(
    teacher: pathlib.Path,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    words: list[str],
) -> None:
    assert main(arguments(teacher, tmp_path / "out", *more)) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ")
    assert all(word in said for word in words)
    assert not (tmp_path / "out").exists()


def test_a_run_resumes_only_with_its_own_options(
    teacher: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    actual: dict[str, Any] = {"run": str(teacher.resolve()), "temperature": 2.0, "share": 1.0}
    (tmp_path / TEACHER_FILE).write_text(json.dumps(actual))
    assert main(arguments(teacher, tmp_path, "--resume")) == 2
    assert "temperature 2.0" in capsys.readouterr().err
