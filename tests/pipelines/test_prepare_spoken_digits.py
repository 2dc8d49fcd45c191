"""Spoken digits: every recording among ten digits, and splits by speaker."""

from __future__ import annotations

import pathlib
import zipfile

import pytest
import soundfile

from mmrank.data.tables import load_dataset
from mmrank.data.validation import validate_dataset
from pipelines import prepare_spoken_digits
from pipelines.prepare_spoken_digits import prepare, read_recordings, split_of

SPEAKERS = ("ann", "ben", "cleo", "dan")
TAKES = 2


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
    """Four speakers with two takes of each digit."""
    folder = tmp_path / "digits"
    (folder / "recordings").mkdir(parents=True)
    for speaker in SPEAKERS:
        for digit in range(10):
            for take in range(TAKES):
                name = f"{digit}_{speaker}_{take}.wav"
                soundfile.write(folder / "recordings" / name, [0.01 * digit] * 80, 8000)
    return folder


def run(source: pathlib.Path, *more: str) -> tuple[int, pathlib.Path]:
    out = source.parent / "out"
    return prepare_spoken_digits.main(["--source", str(source), "--out", str(out), *more]), out


def test_a_recording_has_all_digits_as_candidates(source: pathlib.Path, capsys):
    code, out = run(source, "--speaker", "ben")
    assert code == 0
    data = load_dataset(out)
    assert data.item_ids.tolist() == [str(digit) for digit in range(10)]
    assert data.catalog["name"].tolist()[:3] == ["zero", "one", "two"]
    assert data.lists["list_id"].nunique() == len(SPEAKERS) * 10 * TAKES
    for name, rows in data.lists.groupby("list_id"):
        assert rows["item_id"].tolist() == [str(digit) for digit in range(10)]
        assert set(rows["recording"]) == {name}
        assert rows["grade"].tolist() == [int(name[0] == str(digit)) for digit in range(10)]
    with zipfile.ZipFile(out / "recordings.zip") as archive:
        assert set(archive.namelist()) == set(data.lists["recording"])
        given = (source / "recordings" / "7_cleo_1.wav").read_bytes()
        assert archive.read("7_cleo_1.wav") == given
    validate_dataset(out, media="all").raise_if_errors()
    actual = capsys.readouterr().out
    assert "train     40 recordings of ann, dan; random order is right in 10%" in actual
    assert f"configs/spoken_digits.yaml --data {out}" in actual


@pytest.mark.parametrize(
    ("more", "test", "valid"),
    [
        (["--speaker", "ann"], "ann", "ben"),
        (["--speaker", "dan"], "dan", "ann"),  # after the last speaker comes the first
        (["--speaker", "dan", "--valid", "cleo"], "dan", "cleo"),
    ],
)
def test_no_speaker_is_in_two_splits(source: pathlib.Path, more, test, valid):
    code, out = run(source, *more)
    assert code == 0
    lists = load_dataset(out).lists
    speakers = lists["recording"].str.split("_").str[1]
    rest = dict.fromkeys(SPEAKERS, "train") | {test: "test", valid: "valid"}
    assert lists["split"].tolist() == speakers.map(rest).tolist()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--speaker", "anne"], "--speaker anne: no recording; did you mean 'ann'?"),
        (["--speaker", "ann", "--valid", "eve"], "--valid eve: no recording"),
        (["--speaker", "ann", "--valid", "ann"], "--valid ann: is the speaker of the test"),
    ],
)
def test_wrong_speakers_are_refused(source: pathlib.Path, capsys, more, message):
    code, out = run(source, *more)
    said = capsys.readouterr().err
    assert code == 2
    assert said.startswith(f"error: {message}")
    assert not out.exists()


def test_wrong_sources_are_refused(source: pathlib.Path, tmp_path: pathlib.Path, capsys):
    assert run(tmp_path, "--speaker", "ann")[0] == 2
    assert "has no .wav files; --source is the folder with recordings" in capsys.readouterr().err
    for file in (source / "recordings").glob("*_[cd]*.wav"):
        file.unlink()
    assert run(source, "--speaker", "ann")[0] == 2
    assert "there are only recordings of ann, ben" in capsys.readouterr().err
    (source / "recordings" / "ten_ann_1.wav").write_bytes(b"")
    assert run(source, "--speaker", "ann")[0] == 2
    assert "ten_ann_1.wav: the name is not DIGIT_SPEAKER_TAKE.wav" in capsys.readouterr().err


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit):
        prepare_spoken_digits.main(["--help"])
    assert "example: python -m pipelines.prepare_spoken_digits" in capsys.readouterr().out


def test_on_the_real_recordings(shared_data: pathlib.Path, tmp_path: pathlib.Path):
    source = shared_data / "spoken_digits"
    if not source.is_dir():
        pytest.skip("no spoken digits there")
    prepare(source, tmp_path / "out", speaker="theo")
    lists = load_dataset(tmp_path / "out").lists
    assert lists.groupby("split")["list_id"].nunique().to_dict() == {
        "test": 100,
        "train": 400,
        "valid": 100,
    }
    recordings = read_recordings(source)
    assert recordings.groupby(["speaker", "digit"]).size().unique().tolist() == [10]
    assert set(recordings["speaker"][split_of(recordings, "theo") == "valid"]) == {"yweweler"}
