"""The file that turns re-ranking off."""

from __future__ import annotations

import logging
import pathlib

import pytest

from mmrank.server.switch import Switch


def metric(switch: Switch) -> float:
    (family,) = switch.collect()
    return float(family.samples[0].value)


def test_the_file_takes_effect_at_once_and_each_change_is_logged_once(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "off"
    switch = Switch(str(file))
    assert not switch.off
    assert metric(switch) == 0
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        file.touch()
        assert switch.off
        assert switch.off
        assert metric(switch) == 1
        file.unlink()
        assert not switch.off
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "are off" in lines[0]
    assert str(file) in lines[0]
    assert "are on again" in lines[1]


def test_off_if_the_file_cannot_be_looked_for(tmp_path: pathlib.Path) -> None:
    (tmp_path / "plain").touch()
    assert Switch(str(tmp_path / "plain" / "off")).off  # not a folder: an error but not "not found"


def test_no_file_is_never_off() -> None:
    assert not Switch(None).off
