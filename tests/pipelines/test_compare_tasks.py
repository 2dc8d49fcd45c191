"""The comparison of several tasks with one: its splits, its comparisons and its output."""

from __future__ import annotations

import json
import pathlib

import pandas as pd
import pytest
import yaml

from mmrank.config import ConfigError, Task, load_config
from pipelines.compare_tasks import main, single, split_by_time, summary

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "shop_tasks.yaml"


def test_lists_are_divided_by_time():
    """Ten lists of two rows: six for train, one for valid, three for test; no list is divided."""
    times = [90, 10, 20, 30, 80, 40, 50, 60, 70, 100]
    lists = pd.DataFrame({"list_id": [f"L{i}" for i in range(10)] * 2, "time": times * 2})
    given = dict(zip(lists["list_id"], split_by_time(lists), strict=True))
    expected = {"train": ["L1", "L2", "L3", "L5", "L6", "L7"], "valid": ["L8"]}
    for name, ids in given.items():
        split = next((s for s, members in expected.items() if name in members), "test")
        assert ids == split
    assert list(split_by_time(lists)[:10]) == list(split_by_time(lists)[10:])


def test_the_single_task_config_differs_only_in_its_tasks():
    config = load_config(CONFIG)
    alone = single(config, "purchase")
    assert alone.training.tasks == {"purchase": Task()}
    assert alone.model.order is None
    assert alone.training.epochs == config.training.epochs
    assert alone.model.encoders == config.model.encoders
    with pytest.raises(ConfigError, match="--task cart: .* training.tasks has click, purchase"):
        single(config, "cart")


def test_the_summary_is_a_mean_over_seeds():
    def report(tasks: float, alone: float | None) -> dict:
        scores = {"tasks": tasks, "alone": alone}
        every = [("purchase", "all", n, auc) for n, auc in scores.items()]
        every += [("click", "all", n, 0.1) for n in scores]
        return {
            "figures": [
                {
                    "task": task,
                    "part": part,
                    "scorer": scorer,
                    "rows": 9,
                    "positives": 2,
                    "figures": {"auc": auc},
                }
                for task, part, scorer, auc in every
            ]
        }

    (line,) = summary([report(0.8, 0.7), report(0.6, 0.6)], "purchase")
    assert line == {
        "part": "all",
        "rows": 9,
        "positives": 2,
        "tasks": pytest.approx(0.7),
        "alone": pytest.approx(0.65),
        "difference": pytest.approx(0.05),
    }


@pytest.mark.slow
def test_the_whole_command(tmp_path):
    plain = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    plain["data"]["simulate"] = {"items": 60, "queries": 60, "users": 10, "seed": 1}
    plain["model"]["drop"] += ["title", "query", "tags", "history"]
    plain["training"] |= {"epochs": 1, "batch_lists": 8}
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(plain), encoding="utf-8")
    assert main(["--config", str(file), "--out", str(tmp_path / "out")]) == 0
    figures = json.loads((tmp_path / "out" / "compare_tasks.json").read_text(encoding="utf-8"))
    (whole,) = [line for line in figures["mean"] if line["part"] == "all"]
    assert 0 <= whole["tasks"] <= 1
    assert 0 <= whole["alone"] <= 1
    assert main(["--config", str(file), "--out", str(tmp_path / "out")]) == 2
