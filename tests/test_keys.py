"""The command line of keys: the output of each command, and errors in one line."""

from __future__ import annotations

import pathlib

import pytest

from mmrank.data.pseudonyms import VARIABLE
from mmrank.keys import main
from mmrank.server.guard.audit import AuditLog
from mmrank.server.guard.keys import KeyRing

Captured = pytest.CaptureFixture[str]


def test_a_key_is_made_listed_and_revoked(tmp_path: pathlib.Path, capsys: Captured) -> None:
    file = tmp_path / "keys.json"
    make = ["make", "--file", str(file), "--name", "shop", "--role", "rank", "--rate", "9/second"]
    assert main(make) == 0
    actual = capsys.readouterr()
    key = actual.out.strip()
    assert "cannot be shown again" in actual.err
    kept = KeyRing(file).find(key)
    assert kept is not None
    assert main(["list", "--file", str(file)]) == 0
    listed = capsys.readouterr().out
    assert listed.startswith(f"{kept.id}  rank  since {kept.created}, 9/second  shop")
    assert key.split("_")[2] not in listed
    assert main(["revoke", "--file", str(file), "--id", kept.id]) == 0
    assert KeyRing(file).find(key) is None
    capsys.readouterr()
    assert main(["list", "--file", str(file)]) == 0
    assert f"{kept.id}  rank  revoked" in capsys.readouterr().out


def test_secrets_and_pseudonyms(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["secret", "--name", "a1"]) == 0
    monkeypatch.setenv(VARIABLE, capsys.readouterr().out.strip() + ",a0:" + "0" * 64)
    assert main(["pseudonym", "--user", "u1"]) == 0
    assert [line[:3] for line in capsys.readouterr().out.splitlines()] == ["a1.", "a0."]


def test_an_audit_log_is_checked(tmp_path: pathlib.Path, capsys: Captured) -> None:
    file = tmp_path / "audit"
    AuditLog(file).close()
    assert main(["audit", "--file", str(file)]) == 0
    assert capsys.readouterr().out.startswith("1 lines, none changed")
    file.write_text(file.read_text(encoding="utf-8").replace("opened", "closed"), encoding="utf-8")
    assert main(["audit", "--file", str(file)]) == 2
    assert "line 1 does not follow" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["make", "--name", "a", "--role", "rank", "--rate", "fast"], "'fast' is not a rate"),
        (["make", "--name", "a", "--role", "rank", "--days", "0"], "must be above 0"),
        (["list"], "no such file"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], words: str, tmp_path: pathlib.Path, capsys: Captured
) -> None:
    assert main([*arguments, "--file", str(tmp_path / "keys.json")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_help_has_an_example(capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "python -m mmrank.keys make --file" in capsys.readouterr().out
