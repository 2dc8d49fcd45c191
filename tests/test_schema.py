"""The schema: what it reads, what it refuses, and that it writes what it reads."""

from __future__ import annotations

import pathlib
import time
from typing import Any

import pytest

from mmrank.schema import (
    Catalog,
    Events,
    Feature,
    Lists,
    Schema,
    SchemaError,
    did_you_mean,
    load_schema,
    save_schema,
    schema_from_dict,
)

TITLE = {"name": "title", "kind": "text", "side": "item"}


def test_a_short_schema_takes_the_defaults() -> None:
    schema = schema_from_dict({"features": [TITLE]})
    assert schema == Schema(
        name="dataset",
        catalog=Catalog("catalog.parquet", "item_id"),
        lists=Lists("lists.parquet", "list_id", "item_id"),
        events=None,
        features=(Feature("title", "text", "item", "title"),),
    )


def test_a_table_may_be_only_a_file_name() -> None:
    schema = schema_from_dict({"catalog": "c.csv", "events": "e.csv", "features": [TITLE]})
    assert schema.catalog == Catalog("c.csv")
    assert schema.events == Events("e.csv")


def test_round_trip_through_a_file(tmp_path: pathlib.Path) -> None:
    schema = Schema(
        name="商店",
        catalog=Catalog("c.csv", "sku", encoding="latin-1", separator=";", decimal=","),
        lists=Lists("l.csv", "search", "sku", user="who", time=None, split="part"),
        events=Events("e.csv", "who", "sku", None, "at"),
        features=(
            Feature("title", "text", "item", "product name"),
            Feature("tags", "tags", "item", "tags", {"separator": "|"}),
            Feature("grade", "number", "label", "stars"),
        ),
        media="photos.zip",
    )
    assert save_schema(schema, tmp_path) == tmp_path / "schema.yaml"
    read = load_schema(tmp_path)
    assert read == schema
    assert "商店" in (tmp_path / "schema.yaml").read_text(encoding="utf-8")


def test_look_ups() -> None:
    schema = schema_from_dict(
        {"features": [TITLE, {"name": "query", "kind": "text", "side": "query"}]}
    )
    assert [f.name for f in schema.side("item")] == ["title"]
    assert [f.name for f in schema.side("query", "item")] == ["title", "query"]
    assert schema.feature("query").side == "query"
    with pytest.raises(SchemaError, match="unknown feature 'tilte'; did you mean 'title'"):
        schema.feature("tilte")


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        ([], "a schema must be a mapping"),
        (
            {"catalog": {"format": "cvs"}, "features": [TITLE]},
            "catalog.format: unknown format 'cvs'",
        ),
        (
            {"lists": {"encoding": "latin-99"}, "features": [TITLE]},
            "lists.encoding: unknown encoding",
        ),
        (
            {"events": {"separator": ";;"}, "features": [TITLE]},
            "is not a single character",
        ),
        ({"catalog": {"decimal": ";"}, "features": [TITLE]}, "catalog.decimal: ';' must be '.'"),
        (
            {"catalog": {"decimal": ",", "thousands": ","}, "features": [TITLE]},
            "catalog.thousands: ',' must be one of",
        ),
        (None, "a schema must be a mapping"),
        ({"feature": [TITLE]}, "schema: unknown key 'feature'; did you mean 'features'?"),
        ({}, "features: the schema has no features"),
        ({"features": "title"}, "features: expected a list"),
        ({"features": ["title"]}, "features[0]: expected a mapping"),
        ({"features": [{"name": "x", "side": "item"}]}, "features[0]: the key 'kind' is missing"),
        ({"features": [TITLE | {"name": "a title"}]}, "'a title' is not a valid name"),
        (
            {"features": [TITLE | {"name": "价格"}]},
            "'价格' is not a valid name: use letters a to",
        ),
        ({"features": [TITLE | {"name": "größe"}]}, "'größe' is not a valid name"),
        ({"features": [TITLE | {"name": "_price"}]}, "'_price' is not a valid name"),
        ({"features": [TITLE | {"side": "itme"}]}, "unknown side 'itme'; did you mean 'item'?"),
        ({"features": [TITLE | {"column": 3}]}, "features[0] (title): the column 3 is not a text"),
        (
            {"features": [TITLE, {"name": "clicks", "kind": "number", "side": "label"}]},
            "features[1]: unknown label 'clicks'; did you mean 'click'?",
        ),
        ({"features": [TITLE, TITLE]}, "the name 'title' is used twice"),
        (
            {"features": [{"name": "query", "kind": "text", "side": "query"}]},
            "no feature has side item",
        ),
        (
            {"features": [TITLE], "catalog": {"itme": "sku"}},
            "catalog: unknown key 'itme'; did you mean 'item'?",
        ),
        ({"features": [TITLE], "lists": ["l.csv"]}, "lists: expected a file name or a mapping"),
        ({"features": [TITLE], "catalog": {"item": 3}}, "catalog.item: expected a text, got 3"),
        (
            {"features": [TITLE], "catalog": {"item": None}},
            "catalog.item: expected a text, got None",
        ),
        ({"features": [TITLE], "media": ["a.zip"]}, "media: expected a text, got ['a.zip']"),
    ],
)
def test_wrong_schemas_are_refused(plain: Any, words: str) -> None:
    with pytest.raises(SchemaError) as caught:
        schema_from_dict(plain)
    assert words in str(caught.value)


def test_errors_name_the_file(tmp_path: pathlib.Path) -> None:
    with pytest.raises(SchemaError, match=r"schema.yaml: no such file.*mmrank.simulate"):
        load_schema(tmp_path)
    (tmp_path / "schema.yaml").write_text("features: [")
    with pytest.raises(SchemaError, match="schema.yaml: not YAML"):
        load_schema(tmp_path)
    (tmp_path / "schema.yaml").write_text("features: []")
    with pytest.raises(SchemaError, match="schema.yaml: features: the schema has no features"):
        load_schema(tmp_path)


def test_yaml_tags_run_no_code(tmp_path: pathlib.Path) -> None:
    (tmp_path / "schema.yaml").write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(SchemaError, match="not YAML"):
        load_schema(tmp_path)


def test_did_you_mean() -> None:
    assert did_you_mean("tilte", ["title", "photo"]) == "; did you mean 'title'?"
    assert did_you_mean("zzz", ["title", "photo"]) == "; known: photo, title"
    assert did_you_mean("zzz", []) == ""


def test_a_name_of_megabytes_is_compared_by_its_prefix() -> None:
    started = time.monotonic()
    assert did_you_mean("title" * 10**6, ["title", "photo"]) == "; known: photo, title"
    assert time.monotonic() - started < 1


def test_sensitive_columns_are_saved_and_cannot_be_features(tmp_path: pathlib.Path) -> None:
    plain = {"features": [TITLE], "sensitive": ["email", "cost"]}
    schema = schema_from_dict(plain)
    assert schema.sensitive == ("email", "cost")
    save_schema(schema, tmp_path)
    assert load_schema(tmp_path) == schema
    for column, use in (("title", "feature title"), ("list_id", "lists.list")):
        with pytest.raises(SchemaError, match=f"the column '{column}' is read as {use}"):
            schema_from_dict(plain | {"sensitive": [column]})
    with pytest.raises(SchemaError, match="expected a list of columns"):
        schema_from_dict(plain | {"sensitive": "email"})
