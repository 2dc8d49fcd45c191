"""Runs with damaged files, changed tables or a full disk: one line with a remedy."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import resource
import shutil
from collections.abc import Iterator

import pandas as pd
import pytest

from mmrank.config import Config, ConfigError
from mmrank.data.run_state import changed_tables, read_state, table_hashes
from mmrank.data.tables import Dataset, load_dataset
from mmrank.evaluate import main as evaluate
from mmrank.outputs import InputError, exit_code
from mmrank.schema import load_schema
from mmrank.train import main as train
from mmrank.trained_run import load_run
from mmrank.training.callbacks import Progress
from mmrank.training.loop import train_run
from mmrank.training.state import State, TrainingError


class Stop(RuntimeError):
    """Raised to stop training."""


@pytest.fixture(scope="module")
def data(tiny_shop, tmp_path_factory) -> pathlib.Path:
    """A copy of the dataset, since the tests change its tables."""
    return shutil.copytree(tiny_shop, tmp_path_factory.mktemp("data") / "shop")


@pytest.fixture(scope="module")
def config(quick_config) -> Config:
    return dataclasses.replace(
        quick_config, training=dataclasses.replace(quick_config.training, epochs=2)
    )


@pytest.fixture(scope="module")
def stopped(config, data, tmp_path_factory) -> pathlib.Path:
    """A run that was stopped in its second epoch."""
    run = tmp_path_factory.mktemp("stopped")

    def stop(self: Progress, batch: int, logs: object = None) -> None:
        if self._epoch == 1:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Progress, "on_train_batch_end", stop)
        with pytest.raises(Stop):
            train_run(config, load_dataset(data), run)
    return run


@pytest.fixture
def run(stopped, tmp_path) -> pathlib.Path:
    return shutil.copytree(stopped, tmp_path / "run")


@contextlib.contextmanager
def changed(data: pathlib.Path) -> Iterator[None]:
    """Changes the grades in the lists, and restores them afterwards."""
    file = data / "lists.parquet"
    before = file.read_bytes()
    table = pd.read_parquet(file)
    table.assign(grade=table["grade"].max() - table["grade"]).to_parquet(file, index=False)
    try:
        yield
    finally:
        file.write_bytes(before)


# ---- the tables


def test_a_run_records_the_tables_of_its_start(stopped, data) -> None:
    kept = State.load(stopped / "state.json").tables
    assert set(kept) == {"schema.yaml", "catalog.parquet", "lists.parquet", "events.parquet"}
    schema = load_schema(data)
    assert kept == table_hashes(data, schema)
    assert changed_tables(kept, data, schema) == ()
    with changed(data):
        assert changed_tables(kept, data, schema) == ("lists.parquet",)
        assert changed_tables({}, data, schema) == ()  # a run from before tables were recorded
    (data / "events.parquet").rename(data / "gone")
    assert changed_tables(kept, data, schema) == ("events.parquet",)
    (data / "gone").rename(data / "events.parquet")


@pytest.mark.slow
def test_resume_refuses_tables_that_changed_in_place(config, run, data, capsys) -> None:
    with changed(data):
        code = train(["--config", str(run / "config.yaml"), "--out", str(run), "--resume"])
        output = capsys.readouterr().err.strip().splitlines()[-1]
        assert code == 2
        said = f"error: {data}: lists.parquet changed since {run} was started; restore"
        assert output.startswith(said)
        assert State.load(run / "state.json").epoch == 1
        # One remedy: a new run on the new tables, with the weights of this run.
        assert f"--init-from {run}" in output
        other = train_run(config, load_dataset(data), made(run, "other"), init_from=run)
    assert State.load(other.folder / "state.json").finished
    # The other remedy: restoring the old tables.
    train_run(config, load_dataset(data), run, resume=True)
    assert State.load(run / "state.json").epoch > 1


def made(run: pathlib.Path, name: str) -> pathlib.Path:
    folder = run.with_name(name)
    folder.mkdir()
    return folder


@pytest.mark.slow
def test_evaluate_warns_of_changed_tables(stopped, data, capsys, tmp_path) -> None:
    actual = tmp_path / "figures.json"
    command = ["--run", str(stopped), "--baselines", "", "--json", str(actual), "--force"]
    with changed(data):
        assert evaluate(command) == 0
        warning = f"warning: {data}: lists.parquet changed since {stopped} was trained"
        assert warning in capsys.readouterr().err
        assert json.loads(actual.read_text())["changed_since_training"] == ["lists.parquet"]
    assert evaluate(command) == 0
    assert "changed since" not in capsys.readouterr().err


# ---- damage


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "damaged: Expecting property name"),
        ("[" * 100_000, "damaged: "),
        ("\xff", "damaged: "),
        ("[]", "damaged: .* is not the state of a run"),
        ('{"epoch": 1}', "the key data is missing"),
        ('{"data": "x", "epoch": "1"}', "damaged: 'epoch' is '1'"),
        ('{"data": "x", "epoch": 1, "more": 2}', "damaged: 'more' is 2"),
        ('{"data": "x", "checkpoint": "../../other/epoch-1"}', "is outside the run's folder"),
        ('{"data": "x", "best_weights": "/other/best-1"}', "is outside the run's folder"),
    ],
)
def test_a_damaged_state_is_reported(tmp_path, text, problem) -> None:
    (tmp_path / "state.json").write_text(text, encoding="latin-1")
    with pytest.raises((InputError, ConfigError), match=problem) as raised:
        read_state(tmp_path / "state.json")
    assert "restore a complete copy of the run, or train again" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


def damage(run: pathlib.Path, prefix: str) -> None:
    (file,) = (run / "checkpoints").glob(f"{prefix}*.data-*")
    file.write_bytes(file.read_bytes()[:100])


@pytest.mark.slow
def test_damaged_weights_are_reported(run) -> None:
    best = str(State.load(run / "state.json").best_weights)
    damage(run, pathlib.Path(best).name)
    with pytest.raises(ConfigError, match=f"{best}: damaged: .*; restore a complete copy"):
        load_run(run)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["epoch-1", "features.json"])
def test_a_damaged_run_is_reported(config, run, data, what) -> None:
    if what == "features.json":
        (run / what).write_text('{"title": 5}')
    else:
        damage(run, what)
    with pytest.raises((TrainingError, ConfigError), match=f"{what}: damaged") as raised:
        train_run(config, load_dataset(data), run, resume=True)
    assert "\n" not in str(raised.value)
    if what == "epoch-1":  # the remedy that the message names
        assert f"--init-from {run}" in str(raised.value)
        load_run(run)


# ---- the disk


@contextlib.contextmanager
def full_disk(most: int) -> Iterator[None]:
    """Limits the size of every file, so that writes fail as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
def test_a_full_disk_is_reported_and_the_run_can_continue(
    config: Config, run: pathlib.Path, data: pathlib.Path, capsys
) -> None:
    dataset: Dataset = load_dataset(data)
    before = {p.name for p in (run / "checkpoints").iterdir()}
    checkpoint = max(p.stat().st_size for p in (run / "checkpoints").iterdir())
    with full_disk(checkpoint // 2):
        code = exit_code(
            lambda: train_run(config, dataset, run, resume=True) and None, "go on by --resume"
        )
    actual = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2
    assert actual.startswith("error: the disk is full: ")
    assert actual.endswith("run the command again (go on by --resume)")
    assert {p.name for p in (run / "checkpoints").iterdir()} == before
    assert State.load(run / "state.json").epoch == 1
    train_run(config, dataset, run, resume=True)
    assert State.load(run / "state.json").finished


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("x")])
def test_only_a_full_disk_is_reported_as_one(error: Exception, capsys) -> None:
    def job() -> None:
        raise error

    if isinstance(error, RuntimeError):
        with pytest.raises(RuntimeError):
            exit_code(job)
        return
    assert exit_code(job) == 2
    actual = capsys.readouterr().err
    assert actual.startswith("error: the disk is full: ")
    assert "run the command again (nothing was written)" in actual


def test_the_reader_knows_every_field_of_the_state(tmp_path) -> None:
    state = State(data="shop")
    state.save(tmp_path / "state.json")
    assert State.load(tmp_path / "state.json") == state
