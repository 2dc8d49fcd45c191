"""The model card's statements on a run's figures, tasks, order, teacher and data."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import pytest

from mmrank.build import build_features, build_model
from mmrank.config import CONFIG_FILE, TEACHER_FILE, Config, Loss, Task, save_config
from mmrank.data.tables import Dataset, load_dataset
from mmrank.serving.model_card import model_card
from mmrank.serving.model_card_text import as_markdown
from mmrank.trained_run import Run

FIGURE = {"mean": 0.61256, "low": 0.5, "high": 0.75, "lists": 12}
FIGURES = {
    "dataset": "shop", "split": "test", "lists": 12, "rows": 99, "no_relevant": "zero",
    "level": 0.9, "metrics": {"model": {"ndcg@10": FIGURE}, "random": {"mrr": FIGURE}},
    "slices": [
        {"name": "cold items", "metrics": {"model": {"ndcg@10": FIGURE}}},
        {"name": "no list of these", "metrics": {}},
    ],
    "tasks": {"figures": [], "differences": []},
}  # fmt: skip
TASKS = {"click": Task(), "purchase": Task(), "stay": Task("dwell", Loss("mean_squared_loss"))}
ORDER = "click * purchase"


@pytest.fixture(scope="module")
def shop(tiny_shop: pathlib.Path) -> Dataset:
    return load_dataset(tiny_shop)


@pytest.fixture(scope="module")
def tasks_run(shop: Dataset, tiny_config: Config) -> Run:
    """A ranker of two numbers and three tasks, with random weights."""
    sides = ("item", "query", "user", "pair")
    drop = tuple(f.name for f in shop.schema.side(*sides) if f.name not in ("price", "sales"))
    config = dataclasses.replace(
        tiny_config,
        model=dataclasses.replace(tiny_config.model, drop=drop, order=ORDER),
        training=dataclasses.replace(tiny_config.training, tasks=TASKS),
    )
    features = build_features(config, shop.schema)
    features.fit(shop)
    model = build_model(config, features)
    return Run(pathlib.Path("nowhere"), config, shop.folder, features, model)


@pytest.fixture
def evaluated(tasks_run: Run, tmp_path: pathlib.Path) -> Run:
    """The same ranker in a folder with figures."""
    save_config(tasks_run.config, tmp_path / CONFIG_FILE)
    (tmp_path / "metrics.json").write_text(json.dumps(FIGURES))
    return dataclasses.replace(tasks_run, folder=tmp_path)


def test_the_figures_of_the_run(evaluated: Run, shop: Dataset) -> None:
    card = model_card(evaluated, shop)
    text = as_markdown(card)
    for line in (
        "## Figures, with 90% intervals",
        "| all lists | 0.613 (0.500–0.750) | – | – | – |",
        "| cold items | 0.613 (0.500–0.750) | – | – | – |",
        "| random | – | 0.613 (0.500–0.750) | – | – |",
    ):
        assert line in text.splitlines()
    assert "lists without a relevant item are counted as 0." in text
    assert "Tasks, each" not in text
    assert "not that of the training dataset" not in text
    assert not any("order" in limit for limit in card["limits"][3:])


def test_the_figures_of_the_tasks(evaluated: Run, shop: Dataset) -> None:
    part = {"label": "-", "part": "all", "scorer": "model", "rows": 1200, "positives": 34}
    probability = {"auc": 0.7126, "log_loss": 0.25, "ece": None}
    found = [
        part | {"task": "click", "figures": probability},
        part | {"task": "stay", "figures": {"rmse": 3.5, "mae": 2.25}},
    ]
    actual = FIGURES | {"tasks": {"figures": found, "differences": []}}
    (evaluated.folder / "metrics.json").write_text(json.dumps(actual))
    lines = as_markdown(model_card(evaluated, shop)).splitlines()
    at = lines.index("| task | candidates | rows | positive | auc | log_loss | ece |")
    assert lines[at + 2] == "| click | all | 1,200 | 34 | 0.713 | 0.250 | – |"
    at = lines.index("| task | candidates | rows | positive | rmse | mae |")
    assert lines[at + 2] == "| stay | all | 1,200 | 34 | 3.500 | 2.250 |"


def test_figures_of_another_order(evaluated: Run, shop: Dataset) -> None:
    other = model_card(evaluated.with_order("purchase / click"), shop)
    said = f"Figures are for the order `{ORDER}`, not for the exported `purchase / click`."
    assert said in other["limits"]
    assert other["model"]["order"] == "purchase / click"
    assert other["figures"]["order"] == ORDER
    assert f"- {said}" in as_markdown(other).splitlines()
    same = model_card(evaluated.with_order("click*purchase"), shop)
    assert not any("Figures are for the order" in limit for limit in same["limits"])


def test_a_catalogue_of_another_dataset(
    evaluated: Run, shop: Dataset, tmp_path: pathlib.Path
) -> None:
    schema = dataclasses.replace(shop.schema, name="autumn")
    other = dataclasses.replace(shop, folder=tmp_path, schema=schema)
    card = model_card(evaluated, other)
    assert (card["data"]["name"], card["data"]["trained_on"]) == ("autumn", "simulated shop")
    text = as_markdown(card)
    assert "not that of the training dataset (simulated shop)." in text
    assert "Trained on simulated shop; exported with autumn: 60 items" in text


def test_a_student_names_its_teacher(evaluated: Run, shop: Dataset) -> None:
    actual = {"run": "/home/me/runs/large-3", "temperature": 2.0, "share": 0.8}
    (evaluated.folder / TEACHER_FILE).write_text(json.dumps(actual))
    card = model_card(evaluated, shop)
    assert card["model"]["teacher"] == actual | {"run": "large-3"}
    expected = "A student of the ranker large-3, whose scores at temperature 2 are 80% of"
    assert expected in as_markdown(card)
    assert "/home/me" not in json.dumps(card)
