"""The audit log: the content of a line, append-only files, and detection of changes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pathlib

import pytest

from mmrank.server.guard.audit import START, AuditError, AuditLog, begin, note, verify_audit


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "audit.jsonl"


def write(file: pathlib.Path, *actions: str) -> None:
    log = AuditLog(file)
    for action in actions:
        log.add({"action": action, "text": 'a "quote", "chain": "x"\nand Zoë \ud800'})
    log.close()


def lines(file: pathlib.Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_each_line_is_chained_to_the_one_before(file: pathlib.Path) -> None:
    write(file, "rank", "reload")
    read = lines(file)
    assert [line["action"] for line in read] == ["opened", "rank", "reload"]
    chain = START
    for raw, line in zip(file.read_bytes().splitlines(), read, strict=True):
        text = raw[: raw.rindex(b', "chain"')] + b"}"
        chain = hashlib.sha256(chain.encode() + text).hexdigest()
        assert line["chain"] == chain
    assert verify_audit(file) == (3, chain)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_new_server_continues_the_chain(file: pathlib.Path) -> None:
    write(file, "rank")
    before = file.read_bytes()
    write(file, "reload")
    assert file.read_bytes().startswith(before)
    assert verify_audit(file)[0] == 4


@pytest.mark.parametrize("change", ["edit", "delete", "swap", "insert", "cut"])
def test_changed_lines_are_detected(file: pathlib.Path, change: str) -> None:
    write(file, "a", "b", "c", "d")
    held = file.read_text(encoding="utf-8").splitlines(keepends=True)
    if change == "edit":
        held[2] = held[2].replace('"b"', '"x"')
    elif change == "delete":
        del held[2]
    elif change == "swap":
        held[2], held[3] = held[3], held[2]
    elif change == "insert":
        held.insert(2, held[1])
    else:
        held[-1] = held[-1][:-9]
    file.write_text("".join(held), encoding="utf-8")
    with pytest.raises(AuditError, match="line [345]"):
        verify_audit(file)


def test_a_moved_file_is_replaced_by_a_new_one(file: pathlib.Path, tmp_path: pathlib.Path) -> None:
    log = AuditLog(file)
    log.add({"action": "a"})
    file.rename(tmp_path / "old")
    log.add({"action": "b"})
    log.add({"action": "c"})
    log.close()
    assert verify_audit(tmp_path / "old")[0] == 2
    assert verify_audit(file)[0] == 2
    assert lines(file)[0]["after"] == lines(tmp_path / "old")[-1]["chain"]


def test_lines_go_to_the_old_file_while_no_new_one_can_be_opened(
    file: pathlib.Path, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = AuditLog(file)
    file.rename(tmp_path / "old")
    file.mkdir()  # a folder, which cannot be opened as a file
    for action in ("a", "b"):
        log.add({"action": action})
    assert len([r for r in caplog.records if "Is a directory" in r.getMessage()]) == 1
    file.rmdir()
    log.add({"action": "c"})
    file.rename(tmp_path / "next")
    file.mkdir()
    log.add({"action": "d"})
    assert len([r for r in caplog.records if "Is a directory" in r.getMessage()]) == 2
    log.close()
    assert [line["action"] for line in lines(tmp_path / "old")] == ["opened", "a", "b"]
    assert [line["action"] for line in lines(tmp_path / "next")] == ["c", "d"]
    assert verify_audit(tmp_path / "old")[0] == 3
    assert verify_audit(tmp_path / "next")[0] == 2
    assert lines(tmp_path / "next")[0]["after"] == lines(tmp_path / "old")[-1]["chain"]


def test_only_one_process_writes_at_a_time(file: pathlib.Path) -> None:
    log = AuditLog(file)
    with pytest.raises(AuditError, match="another process writes to it"):
        AuditLog(file)
    log.close()
    file.write_text("not a log\n", encoding="utf-8")
    with pytest.raises(AuditError, match="its last line is not a line of an audit log"):
        AuditLog(file)
    with pytest.raises(AuditError, match="No such file"):
        AuditLog(file.parent / "none" / "audit")


@pytest.mark.parametrize("left", [1, 9, 40, -2, -1])
def test_half_a_line_does_not_stop_a_start(file: pathlib.Path, left: int) -> None:
    write(file, "a")
    held = file.read_bytes().splitlines(keepends=True)
    last = held[-1]
    file.write_bytes(b"".join(held[:-1]) + last[:left])
    write(file, "b")
    count, chain = verify_audit(file)
    torn = left != -1  # without only its line break, the line is complete
    read = [line for line in file.read_bytes().splitlines() if line.endswith(b'"}')]
    assert json.loads(read[-1])["chain"] == chain
    assert ("torn" in json.loads(read[-2])) == torn
    assert count == len(file.read_bytes().splitlines())
    write(file, "c")
    verify_audit(file)
    # The torn line is part of the chain too.
    file.write_bytes(file.read_bytes().replace(last[:left] + b"\n", last[:left][:-1] + b"?\n"))
    with pytest.raises(AuditError, match="line"):
        verify_audit(file)


@pytest.mark.parametrize("left", [3, 12])
def test_half_a_first_line_does_not_stop_a_start(file: pathlib.Path, left: int) -> None:
    file.write_bytes(b'{"time": "2026-11-30'[:left])
    write(file, "a")
    assert verify_audit(file)[0] == 3
    file.write_bytes(file.read_bytes() + b"something else")
    with pytest.raises(AuditError, match="its last line is not a line of an audit log"):
        AuditLog(file)


class Disk:
    """Replaces `os.write` by a disk with limited room, which may refuse to truncate a file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, append_only: bool):
        self.room = 10**9
        write, truncate = os.write, os.ftruncate

        def short(stream: int, data: bytes) -> int:
            if self.room == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            count = write(stream, data[: self.room])
            self.room -= count
            return count

        def take_back(stream: int, size: int) -> None:
            if append_only:
                raise PermissionError(errno.EPERM, "Operation not permitted")
            self.room += os.fstat(stream).st_size - size
            truncate(stream, size)

        monkeypatch.setattr("mmrank.server.guard.audit.os.write", short)
        monkeypatch.setattr("mmrank.server.guard.audit.os.ftruncate", take_back)


@pytest.mark.parametrize("append_only", [False, True])
@pytest.mark.parametrize("room", [0, 1, 7, 150])
def test_a_full_disk_does_not_break_the_chain(
    file: pathlib.Path, room: int, append_only: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, append_only)
    log = AuditLog(file)
    log.add({"action": "a", "filling": "x" * 200})
    disk.room = room
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            log.add({"action": "lost", "filling": "x" * 200})
        assert log.failing
        disk.room += 3 if append_only else 0
    disk.room = 10**9
    log.add({"action": "b"})
    log.add({"action": "c"})
    assert not log.failing
    log.close()
    verify_audit(file)
    read = [json.loads(x) for x in file.read_bytes().splitlines() if x.endswith(b'"}')]
    assert [(line["action"], line.get("lost")) for line in read] == [
        ("opened", None),
        ("a", None),
        ("b", 3),
        ("c", None),
    ]


@pytest.mark.parametrize("short", [1, 2, 5])
def test_a_short_write_is_completed(
    file: pathlib.Path, short: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.write
    monkeypatch.setattr(
        "mmrank.server.guard.audit.os.write", lambda stream, data: whole(stream, data[: 1 << short])
    )
    write(file, "a", "b")
    assert verify_audit(file)[0] == 3


def test_a_start_on_a_full_disk_fails_with_one_line(file: pathlib.Path) -> None:
    file.symlink_to("/dev/full")
    with pytest.raises(AuditError, match="cannot be written: No space left on device"):
        AuditLog(file)


def test_facts_are_kept_per_request() -> None:
    facts = begin()
    note(candidates=3)
    note(version=2, candidates=5)
    other = begin()
    note(candidates=9)
    assert (facts, other) == ({"candidates": 3, "version": 2}, {"candidates": 9})
