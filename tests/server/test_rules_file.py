"""Rules that are read again when their file changes."""

from __future__ import annotations

import logging
import os
import pathlib
import time

import pytest

from mmrank.config import ConfigError
from mmrank.server.rules_file import RulesFile

OLD = 100.0  # seconds; a file that was left alone for so long is complete


def write(file: pathlib.Path, text: str, age: float = OLD) -> None:
    """Writes a file that was last changed `age` seconds ago."""
    file.write_text(text, encoding="utf-8")
    when = time.time() - age
    os.utime(file, (when, when))


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    write(tmp_path / "rules.yaml", "exclude: [P1]\n", 2 * OLD)
    return tmp_path / "rules.yaml"


def counts(rules: RulesFile) -> dict[str, float]:
    reads, failing = rules.collect()
    found = {sample.labels["outcome"]: sample.value for sample in reads.samples}
    return {**found, "failing": failing.samples[0].value}


def test_a_changed_file_is_read_again(file: pathlib.Path) -> None:
    rules = RulesFile(str(file))
    assert rules.rules.exclude == ("P1",)
    assert not rules.stale
    write(file, "exclude: [P1, P2]\n")
    assert rules.stale
    assert rules.rules.exclude == ("P1",)  # not before `refresh`
    rules.refresh()
    assert rules.rules.exclude == ("P1", "P2")
    assert not rules.stale
    assert counts(rules) == {"success": 1, "fail": 0, "failing": 0}


def test_a_file_that_is_being_written_is_left_alone(file: pathlib.Path) -> None:
    rules = RulesFile(str(file))
    write(file, "exclude: [P7]\n", age=0.0)
    assert not rules.stale
    rules.refresh()
    assert rules.rules.exclude == ("P1",)


@pytest.mark.parametrize("text", ["pin: [", "exclued: [P2]\n", "exclude: 3\n", "", "\xff"])
def test_a_broken_file_keeps_the_old_rules(
    file: pathlib.Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    rules = RulesFile(str(file))
    write(file, text)
    if text == "\xff":
        file.write_bytes(b"\xff")
        os.utime(file, (time.time() - OLD, time.time() - OLD))
    with caplog.at_level(logging.ERROR):
        rules.refresh()
        rules.refresh()
    assert rules.rules.exclude == ("P1",)
    assert counts(rules) == {"success": 0, "fail": 1, "failing": 1}
    (line,) = [record.getMessage() for record in caplog.records]
    assert "the rules stay as they were" in line
    write(file, "{}\n", OLD / 2)
    rules.refresh()
    assert rules.rules.exclude == ()
    assert counts(rules) == {"success": 1, "fail": 1, "failing": 0}


def test_a_missing_file_keeps_the_old_rules(file: pathlib.Path) -> None:
    rules = RulesFile(str(file))
    file.unlink()
    rules.refresh()
    assert rules.rules.exclude == ("P1",)
    assert counts(rules)["failing"] == 1
    write(file, "exclude: [P3]\n")
    rules.refresh()
    assert rules.rules.exclude == ("P3",)


def test_a_broken_file_at_the_start_is_an_error(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match=r"rules\.yaml"):
        RulesFile(str(tmp_path / "rules.yaml"))


def test_no_file_means_no_rules() -> None:
    rules = RulesFile(None)
    assert not rules.stale
    rules.refresh()
    assert rules.rules.exclude == ()
