import hashlib
import io
import pathlib
import zipfile

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from sklearn.metrics import ndcg_score

from mmrank.data.simulator import OutputError, Summary, simulate
from mmrank.data.simulator.summary import mean_ndcg
from mmrank.data.tables import Dataset, load_dataset

ITEMS, QUERIES, USERS = 300, 400, 30


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, Summary]:
    folder = tmp_path_factory.mktemp("simulated") / "shop"
    return folder, simulate(folder, items=ITEMS, queries=QUERIES, users=USERS, seed=3)


@pytest.fixture(scope="module")
def shop(made: tuple[pathlib.Path, Summary]) -> Dataset:
    return load_dataset(made[0])


def _digests(folder: pathlib.Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_the_same_seed_writes_the_same_bytes(tmp_path: pathlib.Path) -> None:
    for name, seed in (("one", 5), ("same", 5), ("other", 6)):
        simulate(tmp_path / name, items=60, queries=40, users=10, seed=seed)
    assert _digests(tmp_path / "one") == _digests(tmp_path / "same")
    assert _digests(tmp_path / "one")["images.zip"] != _digests(tmp_path / "other")["images.zip"]
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["one", "other", "same"]


def test_more_users_do_not_change_the_products(tmp_path: pathlib.Path) -> None:
    for name, users in (("few", 5), ("many", 9)):
        simulate(tmp_path / name, items=60, queries=10, users=users, seed=5)
    few, many = _digests(tmp_path / "few"), _digests(tmp_path / "many")
    assert few["catalog.parquet"] == many["catalog.parquet"]
    assert few["images.zip"] == many["images.zip"]


def test_the_dataset_is_read_with_every_kind_and_label(shop: Dataset) -> None:
    kinds = {f.kind for f in shop.schema.features}
    assert kinds == {"text", "image", "number", "category", "tags", "history"}
    labels = ["grade", "position", "click", "dwell", "purchase"]
    assert [f.name for f in shop.schema.side("label")] == labels
    assert len(shop.catalog) == ITEMS
    assert shop.lists["list_id"].nunique() == QUERIES


def test_pages_have_10_to_30_different_items_in_order(shop: Dataset) -> None:
    for _, page in shop.lists.groupby("list_id", sort=False):
        assert 10 <= len(page) <= 30
        assert page["item_id"].is_unique
        assert page["position"].tolist() == list(range(1, len(page) + 1))
        assert page["query"].nunique() == page["user_id"].nunique() == page["time"].nunique() == 1


def test_the_split_follows_time(shop: Dataset) -> None:
    time = shop.lists.groupby("split")["time"].agg(["min", "max"])
    assert time.loc["train", "max"] <= time.loc["valid", "min"]
    assert time.loc["valid", "max"] <= time.loc["test", "min"]
    counts = shop.lists.groupby("split")["list_id"].nunique()
    assert counts.to_dict() == {"train": 320, "valid": 40, "test": 40}


def test_no_item_is_shown_or_touched_before_it_arrives(shop: Dataset) -> None:
    arrived = shop.catalog["arrived"].to_numpy()
    assert shop.events is not None
    assert (arrived[shop.lists["_item"]] <= shop.lists["time"]).all()
    assert (arrived[shop.events["_item"]] <= shop.events["time"]).all()
    late = arrived[shop.lists["_item"]] > shop.lists["time"].min()
    share = pd.Series(late).groupby(shop.lists["split"].to_numpy()).mean()
    assert share["test"] > share["valid"] > share["train"]


def test_every_click_is_a_later_event(shop: Dataset) -> None:
    assert shop.events is not None
    for label, kind in (("click", "view"), ("purchase", "purchase")):
        chosen = shop.lists[shop.lists[label] == 1]
        events = shop.events[
            (shop.events["event_type"] == kind) & (shop.events["time"] > shop.lists["time"].min())
        ]
        assert len(events) == len(chosen) > 0
        joined = chosen.merge(events, on=["user_id", "item_id"], suffixes=("", "_event"))
        later = joined["time_event"] > joined["time"]
        assert joined[later].groupby(["list_id", "item_id"]).ngroups == len(chosen)


def test_grades_agree_with_the_truth(made: tuple[pathlib.Path, Summary], shop: Dataset) -> None:
    """Within a list, all items with a grade above 0 are of one type: that of the query."""
    kinds = pd.read_parquet(made[0] / "truth.parquet")["type"].to_numpy()
    good = shop.lists[shop.lists["grade"] > 0]
    assert pd.Series(kinds[good["_item"]]).groupby(good["list_id"].to_numpy()).nunique().max() == 1
    assert set(shop.lists["grade"]) == {0, 1, 2, 3}


def test_photos_have_the_state_of_the_truth_table(
    made: tuple[pathlib.Path, Summary], shop: Dataset
) -> None:
    states = pd.read_parquet(made[0] / "truth.parquet")["photo_state"].to_numpy()
    members = shop.catalog["photo"]
    np.testing.assert_array_equal(members.isna(), states == "missing")
    with zipfile.ZipFile(made[0] / "images.zip") as archive:
        assert {i.compress_type for i in archive.infolist()} == {zipfile.ZIP_STORED}
        assert set(archive.namelist()) == set(members.dropna())
        for member, state in zip(members, states, strict=True):
            if state == "good":
                assert Image.open(io.BytesIO(archive.read(member))).size == (64, 64)
            elif state == "broken":
                with pytest.raises(OSError):  # noqa: PT011 - Pillow has no narrower error
                    Image.open(io.BytesIO(archive.read(member))).load()
    assert {"missing", "broken"} <= set(states)


def test_simulation_yaml_states_the_click_model(made: tuple[pathlib.Path, Summary]) -> None:
    plain = yaml.safe_load((made[0] / "simulation.yaml").read_text(encoding="utf-8"))
    assert plain["arguments"] == {"items": ITEMS, "queries": QUERIES, "users": USERS, "seed": 3}
    eta = plain["click_model"]["eta"]
    expected = [k**-eta for k in range(1, 31)]
    np.testing.assert_allclose(plain["examination_by_position"], expected, atol=1e-6)


def test_summary_counts_what_was_written(made: tuple[pathlib.Path, Summary], shop: Dataset) -> None:
    summary = made[1]
    assert shop.events is not None
    assert (summary.items, summary.lists, summary.rows) == (ITEMS, QUERIES, len(shop.lists))
    assert summary.events == len(shop.events)
    assert summary.queries == shop.lists["query"].nunique()
    assert sum(summary.grades) == pytest.approx(1)
    first = shop.lists[shop.lists["position"] == 1]
    assert summary.click_through[0] == pytest.approx(first["click"].mean())
    assert summary.ndcg_random + 0.1 < summary.ndcg_logged < 0.8  # mediocre, but better than random


def test_mean_ndcg_against_scikit_learn(shop: Dataset) -> None:
    random, logged = [], []
    for _, page in shop.lists.groupby("list_id", sort=False):
        gain = 2.0 ** page["grade"].to_numpy()[None] - 1
        if gain.any():
            order = -page["position"].to_numpy(dtype=float)[None]
            logged.append(ndcg_score(gain, order, k=10))
            random.append(ndcg_score(gain, np.zeros_like(gain), k=10))  # averaged over ties
    found = mean_ndcg(shop.lists["list_id"].to_numpy(), shop.lists["grade"].to_numpy())
    np.testing.assert_allclose(found, [np.mean(random), np.mean(logged)], rtol=1e-9)


def test_mean_ndcg_without_a_relevant_item() -> None:
    assert np.isnan(mean_ndcg(np.array([1, 1]), np.array([0, 0]))).all()


@pytest.mark.parametrize(
    ("name", "value"), [("items", 59), ("queries", 9), ("users", 0), ("seed", -1)]
)
def test_invalid_sizes_are_refused(tmp_path: pathlib.Path, name: str, value: int) -> None:
    arguments = {"items": 60, "queries": 10, "users": 1, "seed": 0} | {name: value}
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        simulate(tmp_path / "shop", **arguments)
    assert not list(tmp_path.iterdir())


def test_the_smallest_shop_is_complete(tmp_path: pathlib.Path) -> None:
    simulate(tmp_path / "shop", items=60, queries=10, users=1, seed=0)
    assert set(load_dataset(tmp_path / "shop").lists["_split"]) == {"train", "valid", "test"}


def test_existing_files_are_kept(tmp_path: pathlib.Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="not empty"):
        simulate(tmp_path, items=60, queries=10, users=2, seed=0)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_the_rest_of_a_killed_run_is_replaced(tmp_path: pathlib.Path) -> None:
    partial = tmp_path / ".shop.partial"
    partial.mkdir()
    (partial / "images.zip").write_bytes(b"half")
    (partial / ".mmrank-unfinished").touch()
    simulate(tmp_path / "shop", items=60, queries=10, users=2, seed=0)
    assert [p.name for p in tmp_path.iterdir()] == ["shop"]


def test_a_folder_with_other_files_is_not_removed(tmp_path: pathlib.Path) -> None:
    partial = tmp_path / ".shop.partial"
    partial.mkdir()
    (partial / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="mine.txt"):
        simulate(tmp_path / "shop", items=60, queries=10, users=2, seed=0)
    assert (partial / "mine.txt").is_file()
