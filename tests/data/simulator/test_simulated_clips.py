"""Clips of the simulated shop: their motion, queries for it, and its effect on grades."""

from __future__ import annotations

import hashlib
import pathlib
import zipfile

import numpy as np
import pandas as pd
import pytest

from mmrank.data.media import MediaStore
from mmrank.data.simulator import simulate
from mmrank.data.simulator.clips import FRAMES, SIZE, draw_clip
from mmrank.data.simulator.hidden import MOTION, with_hidden
from mmrank.data.simulator.products import make_products
from mmrank.data.simulator.queries import make_queries
from mmrank.data.simulator.world import TYPES
from mmrank.data.tables import Dataset, load_dataset
from mmrank.data.validation import validate_dataset
from mmrank.data.video import decode_clip, probe_video

SIZES = {"items": 240, "queries": 300, "users": 10, "seed": 3}
SHARE = 0.6


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    """One shop without clips and the same shop with clips."""
    folder = tmp_path_factory.mktemp("shops")
    simulate(folder / "without", **SIZES)
    simulate(folder / "with", **SIZES, clips=SHARE)
    return {p.name: p for p in folder.iterdir()}


@pytest.fixture(scope="module")
def shop(shops: dict[str, pathlib.Path]) -> Dataset:
    return load_dataset(shops["with"])


@pytest.fixture(scope="module")
def truth(shops: dict[str, pathlib.Path]) -> pd.DataFrame:
    return pd.read_parquet(shops["with"] / "truth.parquet")


def asked(text: str) -> str | None:
    """The motion that a query names."""
    named = [v.key for v in MOTION.values if any(w in text for w in (*v.zh, *v.en))]
    assert len(named) <= 1
    return named[0] if named else None


@pytest.mark.parametrize("motion", [v.key for v in MOTION.values])
def test_a_clip_shows_its_motion(motion: str) -> None:
    frames = draw_clip(1, 0, motion, np.random.default_rng(3))
    pixels = np.stack([np.asarray(f, float) for f in frames])
    assert pixels.shape == (FRAMES, SIZE, SIZE, 3)
    product = np.abs(pixels - pixels[0, 0, 0]).sum(-1) > 60
    here = product.any((1, 2))
    rows = [np.flatnonzero(p.any(1)).mean() for p in product[here]]
    columns = [np.flatnonzero(p.any(0)).mean() for p in product[here]]
    outlines = {p.tobytes() for p in product}
    assert here.sum() == (FRAMES / 2 if motion == "blinking" else FRAMES)
    assert (np.ptp(rows) > 10) == (motion == "bouncing")
    assert (np.ptp(columns) > 10) == (motion == "swinging")
    assert (len(outlines) == FRAMES) == (motion == "spinning")


def test_without_clips_no_file_mentions_them(shops: dict[str, pathlib.Path]) -> None:
    for name in ("schema.yaml", "simulation.yaml"):
        assert "clip" not in (shops["without"] / name).read_text()
        assert "clip" in (shops["with"] / name).read_text()
    assert "motion" not in pd.read_parquet(shops["without"] / "truth.parquet")
    assert not any(asked(q) for q in load_dataset(shops["without"]).lists["query"])


def test_clips_do_not_change_products_and_photos(shops: dict[str, pathlib.Path]) -> None:
    tables = {n: pd.read_parquet(f / "catalog.parquet") for n, f in shops.items()}
    pd.testing.assert_frame_equal(tables["with"].drop(columns="clip"), tables["without"])
    with (
        zipfile.ZipFile(shops["without"] / "images.zip") as one,
        zipfile.ZipFile(shops["with"] / "images.zip") as other,
    ):
        assert set(one.namelist()) < set(other.namelist())
        assert all(one.read(n) == other.read(n) for n in one.namelist())


def test_the_same_seed_writes_the_same_bytes(tmp_path: pathlib.Path) -> None:
    digests = []
    for name, seed in (("one", 5), ("same", 5), ("other", 6)):
        simulate(tmp_path / name, items=60, queries=20, users=3, seed=seed, clips=0.5)
        files = sorted((tmp_path / name).iterdir())
        digests.append([hashlib.sha256(f.read_bytes()).hexdigest() for f in files])
    assert digests[0] == digests[1] != digests[2]


def test_a_share_of_the_items_has_a_clip_and_few_are_broken(
    shops: dict[str, pathlib.Path], shop: Dataset
) -> None:
    column = shop.catalog["clip"]
    assert abs(column.notna().mean() - SHARE) < 0.1  # 3 standard deviations of 240 draws
    store = MediaStore(shops["with"] / "images.zip")
    broken = [probe_video(store.read(name) or b"") is not None for name in column.dropna()]
    assert 0 < sum(broken) < 12
    report = validate_dataset(shops["with"])
    assert report.errors == ()
    assert report.counts["media"]["clip"] == {
        "named": len(broken),
        "missing": 0,
        "checked": len(broken),
        "broken": sum(broken),
    }


def test_clips_show_the_true_motion(
    shops: dict[str, pathlib.Path], shop: Dataset, truth: pd.DataFrame
) -> None:
    """A blinking product is missing in some frames; no other motion leaves a frame empty."""
    store = MediaStore(shops["with"] / "images.zip")
    motions = set()
    for motion, name in zip(truth["motion"], shop.catalog["clip"], strict=True):
        data = store.read(name) if isinstance(name, str) else None
        if data is None or probe_video(data) is not None:
            continue
        clip = decode_clip(data, 12, SIZE, SIZE).astype(int)
        empty = np.ptp(clip, axis=(1, 2)).max(1) == 0  # a single colour
        assert empty.any() == (motion == "blinking")
        motions.add(motion)
    assert motions == {v.key for v in MOTION.values}


def test_queries_ask_for_motions_in_both_languages() -> None:
    products = make_products(300, np.random.default_rng(0))
    plain = make_queries(300, products, np.random.default_rng(1))
    moving, queries = with_hidden(products, plain, MOTION, np.random.default_rng(2))
    wanted = queries.wanted[:, -1]
    assert abs((wanted >= 0).mean() - 0.4) < 0.1
    assert moving.values_of(MOTION).shape == (300,)
    assert not moving.named[:, -1].any()
    languages = set()
    for q, (before, after) in enumerate(zip(plain.text, queries.text, strict=True)):
        assert asked(after) == (None if wanted[q] < 0 else MOTION.values[wanted[q]].key)
        assert after.endswith(before)
        if wanted[q] >= 0:
            languages.add((before.isascii(), after.isascii()))
            named = queries.wanted[q] >= 0
            found = (moving.attributes[:, named] == queries.wanted[q, named]).all(1)
            assert (found & (moving.types == queries.types[q])).any()
    assert {(True, True), (False, False)} <= languages
    np.testing.assert_array_equal(queries.wanted[:, :-1], plain.wanted)


def test_grades_follow_the_motion(shop: Dataset, truth: pd.DataFrame) -> None:
    """A query for a motion alone has use (holds it + appeal) / 2: holders get a grade above 1."""
    words = {w for v in MOTION.values for w in (*v.zh, *v.en)}
    kinds = {w: t.value.key for t in TYPES for w in (*t.value.zh, *t.value.en)}
    seen = {True: set(), False: set()}
    for text, rows in shop.lists.groupby("query"):
        for word in words:
            kind = kinds.get(text.removeprefix(word).strip()) if text.startswith(word) else None
            if kind is None:
                continue
            shown = truth.iloc[rows["_item"]]
            same = shown["type"].to_numpy() == kind
            holds = shown["motion"].to_numpy() == asked(text)
            for has in (True, False):
                seen[has] |= set(rows["grade"].to_numpy()[same & (holds == has)])
    assert seen[True] == {2, 3}
    assert {0, 1} <= seen[False] <= {0, 1, 2}


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_is_from_0_to_1(tmp_path: pathlib.Path, share: float) -> None:
    with pytest.raises(ValueError, match=f"clips is {share}, but must be from 0 to 1"):
        simulate(tmp_path / "shop", **SIZES, clips=share)
