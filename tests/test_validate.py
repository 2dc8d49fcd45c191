"""The command line of validation."""

from __future__ import annotations

import pathlib

import pandas as pd
import pytest

from mmrank import validate


@pytest.fixture
def shop(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "catalog.csv").write_text("item_id,title\na,one\nb,two\n")
    (tmp_path / "lists.csv").write_text("list_id,item_id,grade\n2,a,1\n2,b,0\n")
    (tmp_path / "schema.yaml").write_text(
        "name: pair\n"
        "catalog: catalog.csv\n"
        "lists: lists.csv\n"
        "features:\n"
        "  - {name: title, kind: text, side: item}\n"
        "  - {name: grade, kind: number, side: label}\n"
    )
    return tmp_path


def test_a_valid_dataset(shop: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    # `printf 2 | sha256sum` begins with d4735e3a, 3564330554 in decimals: last digit 4 means train.
    assert validate.main(["--data", str(shop)]) == 0
    out = capsys.readouterr().out
    assert "2 items, 1 lists, 2 candidates" in out
    assert "train: 1 lists, 2 candidates" in out
    assert out.endswith("fit for training\n")


def test_errors_exit_with_code_1(shop: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    lists = pd.read_csv(shop / "lists.csv", dtype=str)
    lists.loc[1, "item_id"] = "c"
    lists.to_csv(shop / "lists.csv", index=False)
    assert validate.main(["--data", str(shop)]) == 1
    out = capsys.readouterr().out
    assert "lists.csv, column 'item_id': items that are not in the catalogue [1: row 2: 'c']" in out
    assert "not fit for training" in out


def test_a_missing_schema_is_a_one_line_error_with_code_2(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert validate.main(["--data", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_ctrl_c_is_one_line_with_code_130(
    shop: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(validate, "validate_dataset", interrupted)
    assert validate.main(["--data", str(shop)]) == 130
    assert capsys.readouterr().err == "interrupted; nothing was changed\n"


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        validate.main(["--help"])
    assert caught.value.code == 0
    assert "example:\n  python -m mmrank.validate --data" in capsys.readouterr().out
