"""The defaults that are chosen for unset options; given options are kept."""

from __future__ import annotations

import dataclasses
import logging
import pathlib

import numpy as np
import pandas as pd
import pytest

from mmrank.config import ConfigError
from mmrank.data.tables import Dataset, load_dataset
from mmrank.defaults import choices, default_config, words
from mmrank.schema import Schema, save_schema, schema_from_dict
from mmrank.train import main


def shop(folder: pathlib.Path, lists: int, labels: dict[str, str], low: float = 0.0) -> Dataset:
    """A dataset of lists of two, with a title of eleven words."""
    schema = schema_from_dict(
        {
            "catalog": "items.parquet",
            "lists": {"file": "lists.parquet", "split": "split"},
            "features": [
                {"name": "title", "kind": "text", "side": "item"},
                *({"name": n, "kind": "number", "side": "label"} for n in labels),
            ],
        }
    )
    title = " ".join(f"word{i}" for i in range(11))
    folder.mkdir(exist_ok=True)
    save_schema(schema, folder)
    pd.DataFrame({"item_id": ["a", "b"], "title": [title, title]}).to_parquet(
        folder / "items.parquet"
    )
    ids = np.repeat(np.arange(lists), 2)
    split = np.repeat(["valid", "test", *["train"] * (lists - 2)], 2)
    frame = pd.DataFrame({"list_id": ids, "item_id": ["a", "b"] * lists, "split": split})
    for label in labels:
        frame[label] = [low, low + 2] * lists
    frame.to_parquet(folder / "lists.parquet")
    return load_dataset(folder)


def chosen(dataset: Dataset) -> dict[str, object]:
    schema: Schema = dataset.schema
    return {c.key: c.value for c in choices(schema, dataset)}


def test_width_and_epochs_follow_the_number_of_lists(tmp_path: pathlib.Path) -> None:
    few = chosen(shop(tmp_path / "few", 102, {"grade": ""}))
    many = chosen(shop(tmp_path / "many", 5002, {"grade": ""}))
    assert few["model.width"] == 32
    assert many["model.width"] == 64
    assert few["training.epochs"] == 20
    # 64 lists per step give 79 steps per epoch, and 1,500 / 79 = 19.0.
    assert many["training.batch_lists"] == 64
    assert many["training.epochs"] == 19


def test_max_tokens_fits_usual_texts(tmp_path: pathlib.Path) -> None:
    text = chosen(shop(tmp_path / "shop", 20, {"grade": ""}))["model.encoders.text"]
    # 1.4 · 11 + 2 = 17.4, rounded up to a multiple of eight.
    assert isinstance(text, dict)
    assert text["max_tokens"] == 24


def with_query(dataset: Dataset) -> Dataset:
    plain = dataset.schema.to_dict()
    plain["features"].append({"name": "query", "kind": "text", "side": "query"})
    lists = dataset.lists.assign(query="red hat")
    return dataclasses.replace(dataset, schema=schema_from_dict(plain), lists=lists)


def test_trees_are_added_to_the_network_if_possible(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graded = shop(tmp_path / "graded", 20, {"grade": ""})
    clicks = shop(tmp_path / "clicks", 20, {"click": ""})

    def names(dataset: Dataset) -> list[tuple[object, str]]:
        made = choices(dataset.schema, dataset)
        return [(c.value, c.why) for c in made if c.key == "model.name"]

    given = {"training": {"tasks": {"grade": {}}}}
    settled = default_config(with_query(graded).schema, with_query(graded), given)
    assert settled.model.name == "network"  # trees do not support tasks
    assert names(graded) == []  # the title has no query to be compared with
    assert names(with_query(clicks)) == []  # trees need grades
    assert [value for value, _ in names(with_query(graded))] == ["hybrid"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ((value, why),) = names(with_query(graded))
    assert value == "network"
    assert "pip install -e '.[trees]'" in why


def numbers_shop(folder: pathlib.Path, kinds: list[str], low: float = 0.0) -> Dataset:
    """A dataset of lists of two whose items have features of these kinds."""
    made = shop(folder, 20, {"grade": ""}, low)
    features = [{"name": f"f{i}", "kind": k, "side": "item"} for i, k in enumerate(kinds)]
    grade = {"name": "grade", "kind": "number", "side": "label"}
    plain = made.schema.to_dict() | {"features": [*features, grade]}
    catalog = made.catalog.assign(**{f["name"]: "1" for f in features})
    return dataclasses.replace(made, schema=schema_from_dict(plain), catalog=catalog)


def test_plain_numbers_have_their_own_defaults(tmp_path: pathlib.Path) -> None:
    few = numbers_shop(tmp_path / "few", ["vector", "category"])
    config = default_config(few.schema, few)
    head = config.model.head
    assert (config.model.width, head.members, head.linear) == (64, 8, True)
    assert config.model.name == "network"
    assert config.model.encoders["vector"]["quantiles"] == 200
    assert "number" not in config.model.encoders
    assert config.training.loss.lambda_weight is None
    many = numbers_shop(tmp_path / "many", ["number"] * 17)
    assert default_config(many.schema, many).model.width == 16
    # Grades between whole numbers are learned as numbers here too.
    means = numbers_shop(tmp_path / "means", ["number"], low=0.5)
    assert default_config(means.schema, means).training.loss.name == "mean_squared_loss"


def test_texts_or_tasks_exclude_the_defaults_for_plain_numbers(tmp_path: pathlib.Path) -> None:
    mixed = numbers_shop(tmp_path / "mixed", ["vector", "text"])
    assert default_config(mixed.schema, mixed).model.head.members == 1
    alone = numbers_shop(tmp_path / "alone", ["vector"])
    given = {"training": {"tasks": {"click": {}}}}
    assert default_config(alone.schema, alone, given).model.head.members == 1


def test_test_lists_are_not_read(tmp_path: pathlib.Path) -> None:
    dataset = with_query(shop(tmp_path / "shop", 40, {"grade": ""}))
    lists = dataset.lists.copy()
    test = dataset.rows("test").index
    lists.loc[test, "query"] = "a query of very many words " * 20
    lists["grade"] = lists["grade"].astype(float)
    lists.loc[test, "grade"] = 0.5
    other = dataclasses.replace(dataset, lists=lists)
    assert chosen(other) == chosen(dataset)


def test_a_chinese_character_counts_as_a_word() -> None:
    column = pd.Series(["红色 dress 2", None, "", "thermo-mug"])
    assert words(column).tolist() == [4, 2]


@pytest.mark.parametrize(
    ("labels", "tasks"),
    [
        ({"grade": "", "click": ""}, None),
        ({"click": ""}, {"click": {"loss": {"name": "softmax_loss"}}}),
        ({"click": "", "purchase": ""}, {"click": {}, "purchase": {}}),
    ],
)
def test_without_grades_behaviour_is_learned(
    tmp_path: pathlib.Path, labels: dict[str, str], tasks: object
) -> None:
    assert chosen(shop(tmp_path / "shop", 20, labels)).get("training.tasks") == tasks


def test_fractional_grades_are_learned_by_squared_error(tmp_path: pathlib.Path) -> None:
    whole = chosen(shop(tmp_path / "whole", 20, {"grade": ""}))["training.loss"]
    assert whole == {"name": "softmax_loss", "lambda_weight": "ndcg_lambda_weight"}
    means = chosen(shop(tmp_path / "means", 20, {"grade": ""}, low=0.33))["training.loss"]
    assert means == {"name": "mean_squared_loss"}


def test_grades_without_zero_are_relevant_from_the_middle(tmp_path: pathlib.Path) -> None:
    from_zero = shop(tmp_path / "zero", 20, {"grade": ""})
    assert "evaluation.relevant_grade" not in chosen(from_zero)
    from_one = shop(tmp_path / "one", 20, {"grade": ""}, low=1.0)
    assert chosen(from_one)["evaluation.relevant_grade"] == 2.0


def test_the_report_omits_media_and_history_in_turn(tiny_shop: pathlib.Path) -> None:
    dataset = load_dataset(tiny_shop)
    assert chosen(dataset)["evaluation.without"] == ["image", "history"]
    given = {"evaluation": {"without": []}}
    assert default_config(dataset.schema, dataset, given).evaluation.without == ()


def test_the_report_does_not_omit_text_and_labels(tmp_path: pathlib.Path) -> None:
    assert "evaluation.without" not in chosen(shop(tmp_path / "shop", 20, {"grade": ""}))


def test_given_values_are_kept_and_chosen_values_are_logged(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = shop(tmp_path / "shop", 20, {"grade": ""})
    given = {"seed": 7, "training": {"epochs": 1}, "model": {"width": 8}}
    with caplog.at_level(logging.INFO, logger="mmrank"):
        config = default_config(dataset.schema, dataset, given)
    assert (config.seed, config.training.epochs, config.model.width) == (7, 1, 8)
    assert config.training.patience == 5
    assert "model.width" not in caplog.text
    assert "chosen: training.patience 5" in caplog.text
    assert given["model"] == {"width": 8}


def test_a_wrong_value_is_named(tmp_path: pathlib.Path) -> None:
    dataset = shop(tmp_path / "shop", 20, {"grade": ""})
    with pytest.raises(ConfigError, match="model: expected a section"):
        default_config(dataset.schema, dataset, {"model": "wide"})


def test_neither_config_nor_data_is_a_one_line_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "no dataset; give --data DIR" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_without_a_config(tmp_path: pathlib.Path) -> None:
    """The chosen values are in RUN/config.yaml, and a resumed run keeps them."""
    import yaml

    shop(tmp_path / "shop", 20, {"grade": ""})
    out = tmp_path / "run"
    small = "model.encoders.text={layers: 1, hidden: 8, heads: 1, intermediate: 8, max_tokens: 4}"
    arguments = ["--data", str(tmp_path / "shop"), "--out", str(out), "--set", small]
    assert main([*arguments, "--set", "training.epochs=1"]) == 0
    kept = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
    assert kept["model"]["width"] == 32
    assert kept["model"]["encoders"]["text"]["max_tokens"] == 4
    assert kept["training"]["epochs"] == 1
    assert (out / "export" / "1" / "saved_model.pb").is_file()
    assert main(["--out", str(out), "--resume"]) == 0


def test_pretrained_encoders_have_a_lower_learning_rate(tmp_path: pathlib.Path) -> None:
    dataset = shop(tmp_path, 10, {"grade": ""})
    rates = [
        default_config(dataset.schema, dataset, given).training.learning_rate
        for given in (
            {},
            {"model": {"encoders": {"text": {"encoder": "hub", "handle": "models/minilm"}}}},
            {"model": {"encoders": {"photo": {"weights": "models/lite0"}}}},
            {"model": {"encoders": {"text": {"layers": 2, "weights": "none"}}}},
        )
    ]
    assert rates == [2e-3, 5e-4, 5e-4, 2e-3]
