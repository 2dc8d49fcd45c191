"""Runs that are damaged, whose tables changed, or whose disk is full: one line with a remedy."""

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

from mmrank.build import load_run
from mmrank.config import Config, ConfigError
from mmrank.data.run_state import changed_tables, read_state, table_hashes
from mmrank.data.tables import Dataset, load_dataset
from mmrank.evaluate import main as evaluate
from mmrank.outputs import InputError, exit_code
from mmrank.schema import load_schema
from mmrank.train import main as train
from mmrank.training.callbacks import Progress, State, TrainingError
from mmrank.training.loop import train_run


class Stop(RuntimeError):
    """What stops a training."""


@pytest.fixture(scope="module")
def data(tiny_shop, tmp_path_factory) -> pathlib.Path:
    """A dataset of its own, since its tables are changed."""
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
    """Other grades in the lists, and the old ones again afterwards."""
    file = data / "lists.parquet"
    before = file.read_bytes()
    table = pd.read_parquet(file)
    table.assign(grade=table["grade"].max() - table["grade"]).to_parquet(file, index=False)
    try:
        yield
    finally:
        file.write_bytes(before)


# ---- the tables


def test_a_run_knows_the_tables_that_it_began_with(stopped, data) -> None:
    kept = State.load(stopped / "state.json").tables
    assert set(kept) == {"schema.yaml", "catalog.parquet", "lists.parquet", "events.parquet"}
    schema = load_schema(data)
    assert kept == table_hashes(data, schema)
    assert changed_tables(kept, data, schema) == ()
    with changed(data):
        assert changed_tables(kept, data, schema) == ("lists.parquet",)
        assert changed_tables({}, data, schema) == ()  # of a run before there were these
    (data / "events.parquet").rename(data / "gone")
    assert changed_tables(kept, data, schema) == ("events.parquet",)
    (data / "gone").rename(data / "events.parquet")


@pytest.mark.slow
def test_resume_refuses_tables_that_changed_in_place(config, run, data, capsys) -> None:
    with changed(data):
        code = train(["--config", str(run / "config.yaml"), "--out", str(run), "--resume"])
        told = capsys.readouterr().err.strip().splitlines()[-1]
        assert code == 2
        assert told.startswith(f"error: {data}: lists.parquet changed since {run} was started; put")
        assert State.load(run / "state.json").epoch == 1
        # One remedy: a new run on the new tables, with the weights of this one.
        assert f"--init-from {run}" in told
        other = train_run(config, load_dataset(data), made(run, "other"), init_from=run)
    assert State.load(other.folder / "state.json").finished
    # The other: the old tables again.
    train_run(config, load_dataset(data), run, resume=True)
    assert State.load(run / "state.json").epoch > 1


def made(run: pathlib.Path, name: str) -> pathlib.Path:
    folder = run.with_name(name)
    folder.mkdir()
    return folder


@pytest.mark.slow
def test_evaluate_tells_of_tables_that_changed_since(stopped, data, capsys, tmp_path) -> None:
    told = tmp_path / "figures.json"
    command = ["--run", str(stopped), "--baselines", "", "--json", str(told), "--force"]
    with changed(data):
        assert evaluate(command) == 0
        warning = f"warning: {data}: lists.parquet changed since {stopped} was trained"
        assert warning in capsys.readouterr().err
        assert json.loads(told.read_text())["changed_since_training"] == ["lists.parquet"]
    assert evaluate(command) == 0
    assert "changed" not in capsys.readouterr().err


# ---- damage


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "damaged: Expecting property name"),
        ("[" * 100_000, "damaged: "),
        ("\xff", "damaged: "),
        ("[]", "damaged: .* is no state"),
        ('{"epoch": 1}', "names no data"),
        ('{"data": "x", "epoch": "1"}', "damaged: 'epoch' is '1'"),
        ('{"data": "x", "epoch": 1, "more": 2}', "damaged: 'more' is 2"),
        ('{"data": "x", "checkpoint": "../../other/epoch-1"}', "leads out of the run's folder"),
        ('{"data": "x", "best_weights": "/other/best-1"}', "leads out of the run's folder"),
    ],
)
def test_a_damaged_state_is_told(tmp_path, text, problem) -> None:
    (tmp_path / "state.json").write_text(text, encoding="latin-1")
    with pytest.raises((InputError, ConfigError), match=problem) as raised:
        read_state(tmp_path / "state.json")
    assert "put back a whole copy of the run, or train anew" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


def damage(run: pathlib.Path, prefix: str) -> None:
    (file,) = (run / "checkpoints").glob(f"{prefix}*.data-*")
    file.write_bytes(file.read_bytes()[:100])


@pytest.mark.slow
def test_damaged_weights_are_told(run) -> None:
    best = str(State.load(run / "state.json").best_weights)
    damage(run, pathlib.Path(best).name)
    with pytest.raises(ConfigError, match=f"{best}: damaged: .*; put back a whole copy"):
        load_run(run)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["epoch-1", "features.json"])
def test_a_damaged_run_is_told(config, run, data, what) -> None:
    if what == "features.json":
        (run / what).write_text('{"title": 5}')
    else:
        damage(run, what)
    with pytest.raises((TrainingError, ConfigError), match=f"{what}: damaged") as raised:
        train_run(config, load_dataset(data), run, resume=True)
    assert "\n" not in str(raised.value)
    if what == "epoch-1":  # the remedy that it names
        assert f"--init-from {run}" in str(raised.value)
        load_run(run)


# ---- the disk


@contextlib.contextmanager
def full_disk(most: int) -> Iterator[None]:
    """No file can grow beyond so many bytes; writes fail as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
def test_a_full_disk_is_told_and_the_run_goes_on_afterwards(
    config: Config, run: pathlib.Path, data: pathlib.Path, capsys
) -> None:
    dataset: Dataset = load_dataset(data)
    before = {p.name for p in (run / "checkpoints").iterdir()}
    checkpoint = max(p.stat().st_size for p in (run / "checkpoints").iterdir())
    with full_disk(checkpoint // 2):
        code = exit_code(
            lambda: train_run(config, dataset, run, resume=True) and None, "go on by --resume"
        )
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2
    assert told.startswith("error: the disk is full: ")
    assert told.endswith("run the command again (go on by --resume)")
    assert {p.name for p in (run / "checkpoints").iterdir()} == before
    assert State.load(run / "state.json").epoch == 1
    train_run(config, dataset, run, resume=True)
    assert State.load(run / "state.json").finished


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("x")])
def test_only_a_full_disk_is_taken_for_one(error: Exception, capsys) -> None:
    def job() -> None:
        raise error

    if isinstance(error, RuntimeError):
        with pytest.raises(RuntimeError):
            exit_code(job)
        return
    assert exit_code(job) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: the disk is full: ")
    assert "run the command again (nothing was written)" in told


def test_every_part_of_a_state_is_known_to_its_reader(tmp_path) -> None:
    state = State(data="shop")
    state.save(tmp_path / "state.json")
    assert State.load(tmp_path / "state.json") == state
