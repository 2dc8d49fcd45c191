"""Numbered folders appear complete, whatever happens to the process that writes them."""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import signal

import pytest

from mmrank.serving.checksums import CHECKSUMS, ChecksumError, verify_checksums
from mmrank.serving.versions import version_folder, versions, write_version


def fill(folder: pathlib.Path) -> None:
    (folder / "assets.extra").mkdir(parents=True)
    (folder / "variables").mkdir()
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "data").write_bytes(bytes(3_000_000))


def half_filled(folder: pathlib.Path) -> None:
    fill(folder)
    os.kill(os.getpid(), signal.SIGKILL)


def test_numbers_count_up(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "a" / "exports"
    for number in (1, 2):
        assert write_version(out, fill) == out / str(number)
    (out / "7").mkdir()
    assert write_version(out, fill) == out / "8"
    assert versions(out) == [1, 2, 7, 8]
    assert {p.name for p in out.iterdir()} == {"1", "2", "7", "8"}


def test_a_name_that_is_not_an_int64_is_not_a_version(tmp_path: pathlib.Path) -> None:
    for name in ("3", "0004", "9" * 20, "٥", "-1", "5a", str(2**63 - 1), str(2**63)):
        (tmp_path / name).mkdir()
    assert versions(tmp_path) == [3, 4, 2**63 - 1]


def test_a_number_may_have_leading_zeros(tmp_path: pathlib.Path) -> None:
    for name in ("001", "02", "2", "0002"):
        (tmp_path / name).mkdir()
    assert versions(tmp_path) == [1, 2]
    assert version_folder(tmp_path, 1) == tmp_path / "001"
    assert version_folder(tmp_path, 2) == tmp_path / "2"
    assert version_folder(tmp_path, 3) == tmp_path / "3"  # does not exist
    assert version_folder(tmp_path / "nowhere", 3) == tmp_path / "nowhere" / "3"
    assert write_version(tmp_path, fill) == tmp_path / "3"


def test_a_number_taken_by_another_process_is_skipped(tmp_path: pathlib.Path) -> None:
    def slow(folder: pathlib.Path) -> None:
        fill(folder)
        # Neither does it remove the other folder, which is still being written.
        assert write_version(tmp_path, fill).name == "1"

    assert write_version(tmp_path, slow).name == "2"
    for number in (1, 2):
        verify_checksums(tmp_path / str(number))


def test_the_next_export_removes_what_a_killed_one_left(tmp_path: pathlib.Path) -> None:
    killed = multiprocessing.get_context("fork").Process(
        target=write_version, args=(tmp_path, half_filled)
    )
    killed.start()
    killed.join(30)
    assert killed.exitcode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert versions(tmp_path) == []
    assert left.name.startswith(".")
    assert (left / "export" / "saved_model.pb").is_file()
    assert write_version(tmp_path, fill) == tmp_path / "1"
    assert [p.name for p in tmp_path.iterdir()] == ["1"]


def test_an_error_leaves_nothing(tmp_path: pathlib.Path) -> None:
    def broken(folder: pathlib.Path) -> None:
        fill(folder)
        raise RuntimeError("no space left")

    with pytest.raises(RuntimeError):
        write_version(tmp_path, broken)
    assert list(tmp_path.iterdir()) == []


def test_checksums_are_those_of_sha256sum(tmp_path: pathlib.Path) -> None:
    folder = write_version(tmp_path, fill)
    # The digest of "graph" by sha256sum.
    digest = "eef93e1d14482804277fca0172464032d1a4fdbcc338524059fa1e861454ad4d"
    lines = (folder / CHECKSUMS).read_text("utf-8").splitlines()
    assert lines[0] == f"{digest}  saved_model.pb"
    assert [line.split("  ")[1] for line in lines] == ["saved_model.pb", "variables/data"]


def test_every_alteration_is_reported(tmp_path: pathlib.Path) -> None:
    folder = write_version(tmp_path, fill)
    data = folder / "variables" / "data"
    verify_checksums(folder)
    data.write_bytes(data.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ChecksumError, match=r"variables/data: not the bytes"):
        verify_checksums(folder)
    data.unlink()
    with pytest.raises(ChecksumError, match=r"variables/data: missing"):
        verify_checksums(folder)
    data.write_bytes(bytes(3_000_000))
    verify_checksums(folder)
    (folder / "added").touch()
    with pytest.raises(ChecksumError, match=r"added: not in"):
        verify_checksums(folder)
    (folder / CHECKSUMS).write_text("gibberish\n")
    with pytest.raises(ChecksumError, match=r"sha256:1: not a checksum"):
        verify_checksums(folder)
    (folder / CHECKSUMS).unlink()
    with pytest.raises(ChecksumError, match="cannot be checked"):
        verify_checksums(folder)
