"""Makes a dataset of spoken digits: a recording is the query for the digit that it says.

    python -m pipelines.prepare_spoken_digits --source DIR --out DIR --speaker NAME

Source: the public layout of the Free Spoken Digit Dataset, `recordings/DIGIT_SPEAKER_TAKE.wav`.

- A list has one recording as its query and all ten digits as candidates; a digit has an id and a
  name. The grade is 1 for the spoken digit, so precision@1 is the accuracy of recognition.
- The split is by speaker: all recordings of one (`--speaker`) are the test, all of another
  (`--valid`) are valid, and training has neither speaker. If recordings were divided instead, the
  model would know every voice.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import re
import sys
import zipfile

import numpy as np
import pandas as pd

from mmrank.data.validation import validate_dataset
from mmrank.outputs import InputError, exit_code, new_folder
from mmrank.schema import Catalog, Feature, Lists, Schema, did_you_mean, save_schema

FOLDER, ARCHIVE = "recordings", "recordings.zip"
NAMES = "zero one two three four five six seven eight nine".split()
FILE = re.compile(r"([0-9])_([^_]+)_([0-9]+)\.wav")

SCHEMA = Schema(
    name="spoken_digits",
    media=ARCHIVE,
    catalog=Catalog(),
    lists=Lists(split="split"),
    events=None,
    features=(
        Feature("recording", "audio", "query", "recording"),
        Feature("digit", "category", "item", "item_id"),
        Feature("name", "text", "item", "name"),
        Feature("grade", "number", "label", "grade"),
    ),
)


def read_recordings(source: pathlib.Path) -> pd.DataFrame:
    """The recordings by name: `recording`, the file's name; `digit`, 0 to 9; `speaker`.

    Args:
      source: Folder with `recordings`.

    Raises:
      InputError: There are no recordings, or a file's name does not give digit, speaker and take.
    """
    folder = source / FOLDER
    names = sorted(file.name for file in folder.glob("*.wav"))
    if not names:
        raise InputError(f"{folder}: has no .wav files; --source is the folder with {FOLDER}")
    rows = []
    for name in names:
        match = FILE.fullmatch(name)
        if match is None:
            raise InputError(
                f"{folder / name}: the name is not DIGIT_SPEAKER_TAKE.wav; rename or remove it"
            )
        rows.append((name, int(match[1]), match[2]))
    return pd.DataFrame(rows, columns=["recording", "digit", "speaker"])


def split_of(recordings: pd.DataFrame, speaker: str, valid: str | None = None) -> pd.Series:
    """The split of each recording, by its speaker.

    Args:
      recordings: The result of `read_recordings`.
      speaker: The speaker of the test only.
      valid: The speaker of valid only; None for the next one by name.

    Raises:
      InputError: A speaker has no recordings, both are the same, or none is left for training.
    """
    speakers = sorted(recordings["speaker"].unique())
    if len(speakers) < 3:
        raise InputError(
            f"there are only recordings of {', '.join(speakers)}; test, valid and train need a "
            "speaker each"
        )
    for flag, name in (("--speaker", speaker), ("--valid", valid)):
        if name is not None and name not in speakers:
            raise InputError(
                f"{flag} {name}: no recording{did_you_mean(name, speakers)}; there are "
                f"{', '.join(speakers)}"
            )
    if valid is None:
        valid = speakers[(speakers.index(speaker) + 1) % len(speakers)]
    if valid == speaker:
        raise InputError(f"--valid {valid}: is the speaker of the test; give another one")
    return recordings["speaker"].map({speaker: "test", valid: "valid"}).fillna("train")


def make_lists(recordings: pd.DataFrame, split: pd.Series) -> pd.DataFrame:
    """Each recording with all digits: `list_id`, `item_id`, `recording`, `split` and `grade`."""
    count = len(NAMES)
    spoken = np.repeat(recordings["digit"].to_numpy(), count)
    offered = np.tile(np.arange(count), len(recordings))
    names = np.repeat(recordings["recording"].to_numpy(), count)
    return pd.DataFrame(
        {
            "list_id": names,
            "item_id": offered.astype(str),
            "recording": names,
            "split": np.repeat(split.to_numpy(), count),
            "grade": (spoken == offered).astype(np.int8),
        }
    )


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of `prepare`, which describes them."""

    speaker: str
    valid: str | None = None


def prepare(
    source: pathlib.Path, out: pathlib.Path, *, speaker: str, valid: str | None = None
) -> None:
    """Writes the prepared dataset of `source` to the new folder `out` and prints a summary.

    Args:
      source: Folder of the public layout; only read.
      out: Folder to create.
      speaker, valid: As for `split_of`.

    Raises:
      InputError: The source cannot be used, or a speaker has no recordings.
      OutputError: `out` exists.
      DataError: The resulting dataset is not valid.
    """
    recordings = read_recordings(source)
    split = split_of(recordings, speaker, valid)
    digits = pd.DataFrame({"item_id": [str(i) for i in range(len(NAMES))], "name": NAMES})
    with new_folder(out) as folder:
        digits.to_parquet(folder / SCHEMA.catalog.file, index=False)
        lists = make_lists(recordings, split)
        lists.to_parquet(folder / SCHEMA.lists.file, index=False)
        with zipfile.ZipFile(folder / ARCHIVE, "w", zipfile.ZIP_STORED) as packed:
            for name in recordings["recording"]:
                packed.write(source / FOLDER / name, name)
        save_schema(SCHEMA, folder)
        validate_dataset(folder, media="none").raise_if_errors()
    for name in ("train", "valid", "test"):
        part = recordings[split == name]
        print(
            f"{name:<6} {len(part):>5,} recordings of {', '.join(part['speaker'].unique())}; "
            f"random order is right in {1 / len(NAMES):.0%}"
        )
    print(
        f"written to {out}. Next:\n"
        f"  python -m mmrank.train --config configs/spoken_digits.yaml --data {out}"
    )


def main(argv: list[str] | None = None) -> int:
    """The exit code of the command line: 0, 2 for wrong input, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.prepare_spoken_digits",
        description="Makes a prepared dataset of recordings that each say one of ten digits.",
        epilog="example: python -m pipelines.prepare_spoken_digits --source data/spoken_digits "
        "--out prepared --speaker theo",
    )
    parser.add_argument("--source", type=pathlib.Path, required=True, help=f"folder with {FOLDER}")
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, help="new folder for the dataset"
    )
    parser.add_argument("--speaker", required=True, metavar="NAME", help="speaker of the test only")
    parser.add_argument(
        "--valid",
        metavar="NAME",
        help="speaker of valid only (default: the next one by name)",
    )
    args = parser.parse_args(argv)
    return exit_code(lambda: prepare(args.source, args.out, speaker=args.speaker, valid=args.valid))


if __name__ == "__main__":
    sys.exit(main())
