"""Every command that reads a dataset reports the same wrong input in the same way."""

from __future__ import annotations

import gzip
import importlib
import pathlib
import shutil
from collections.abc import Callable

import pandas as pd
import pytest
import yaml

from mmrank.config import save_config
from mmrank.trained_run import Run

Change = Callable[[pathlib.Path], None]


def table(name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Change:
    """A change of one table of the tiny shop."""

    def changed(folder: pathlib.Path) -> None:
        file = folder / f"{name}.parquet"
        change(pd.read_parquet(file)).to_parquet(file, index=False)

    return changed


def cut_off(folder: pathlib.Path) -> None:
    """The lists as a .gz file whose download was interrupted."""
    data = gzip.compress(pd.read_parquet(folder / "lists.parquet").to_csv(index=False).encode())
    (folder / "lists.csv.gz").write_bytes(data[: len(data) // 2])
    schema = yaml.safe_load((folder / "schema.yaml").read_text())
    lists = schema["lists"]
    schema["lists"] = {**({} if isinstance(lists, str) else lists), "file": "lists.csv.gz"}
    (folder / "schema.yaml").write_text(yaml.safe_dump(schema))


KINDS: dict[str, tuple[Change, str]] = {
    "a column that lacks": (
        table("catalog", lambda frame: frame.drop(columns="brand")),
        "catalog.parquet, column 'brand': no such column",
    ),
    "prices in a local form": (
        table("catalog", lambda frame: frame.assign(price="1,299.00")),
        "catalog.parquet, column 'price': values that are not numbers",
    ),
    "grades in words": (
        table("lists", lambda frame: frame.assign(grade="good")),
        "lists.parquet, column 'grade': values that are not numbers",
    ),
    "times that cannot be read": (
        table("lists", lambda frame: frame.assign(time="14/11/2023")),
        "lists.parquet, column 'time': values that are not times",
    ),
    "an item that is unknown": (
        table("lists", lambda frame: frame.assign(item_id=["nobody", *frame["item_id"][1:]])),
        "lists.parquet, column 'item_id': items that are not in the catalogue",
    ),
    "two users of one list": (
        table("lists", lambda frame: frame.assign(user_id=[f"u{i}" for i in range(len(frame))])),
        "lists.parquet, column 'user_id': rows with another user than the first row of their list",
    ),
    "a file that is cut off": (cut_off, "lists.csv.gz: cannot be read"),
}
COMMANDS = {
    "validate": (),
    "train": ("--config", "CONFIG", "--out", "OUT"),
    "suggest": ("--out", "OUT"),
    "tune": ("--config", "CONFIG", "--space", "SPACE", "--trials", "1", "--out", "OUT"),
    "codes": ("--of", "items", "--out", "OUT.parquet"),
    "evaluate": ("--run", "RUN"),
    "missing": ("--run", "RUN", "--modality", "photo"),
    "pseudo_label": ("--run", "RUN", "--out", "OUT"),
    "distill": ("--run", "RUN", "--config", "CONFIG", "--out", "OUT"),
}


@pytest.fixture(scope="module")
def wrong(tiny_shop: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder of shops, each with one error."""
    folder = tmp_path_factory.mktemp("wrong")
    for kind, (change, _) in KINDS.items():
        shutil.copytree(tiny_shop, folder / kind)
        change(folder / kind)
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_all_commands_report_the_same_error(
    command: str,
    wrong: pathlib.Path,
    run: Run,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("mmrank.trained_run.load_run", lambda folder: run)
    save_config(run.config, tmp_path / "config.yaml")
    (tmp_path / "space.yaml").write_text("training.learning_rate: {low: 1.0e-4, high: 1.0e-2}\n")
    (tmp_path / "run").mkdir()
    positions = {
        "CONFIG": tmp_path / "config.yaml",
        "SPACE": tmp_path / "space.yaml",
        "RUN": tmp_path / "run",
    }
    main = importlib.import_module(f"mmrank.{command}").main
    for number, (kind, (_, actual)) in enumerate(KINDS.items()):
        out = {"OUT": tmp_path / f"out{number}", "OUT.parquet": tmp_path / f"out{number}.parquet"}
        arguments = [str({**positions, **out}.get(a, a)) for a in COMMANDS[command]]
        code = main(["--data", str(wrong / kind), *arguments])
        said = "".join(capsys.readouterr())
        assert code == (1 if command == "validate" else 2), (kind, said)
        assert actual in said, kind
        assert "Traceback" not in said
        assert not out["OUT"].exists()


def test_options_of_the_schema_are_checked_by_validate_too(
    tiny_shop: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(tiny_shop, folder)
    schema = yaml.safe_load((folder / "schema.yaml").read_text())
    price = next(f for f in schema["features"] if f["name"] == "price")
    price["logg"] = True
    (folder / "schema.yaml").write_text(yaml.safe_dump(schema))
    main = importlib.import_module("mmrank.validate").main
    assert main(["--data", str(folder), "--media", "none"]) == 2
    assert "feature 'price' (number): unknown key 'logg'; did you mean 'log'?" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("command", ["evaluate", "missing", "pseudo_label", "distill"])
def test_inputs_of_a_run_must_exist(
    command: str,
    tiny_shop: pathlib.Path,
    run: Run,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The shop is valid by its own schema, but lacks a column that the run was trained on."""
    folder = tmp_path / "shop"
    shutil.copytree(tiny_shop, folder)
    table("catalog", lambda frame: frame.drop(columns="brand"))(folder)
    schema = yaml.safe_load((folder / "schema.yaml").read_text())
    schema["features"] = [f for f in schema["features"] if f["name"] != "brand"]
    (folder / "schema.yaml").write_text(yaml.safe_dump(schema))
    assert importlib.import_module("mmrank.validate").main(["--data", str(folder)]) == 0
    monkeypatch.setattr("mmrank.trained_run.load_run", lambda folder: run)
    save_config(run.config, tmp_path / "config.yaml")
    (tmp_path / "run").mkdir()
    positions = {"CONFIG": "config.yaml", "RUN": "run", "OUT": "out"}
    arguments = [str(tmp_path / positions[a]) if a in positions else a for a in COMMANDS[command]]
    main = importlib.import_module(f"mmrank.{command}").main
    assert main(["--data", str(folder), *arguments]) == 2
    actual = "catalog.parquet, column 'brand': no such column, which feature brand names"
    assert actual in "".join(capsys.readouterr())
