"""What a job checks before anything slow starts."""

from __future__ import annotations

import dataclasses
import pathlib
import re

import pytest

from mmrank.config import Config, ConfigError, from_mapping
from mmrank.data.simulator.write import shop_schema
from mmrank.data.tables import DataError, Dataset, load_dataset
from mmrank.job import check_data, check_job, left_out, measure_and_export, train
from mmrank.schema import schema_from_dict


def config(without: list[str], drop: list[str]) -> Config:
    plain = {"evaluation": {"without": without}, "model": {"drop": drop}}
    return from_mapping(Config, plain, "test")


def test_an_entry_of_without_is_a_feature_or_a_kind_except_query_features() -> None:
    wanted = config(["image", "number", "text", "query", "photo", "history"], ["sales"])
    assert left_out(wanted, shop_schema()) == {
        "photo": ["photo"],
        "number": ["price", "rating", "rating_count"],
        "text": ["title", "description"],
        "query": ["query"],
        "history": ["history"],
    }
    assert left_out(config([], []), shop_schema()) == {}


def test_features_that_the_ranker_lacks_have_no_row() -> None:
    wanted = config(["photo", "image", "video", "history"], ["photo"])
    assert left_out(wanted, shop_schema()) == {"history": ["history"]}


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ("foto", "'foto' is not a feature or a kind; did you mean 'photo'?"),
        ("grade", "'grade' is not a feature or a kind"),  # a label
    ],
)
def test_an_unknown_entry_is_refused(without: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"evaluation.without: {message}")):
        left_out(config([without], []), shop_schema())


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        ({"split": "dev"}, "evaluation.split: unknown 'dev'; known: all, test, train, valid"),
        ({"split": "tset"}, "unknown 'tset'; did you mean 'test'?"),
        (
            {"no_relevant": "ignore"},
            "evaluation.no_relevant: unknown 'ignore'; known: one, skip, zero",
        ),
        ({"baselines": ["lambdamrat"]}, "evaluation.baselines: unknown baseline 'lambdamrat'"),
    ],
)
def test_names_in_the_evaluation_section_are_checked(
    evaluation: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_job(from_mapping(Config, {"evaluation": evaluation}, "test"), shop_schema())


def test_a_feature_named_like_an_input_is_refused() -> None:
    plain = shop_schema().to_dict()
    plain["features"].append({"name": "mask", "kind": "number", "side": "item"})
    with pytest.raises(ConfigError, match="feature 'mask': the input 'mask' is in use"):
        check_job(Config(), schema_from_dict(plain))
    check_job(config([], ["mask"]), schema_from_dict(plain))  # it is dropped


def test_a_ranker_without_candidate_features_is_refused() -> None:
    drop = [f.name for f in shop_schema().side("item", "pair")]
    with pytest.raises(ConfigError, match="no feature of side item or pair is read"):
        check_job(config([], drop), shop_schema())


def test_texts_for_dense_are_checked_before_training(tmp_path: pathlib.Path) -> None:
    plain: dict[str, object] = {"evaluation": {"baselines": ["dense"]}}
    with pytest.raises(DataError, match="no frozen text encoder .* evaluation.dense"):
        check_job(from_mapping(Config, plain, "test"), shop_schema())
    plain = {"evaluation": {"baselines": ["dense"], "dense": str(tmp_path)}}
    check_job(from_mapping(Config, plain, "test"), shop_schema())
    without = shop_schema().to_dict()
    without["features"] = [f for f in without["features"] if f["name"] != "query"]
    with pytest.raises(DataError, match="no text of both query and item"):
        check_job(from_mapping(Config, plain, "test"), schema_from_dict(without))


def few(dataset: Dataset, tiny: Config) -> Config:
    """A config of one epoch over two features, without baselines."""
    kept = ("price", "brand")
    names = [f.name for f in dataset.schema.side("item", "query", "user", "pair")]
    drop = tuple(name for name in names if name not in kept)
    head = dataclasses.replace(tiny.model.head, hidden=(4,))
    return dataclasses.replace(
        tiny,
        model=dataclasses.replace(tiny.model, drop=drop, match="none", head=head),
        training=dataclasses.replace(tiny.training, epochs=1),
        evaluation=dataclasses.replace(tiny.evaluation, baselines=("random",), without=()),
    )


def test_without_a_test_list_a_ranker_is_exported(
    tiny_shop: pathlib.Path,
    tiny_config: Config,
    tmp_path: pathlib.Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = load_dataset(tiny_shop)
    split = shop.lists["_split"].astype(object)
    dataset = dataclasses.replace(
        shop, lists=shop.lists.assign(_split=split.where(split != "test", "valid"))
    )
    settings = few(dataset, tiny_config)
    with caplog.at_level("WARNING"):
        check_data(settings, dataset)
    assert "trained and exported, but not evaluated" in caplog.text
    finished = measure_and_export(train(settings, dataset, tmp_path / "run"), dataset, 0.0)
    assert finished.report is None
    assert (finished.export / "saved_model.pb").is_file()


def test_a_failed_evaluation_does_not_prevent_the_export(
    tiny_shop: pathlib.Path,
    tiny_config: Config,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = load_dataset(tiny_shop)
    trained = train(few(dataset, tiny_config), dataset, tmp_path / "run")

    def fails(*args: object, **options: object) -> None:
        raise DataError("no such peer today")

    monkeypatch.setattr("mmrank.job.results.compared_scores", fails)
    with pytest.raises(DataError, match="no such peer today"):
        measure_and_export(trained, dataset, 0.0)
    assert list((tmp_path / "run" / "export").glob("*/saved_model.pb"))


def test_validation_lists_must_have_a_relevant_item(tiny_shop: pathlib.Path) -> None:
    shop = load_dataset(tiny_shop)
    valid = shop.lists["_split"] == "valid"
    lists = shop.lists.assign(grade=shop.lists["grade"].where(~valid, 0))
    with pytest.raises(DataError, match="column 'grade': no validation list has a grade above 0"):
        check_data(Config(), dataclasses.replace(shop, lists=lists))
    with pytest.raises(DataError, match="the split 'valid' has no lists"):
        check_data(Config(), dataclasses.replace(shop, lists=lists[~valid]))
    check_data(Config(), shop)
