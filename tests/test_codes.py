"""The command: a catalogue with codes that a dataset reads as a vector; the same for lists."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from mmrank.codes import main
from mmrank.collaborative.matrix import read_interactions
from mmrank.data.tables import load_dataset
from mmrank.data.validation import validate_dataset
from mmrank.pretrain.users import lists_rows, training_rows

QUICK = ["--width", "4", "--hidden", "8", "--epochs", "2"]


def test_codes_of_items_make_a_dataset_with_one_more_feature(
    tiny_shop: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "coded.parquet"
    given = ["--data", str(tiny_shop), "--of", "items", "--out", str(out), *QUICK]
    assert main([*given, "--method", "ae"]) == 0
    assert main(given) == 2  # the file exists
    before = pd.read_parquet(tiny_shop / "catalog.parquet")
    table = pd.read_parquet(out)
    pd.testing.assert_frame_equal(table.drop(columns="code"), before)
    assert {len(code) for code in table["code"]} == {4}

    shop = tmp_path / "shop"
    shutil.copytree(tiny_shop, shop)
    schema = yaml.safe_load((shop / "schema.yaml").read_text(encoding="utf-8"))
    (shop / out.name).symlink_to(out)
    schema["catalog"] = {"file": out.name, "item": "item_id"}
    schema["features"].append({"name": "code", "kind": "vector", "side": "item"})
    (shop / "schema.yaml").write_text(yaml.safe_dump(schema), encoding="utf-8")
    assert not validate_dataset(shop, media="none").errors


def test_codes_of_users_are_vectors_of_their_items(
    tiny_shop: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out, lists = tmp_path / "coded.parquet", tmp_path / "lists.parquet"
    given = ["--data", str(tiny_shop), "--of", "users", "--out", str(out), *QUICK]
    assert main([*given, "--lists", str(lists)]) == 0
    dataset = load_dataset(tiny_shop)
    rows = training_rows(dataset, read_interactions(dataset, {}))
    known = pd.read_parquet(out)["code"].notna().to_numpy()
    np.testing.assert_array_equal(known, np.asarray(rows.sum(0)).ravel() > 0)
    assert 0 < known.sum() < len(known)
    table = pd.read_parquet(lists)
    assert table.groupby("list_id")["user_code"].agg(lambda v: len({str(x) for x in v})).max() == 1


def test_rows_of_users_have_only_events_before_their_list(tiny_shop: pathlib.Path) -> None:
    dataset = load_dataset(tiny_shop)
    rows, number = lists_rows(dataset, read_interactions(dataset, {}))
    events, lists = dataset.events, dataset.lists
    assert events is not None
    for i in range(rows.shape[0]):
        first = lists[number == i].iloc[0]
        known = events[(events["user_id"] == first["user_id"]) & (events["_time"] < first["_time"])]
        assert set(rows[i].indices) == set(known["_item"])


def test_training_rows_end_before_a_users_held_out_lists(
    tiny_shop: pathlib.Path,
) -> None:
    dataset = load_dataset(tiny_shop)
    lists, events = dataset.lists.copy(), dataset.events
    assert events is not None
    user = lists["user_id"].iloc[0]
    middle = float(events.loc[events["user_id"] == user, "_time"].median())
    lists.loc[lists["user_id"] == user, ["_split", "_time"]] = ["test", middle]
    interactions = read_interactions(dataset, {})
    rows = training_rows(dataclasses.replace(dataset, lists=lists), interactions)
    earlier = events[(events["user_id"] == user) & (events["_time"] < middle)]
    assert len(earlier) < (events["user_id"] == user).sum()
    assert set(rows[interactions.codes(pd.Series([user]))[0]].indices) == set(earlier["_item"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--out", "codes.csv"], "ends with .parquet"),
        (["--lists", "lists.parquet"], "--lists needs --of users"),
        (["--beta", "-1"], "--beta -1"),
        (["--column", "title"], "this column exists"),
    ],
)
def test_wrong_input_is_one_line(
    tiny_shop: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changed: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["--data", str(tiny_shop), "--of", "items", "--out", "codes.parquet", *changed]
    assert main(given) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert message in errors[0]
