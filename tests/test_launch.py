"""What a training's command line names: config, folder and dataset."""

from __future__ import annotations

import pathlib

import pytest

from mmrank.config import CONFIG_FILE, STATE_FILE, TEACHER_FOLDER, ConfigError
from mmrank.launch import GivenConfig, check_init, data_folder, refuse_other_run, run_folder
from mmrank.training.workers import Worker, this_worker


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Worker:
    """The only worker, in an empty folder."""
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return this_worker("auto")


def test_a_new_run_takes_the_next_free_number(alone: Worker) -> None:
    found = [run_folder(None, False, alone, "shop") for _ in range(3)]
    assert found == [pathlib.Path("runs") / f"shop-{n}" for n in (1, 2, 3)]
    assert all(folder.is_dir() for folder in found)


def test_a_filled_folder_is_not_a_new_run(alone: Worker, tmp_path: pathlib.Path) -> None:
    assert run_folder(tmp_path / "new", False, alone, "") == tmp_path / "new"
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="or continue it with --resume"):
        run_folder(tmp_path, False, alone, "")
    with pytest.raises(ConfigError, match="or continue it with --resume"):
        refuse_other_run(tmp_path)


@pytest.mark.parametrize("out", [None, pathlib.Path("empty")])
def test_only_a_run_that_began_is_resumed(alone: Worker, out: pathlib.Path | None) -> None:
    with pytest.raises(ConfigError, match="--resume continues a run; give its folder"):
        run_folder(out, True, alone, "")


def test_a_run_whose_teacher_began_is_resumed(alone: Worker, tmp_path: pathlib.Path) -> None:
    (tmp_path / TEACHER_FOLDER).mkdir()
    (tmp_path / TEACHER_FOLDER / STATE_FILE).write_text(
        '{"best_weights": "weights", "data": "shop"}', encoding="utf-8"
    )
    assert run_folder(tmp_path, True, alone, "") == tmp_path
    given = GivenConfig.read(None, [], tmp_path)
    assert data_folder(given, tmp_path, alone) == pathlib.Path("shop")


def test_weights_start_from_a_run_only(alone: Worker, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="this is not the folder of a run"):
        check_init(tmp_path, False, alone)
    (tmp_path / STATE_FILE).write_text("{}", encoding="utf-8")
    check_init(tmp_path, False, alone)
    with pytest.raises(ConfigError, match="omit --init-from"):
        check_init(tmp_path, True, alone)


def test_a_resumed_run_uses_the_choices_that_it_stored(tmp_path: pathlib.Path) -> None:
    (tmp_path / CONFIG_FILE).write_text("model: {width: 24}\n", encoding="utf-8")
    file = tmp_path / "given.yaml"
    file.write_text("training: {epochs: 3}\n", encoding="utf-8")
    new = GivenConfig.read(file, ["training.patience=2"], None)
    assert (new.config.training.epochs, new.config.training.patience) == (3, 2)
    assert new.plain == {"training": {"epochs": 3, "patience": 2}}
    resumed = GivenConfig.read(file, ["training.patience=2"], tmp_path)
    assert (resumed.config.model.width, resumed.config.training.patience) == (24, 2)
    assert resumed.plain is None


def test_a_dataset_is_needed(alone: Worker, tmp_path: pathlib.Path) -> None:
    given = GivenConfig.read(None, ["data.path=there"], None)
    assert data_folder(given, tmp_path, alone) == pathlib.Path("there")
    with pytest.raises(ConfigError, match="config: names no dataset; add --data DIR"):
        data_folder(GivenConfig.read(None, [], None), tmp_path, alone)
