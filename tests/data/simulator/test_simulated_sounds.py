"""Sounds of the simulated shop: their attribute, queries for it, and its effect on grades."""

from __future__ import annotations

import hashlib
import pathlib
import zipfile

import numpy as np
import pandas as pd
import pytest

from mmrank.data.audio import decode_sound, probe_audio
from mmrank.data.media import MediaStore
from mmrank.data.simulator import simulate
from mmrank.data.simulator.hidden import SOUND
from mmrank.data.simulator.sounds import RATE, SECONDS, make_sound
from mmrank.data.simulator.world import TYPES
from mmrank.data.tables import Dataset, load_dataset
from mmrank.data.validation import validate_dataset

SIZES = {"items": 240, "queries": 300, "users": 10, "seed": 3}
SHARE = 0.6
KEYS = [v.key for v in SOUND.values]


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    """One shop without sounds and the same shop with sounds."""
    folder = tmp_path_factory.mktemp("shops")
    simulate(folder / "without", **SIZES)
    simulate(folder / "with", **SIZES, sounds=SHARE)
    return {p.name: p for p in folder.iterdir()}


@pytest.fixture(scope="module")
def shop(shops: dict[str, pathlib.Path]) -> Dataset:
    return load_dataset(shops["with"])


@pytest.fixture(scope="module")
def truth(shops: dict[str, pathlib.Path]) -> pd.DataFrame:
    return pd.read_parquet(shops["with"] / "truth.parquet")


def asked(text: str) -> str | None:
    """The sound that a query names."""
    named = [v.key for v in SOUND.values if any(w in text for w in (*v.zh, *v.en))]
    assert len(named) <= 1
    return named[0] if named else None


def recognised(samples: np.ndarray) -> str:
    """The sound, recognised by where its energy lies and by its course over time.

    A hum lies below 650 Hz. A beep is one tone of 960 to 1,500 Hz. A bell is a tone of 480 to 750
    Hz with partials above it. Noise is spread over all frequencies.
    """
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)

    def share(low: float, high: float) -> float:
        return float(power[(hertz >= low) & (hertz < high)].sum() / power.sum())

    if share(0, 400) > 0.6:
        return "humming"
    if share(900, 1560) > 0.8:
        return "beeping"
    top = hertz[power.argmax()]
    around = share(top - 30, top + 30)
    return "ringing" if around > 0.15 else "rustling"


@pytest.mark.parametrize("sound", KEYS)
def test_a_recording_has_its_sound(sound: str) -> None:
    rng = np.random.default_rng(3)
    made = [make_sound(sound, rng) for _ in range(20)]
    assert {recognised(samples) for samples in made} == {sound}
    assert all(samples.shape == (round(SECONDS * RATE),) for samples in made)
    assert all(0.15 < np.abs(samples).max() <= 1 for samples in made)
    loudness = [float(np.sqrt((samples**2).mean())) for samples in made]
    assert max(loudness) > 1.5 * min(loudness)


def test_without_sounds_no_file_mentions_them(shops: dict[str, pathlib.Path]) -> None:
    for name in ("schema.yaml", "simulation.yaml"):
        assert "sound" not in (shops["without"] / name).read_text()
        assert "sound" in (shops["with"] / name).read_text()
    assert "sound" not in pd.read_parquet(shops["without"] / "truth.parquet")
    assert not any(asked(q) for q in load_dataset(shops["without"]).lists["query"])


def test_sounds_do_not_change_products_and_photos(shops: dict[str, pathlib.Path]) -> None:
    tables = {n: pd.read_parquet(f / "catalog.parquet") for n, f in shops.items()}
    pd.testing.assert_frame_equal(tables["with"].drop(columns="sound"), tables["without"])
    with (
        zipfile.ZipFile(shops["without"] / "images.zip") as one,
        zipfile.ZipFile(shops["with"] / "images.zip") as other,
    ):
        assert set(one.namelist()) < set(other.namelist())
        assert all(one.read(n) == other.read(n) for n in one.namelist())


def test_the_same_seed_writes_the_same_bytes(tmp_path: pathlib.Path) -> None:
    """The same holds with both clips and sounds."""
    digests = []
    for name, seed in (("one", 5), ("same", 5), ("other", 6)):
        simulate(tmp_path / name, items=60, queries=20, users=3, seed=seed, clips=0.2, sounds=0.5)
        files = sorted((tmp_path / name).iterdir())
        digests.append([hashlib.sha256(f.read_bytes()).hexdigest() for f in files])
    assert digests[0] == digests[1] != digests[2]
    catalog = pd.read_parquet(tmp_path / "one" / "catalog.parquet")
    assert catalog[["clip", "sound"]].notna().any().all()


def test_sounds_have_the_true_attribute_and_few_are_broken(
    shops: dict[str, pathlib.Path], shop: Dataset, truth: pd.DataFrame
) -> None:
    column = shop.catalog["sound"]
    assert abs(column.notna().mean() - SHARE) < 0.1  # 3 standard deviations of 240 draws
    store = MediaStore(shops["with"] / "images.zip")
    broken, actual = 0, set()
    for sound, name in zip(truth["sound"], column, strict=True):
        if not isinstance(name, str):
            continue
        data = store.read(name) or b""
        if probe_audio(data) is not None:
            broken += 1
            continue
        assert recognised(decode_sound(data, RATE, 1.0)) == sound
        actual.add(sound)
    assert actual == set(KEYS)
    assert 0 < broken < 12
    report = validate_dataset(shops["with"])
    assert report.errors == ()
    named = int(column.notna().sum())
    assert report.counts["media"]["sound"] == {
        "named": named,
        "missing": 0,
        "checked": named,
        "broken": broken,
    }


def test_grades_follow_the_sound(shop: Dataset, truth: pd.DataFrame) -> None:
    """A query for a sound alone has use (holds it + appeal) / 2: holders get a grade above 1."""
    words = {w for v in SOUND.values for w in (*v.zh, *v.en)}
    kinds = {w: t.value.key for t in TYPES for w in (*t.value.zh, *t.value.en)}
    seen: dict[bool, set[int]] = {True: set(), False: set()}
    languages = set()
    for text, rows in shop.lists.groupby("query"):
        for word in words:
            kind = kinds.get(text.removeprefix(word).strip()) if text.startswith(word) else None
            if kind is None:
                continue
            languages.add(word.isascii())
            shown = truth.iloc[rows["_item"]]
            same = shown["type"].to_numpy() == kind
            holds = shown["sound"].to_numpy() == asked(text)
            for has in (True, False):
                seen[has] |= set(rows["grade"].to_numpy()[same & (holds == has)])
    assert seen[True] == {2, 3}
    assert {0, 1} <= seen[False] <= {0, 1, 2}
    assert languages == {True, False}
