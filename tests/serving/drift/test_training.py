"""The distribution of the training data in the export, against loops over the tables."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pytest

from mmrank.data.tables import Dataset
from mmrank.serving.drift.reference import FILE, Reference
from mmrank.serving.drift.training import samples, save_reference, training_reference
from mmrank.trained_run import Run

Values = dict[str, tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def values(run: Run, dataset: Dataset) -> Values:
    return {name: (v, p) for name, v, p in samples(run.fitted, dataset, "train")}


@pytest.fixture(scope="module")
def reference(run: Run, dataset: Dataset) -> Reference:
    found = training_reference(run.fitted, dataset)
    assert found is not None
    return found


def test_every_feature_is_sampled(run: Run, values: Values) -> None:
    assert set(values) == set(run.fitted.names)


def test_values_of_a_query_count_once_per_list(dataset: Dataset, values: Values) -> None:
    rows = dataset.rows("train")
    first = rows.groupby("list_id", sort=False).first()
    assert sorted(values["query"][0]) == sorted(first["query"].str.strip())


def test_values_of_an_item_count_once_per_candidate(dataset: Dataset, values: Values) -> None:
    prices = dict(zip(dataset.item_ids, dataset.catalog["price"], strict=True))
    expected = [prices[item] for item in dataset.rows("train")["item_id"]]
    found, present = values["price"]
    np.testing.assert_array_equal(present, ~np.isnan(expected))
    np.testing.assert_allclose(found[present], np.array(expected)[present], rtol=1e-6)


def test_a_history_is_its_number_of_events(dataset: Dataset, values: Values) -> None:
    assert dataset.events is not None
    events = dataset.events
    expected = []
    for _, rows in dataset.rows("train").groupby("list_id", sort=False):
        user, time = rows["user_id"].iloc[0], rows["_time"].iloc[0]
        mine = (events["user_id"] == user) & (events["_time"] < time) & (events["_item"] >= 0)
        expected.append(int(mine.sum()))
    counts, present = values["history"]
    assert sorted(counts) == sorted(expected)
    assert present.sum() == sum(c > 0 for c in expected)


def test_the_bins_of_each_measure_count_every_value(reference: Reference, values: Values) -> None:
    for bins in reference.bins:
        assert sum(bins.expected) == len(values[bins.feature][0])
        assert len(bins.labels) == len(bins.expected)


def test_the_reference_is_read_back(reference: Reference, tmp_path: pathlib.Path) -> None:
    reference.save(tmp_path / FILE)
    again = Reference.load(tmp_path / FILE)
    assert again is not None
    assert list(again.bins) == list(reference.bins)
    assert Reference.load(tmp_path / "nothing") is None


def test_the_export_contains_the_reference(exported: pathlib.Path, reference: Reference) -> None:
    found = Reference.load(exported / "assets.extra" / FILE)
    assert found is not None
    assert list(found.bins) == list(reference.bins)


def test_no_user_id_is_stored(exported: pathlib.Path, dataset: Dataset) -> None:
    text = (exported / "assets.extra" / FILE).read_text(encoding="utf-8")
    shares = dataset.rows("train").groupby("list_id").first()["user_id"].value_counts(True)
    rare = [user for user, share in shares.items() if share < 0.05]
    assert rare
    assert not [user for user in rare if f'"{user}"' in text]


def test_a_run_without_its_data_has_no_reference(
    run: Run, dataset: Dataset, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    moved = dataclasses.replace(run, data=tmp_path / "gone")
    with caplog.at_level("WARNING", logger="mmrank"):
        save_reference(moved, dataset, tmp_path)
    assert not (tmp_path / FILE).exists()
    assert "no training lists" in caplog.text
