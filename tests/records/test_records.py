"""Lists from shards equal those of the tables: features, batches, fitting, scores and weights."""

from __future__ import annotations

import dataclasses
import pathlib
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis.input_pb2 import ExampleListWithContext

from mmrank.build import build_features
from mmrank.config import Config, ConfigError, Task
from mmrank.data.batches import Batch
from mmrank.data.tables import DataError, Dataset
from mmrank.features import Features
from mmrank.records.batches import RecordBatches
from mmrank.records.shards import find_shards
from mmrank.records.source import RecordLists
from mmrank.training.callbacks import Progress
from mmrank.training.loop import train_run
from mmrank.training.sources import TableLists
from mmrank.training.state import State

Messages = list[ExampleListWithContext]
Write = Callable[..., pathlib.Path]


def changed(config: Config, section: str, **changes: object) -> Config:
    part = dataclasses.replace(getattr(config, section), **changes)
    return dataclasses.replace(config, **{section: part})


@pytest.fixture(scope="module")
def config(tiny_config: Config) -> Config:
    """The tiny config without descriptions; long lists are cut to 12 candidates."""
    changes = {"drop": ("description",), "encoders": tiny_config.model.encoders}
    config = changed(changed(tiny_config, "model", **changes), "data", max_candidates=12)
    return config


@pytest.fixture(scope="module")
def features(config: Config, shop: Dataset) -> Features:
    made = build_features(config, shop.schema)
    made.fit(shop)
    return made


def batches(
    config: Config, shop: Dataset, features: Features, folder: pathlib.Path, run: pathlib.Path
) -> RecordBatches:
    config = changed(config, "data", records=str(folder))
    return RecordLists(config, shop, run).batches(config, features, features.item_arrays(shop))


def by_candidate(batch: Batch, features: Features) -> Batch:
    """The batch with item features at every slot, since the order of unique items is arbitrary."""
    spread = dict(batch)
    slots = [n for n in batch if n.endswith("slots")]
    for kind in features.of_side("item"):
        own = (kind.name, f"{kind.name}_present", f"{kind.name}_terms")
        for name in (n for n in own if n in batch):
            values = spread.pop(name)
            for slot in slots:
                mask = batch[slot.replace("slots", "mask")]
                spread[f"{slot}/{name}"] = values[batch[slot][mask]]
    for slot in slots:
        del spread[slot]
    return spread


def take(made: RecordBatches, count: int, start: int = 0, shard: tuple[int, int] = (0, 1)) -> list:
    stream = made.stream(start, shard)
    return [next(stream) for _ in range(count)]


def assert_same(one: Batch, other: Batch) -> None:
    assert set(one) == set(other)
    for name in one:
        if one[name].dtype == np.float32:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_one_window_of_all_lists_equals_the_batches_of_the_tables(
    config, shop, features, messages, write, tmp_path
):
    """Compares every feature of every candidate and event, grades, and the cut, over two passes."""
    expected = TableLists(shop).batches(config, features, features.item_arrays(shop))
    made = batches(config, shop, features, write(messages, 1, ".gz"), tmp_path)
    assert (made.per_pass, made.size) == (expected.per_pass, expected.size)
    assert made.listwise == expected.listwise
    stream = expected.stream(0)
    for batch in take(made, 2 * expected.per_pass):
        other = next(stream)
        assert_same(by_candidate(batch, features), by_candidate(other, features))
    longest = made.largest()["mask"].sum()
    assert longest == expected.largest()["mask"].sum()


def test_features_fitted_on_shards_equal_those_fitted_on_tables(
    config, shop, features, messages, write, tmp_path
):
    folder = write(messages, 1)
    config = changed(config, "data", records=str(folder))
    made = build_features(config, shop.schema)
    RecordLists(config, shop, tmp_path).fit(made)
    for name, kind in features.columns.items():
        state = made.columns[name].state()
        assert set(state) == set(kind.state())
        for key, value in kind.state().items():
            expected = pytest.approx(value, rel=1e-6) if kind.raw_dtype == tf.float32 else value
            assert state[key] == expected, (name, key)
    # Types that occur in no training list are only in the table of events.
    assert set(made.history.types) <= set(features.history.types)


def lists_in(made: list[Batch]) -> Counter:
    """How often each list occurs in the batches, identified by its grades and prices."""
    found: Counter = Counter()
    for batch in made:
        for b, mask in enumerate(batch["mask"]):
            price = batch["price"][batch["slots"][b][mask]]
            found[batch["grades"][b][mask].tobytes() + price.tobytes()] += 1
    return found


@pytest.fixture(scope="module")
def plain(config: Config) -> Config:
    """A config with prices only and without a cut: quick, and every list can be identified."""
    drop = "query title description photo brand rating rating_count sales tags user history".split()
    config = changed(config, "data", window_lists=4, max_candidates=256)
    return changed(config, "model", drop=tuple(drop))


@pytest.fixture(scope="module")
def price(plain: Config, shop: Dataset) -> Features:
    made = build_features(plain, shop.schema)
    made.fit(shop)
    return made


def test_a_pass_yields_every_list_once_for_any_shards_and_workers(
    plain, shop, price, messages, write, tmp_path
):
    whole = TableLists(shop).batches(plain, price, price.item_arrays(shop))
    stream = whole.stream(0)
    expected = lists_in([next(stream) for _ in range(whole.per_pass)])
    for shards, workers in ((1, 1), (3, 1), (3, 2)):
        run = tmp_path / f"{shards}-{workers}"
        run.mkdir()
        made = batches(plain, shop, price, write(messages, shards), run)
        seen: Counter = Counter()
        for index in range(workers):
            own = sum(w.batches for w in made._windows if w.shard % workers == index)
            seen += lists_in(take(made, own, shard=(index, workers)))
        assert seen == expected


def test_a_stream_resumes_where_it_stopped_and_passes_differ(
    plain, shop, price, messages, write, tmp_path
):
    made = batches(plain, shop, price, write(messages, 3), tmp_path)
    all_ = take(made, 2 * made.per_pass + 1)
    for start in (1, made.per_pass - 1, made.per_pass + 2):
        for batch, expected in zip(take(made, 2, start), all_[start:], strict=False):
            assert_same(batch, expected)
    passes = all_[: made.per_pass], all_[made.per_pass : 2 * made.per_pass]
    assert lists_in(passes[0]) == lists_in(passes[1])
    order = [[b["price"].tobytes() for b in p] for p in passes]
    assert order[0] != order[1]


@pytest.mark.slow
def test_training_from_shards_equals_training_from_tables_and_resumes(
    plain, shop, messages, write, tmp_path, monkeypatch
):
    """Nothing is random, so the order of items in a batch has no effect."""
    config = changed(plain, "data", window_lists=999)
    head = dataclasses.replace(config.model.head, dropout=0.0)
    config = changed(config, "model", head=head)
    one, two = tmp_path / "tables", tmp_path / "records"
    one.mkdir()
    two.mkdir()
    train_run(config, shop, one)
    config = changed(config, "data", records=str(write(messages, 1)))

    def fail(self: Progress, batch: int, logs: object = None) -> None:
        if self._epoch == 1 and batch == 1:
            raise RuntimeError("stop")

    with monkeypatch.context() as patched:
        patched.setattr(Progress, "on_train_batch_end", fail)
        with pytest.raises(RuntimeError, match="stop"):
            train_run(config, shop, two, lists=RecordLists(config, shop, two))
    assert State.load(two / "state.json").epoch == 1
    train_run(config, shop, two, resume=True, lists=RecordLists(config, shop, two))
    actual, expected = (State.load(run / "state.json").history for run in (two, one))
    assert len(actual) == 3
    for epoch, other in zip(actual, expected, strict=True):
        for name in ("loss", "val_ndcg_10"):  # the training NDCG breaks ties at random
            assert epoch[name] == pytest.approx(other[name], rel=1e-5)


def test_tasks_are_learned_from_labels_and_an_unknown_label_is_unknown(
    plain, shop, price, messages, write, tmp_path
):
    training = {"tasks": {"click": Task()}, "pseudo_weight": 1.0}
    config = changed(plain, "training", **training)
    made = [ExampleListWithContext.FromString(m.SerializeToString()) for m in messages]
    del made[0].examples[1].features.feature["label/click"]
    batch = batches(config, shop, price, write(made, 1), tmp_path)._batches(0)
    clicks = batch.arrays.labels["click"]
    assert np.isnan(clicks[1])
    expected = [
        dict(e.features.feature)["label/click"].float_list.value[0] for e in messages[0].examples
    ]
    np.testing.assert_array_equal(np.delete(clicks[: len(expected)], 1), np.delete(expected, 1))
    assert "label_click" in batch.listwise


def test_a_broken_photo_is_absent_and_reported(
    config, shop, features, messages, write, tmp_path, caplog
):
    made = [ExampleListWithContext.FromString(m.SerializeToString()) for m in messages[:2]]
    photo = made[0].examples[0].features.feature["photo"].bytes_list
    photo.value[:] = [b"\xff\xd8 broken"]
    lists = batches(config, shop, features, write(made, 1), tmp_path)
    arrays = lists.sample
    assert not arrays.items["photo_present"][arrays.candidates[0]]
    rows = shop.rows("train")["_item"].to_numpy()[: len(arrays.candidates)]
    expected = features.item_arrays(shop)["photo_present"][rows]
    assert arrays.items["photo_present"][arrays.candidates].tolist() == [False, *expected[1:]]
    sent = [bool(e.features.feature["photo"].bytes_list.value) for m in made for e in m.examples]
    broken = len({rows[i] for i in range(1, len(rows)) if sent[i] and not expected[i]})
    caplog.set_level("WARNING", "mmrank")
    take(lists, lists.per_pass + 1)
    assert f"photo: {broken + 1} values in the records are broken" in caplog.text


def test_errors_of_shards_are_reported(plain, shop, price, messages, write, tmp_path):
    folder = write(messages, 3)
    (folder / "manifest.json").rename(folder / "away")
    with pytest.raises(DataError, match="not finished.*build_examples"):
        find_shards(folder, "train")
    (folder / "away").rename(folder / "manifest.json")
    with pytest.raises(DataError, match="no valid list"):
        find_shards(folder, "valid")
    file = folder / "train-00001-of-00003.tfrecord"
    size = file.stat().st_size
    file.write_bytes(b"no record" * (size // 9) + b"x" * (size % 9))
    with pytest.raises(DataError, match="train-00001-of-00003.tfrecord: damaged after record 0"):
        batches(plain, shop, price, folder, tmp_path)
    file.write_bytes(b"cut short")
    with pytest.raises(DataError, match=f"its size is not {size} bytes"):
        find_shards(folder, "train")
    bare = [ExampleListWithContext.FromString(m.SerializeToString()) for m in messages[:3]]
    del bare[2].examples[1].features.feature["label/grade"]
    with pytest.raises(DataError, match="1 example.* whose `grade` is missing"):
        _ = batches(plain, shop, price, write(bare, 1), tmp_path).sample
    bare[1].ClearField("examples")
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="record 1 has no example"):
        batches(plain, shop, price, write(bare, 1), tmp_path / "a")
    (tmp_path / "b").mkdir()
    made = batches(plain, shop, price, write(messages, 2), tmp_path / "b")
    with pytest.raises(DataError, match="2 shard.* for 3 workers"):
        take(made, 1, shard=(0, 3))


def test_a_run_is_not_resumed_on_other_shards(plain, shop, price, messages, write, tmp_path):
    folder = write(messages, 2)
    batches(plain, shop, price, folder, tmp_path)
    write_again = write(messages[:-1], 2)
    with pytest.raises(DataError, match="not those with which the run"):
        batches(plain, shop, price, write_again, tmp_path)


def test_options_that_need_tables_are_refused(plain, shop, messages, write, tmp_path):
    config = changed(plain, "data", records=str(write(messages, 1)))
    with pytest.raises(ConfigError, match="popularity_weight"):
        RecordLists(config, shop, tmp_path).check(
            changed(config, "training", popularity_weight=0.5)
        )
    unnamed = changed(config, "training", tasks={"cart": Task()})
    with pytest.raises(DataError, match="the label 'cart'"):
        RecordLists(unnamed, shop, tmp_path).check(unnamed)
