"""A ranker that learns from another ranker in one job: `training.teacher`."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from mmrank.config import (
    CONFIG_FILE,
    SELF,
    TEACHER_FILE,
    TEACHER_FOLDER,
    Config,
    ConfigError,
    Head,
    Teacher,
    load_run_config,
)
from mmrank.data.tables import Dataset, load_dataset
from mmrank.job import train
from mmrank.trained_run import Run
from mmrank.training.loop import train_run
from mmrank.training.taught import TaughtLists

KEPT = ("price", "rating", "brand", "overlap")
TAUGHT = Teacher(run=SELF, temperature=2.0, share=0.75)


@pytest.fixture(scope="module")
def shop(tiny_shop: pathlib.Path) -> Dataset:
    return load_dataset(tiny_shop)


@pytest.fixture(scope="module")
def plain(shop: Dataset, tiny_config: Config) -> Config:
    """A config of four features, without dropout."""
    sides = ("item", "query", "user", "pair")
    drop = tuple(f.name for f in shop.schema.side(*sides) if f.name not in KEPT)
    model = dataclasses.replace(
        tiny_config.model, drop=drop, match="none", head=Head(hidden=(8,), dropout=0.0)
    )
    training = dataclasses.replace(tiny_config.training, epochs=1)
    return dataclasses.replace(tiny_config, model=model, training=training)


def with_teacher(config: Config, teacher: Teacher) -> Config:
    training = dataclasses.replace(config.training, teacher=teacher)
    return dataclasses.replace(config, training=training)


@pytest.fixture(scope="module")
def student(shop: Dataset, plain: Config, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(with_teacher(plain, TAUGHT), shop, tmp_path_factory.mktemp("runs") / "student")


def test_the_teacher_is_the_run_without_a_teacher(
    student: Run, shop: Dataset, plain: Config, tmp_path: pathlib.Path
) -> None:
    """The student is the run that learns from the teacher's scores."""
    alone = train(plain, shop, tmp_path / "alone")
    assert load_run_config(student.folder / TEACHER_FOLDER) == plain
    rows = shop.rows("train")
    said = alone.score(shop, rows)
    folder = tmp_path / "by_hand"
    folder.mkdir()
    by_hand = train_run(
        with_teacher(plain, TAUGHT),
        shop,
        folder,
        lists=TaughtLists(shop, said, TAUGHT.temperature, TAUGHT.share),
    )
    found = student.score(shop, rows)
    np.testing.assert_allclose(found, by_hand.score(shop, rows), atol=1e-5)
    assert np.abs(found - said).max() > 1e-3  # the check above can fail
    recorded = json.loads((student.folder / TEACHER_FILE).read_text())
    teacher = str((student.folder / TEACHER_FOLDER).resolve())
    assert recorded == {"run": teacher, "temperature": 2.0, "share": 0.75}


def test_a_finished_student_is_unchanged_when_resumed(student: Run, shop: Dataset) -> None:
    rows = shop.rows("test")
    again = train(student.config, shop, student.folder, resume=True)
    np.testing.assert_allclose(again.score(shop, rows), student.score(shop, rows), atol=1e-6)


def test_a_run_that_stopped_while_training_the_teacher_resumes(
    shop: Dataset, plain: Config, student: Run, tmp_path: pathlib.Path
) -> None:
    folder = tmp_path / "run"
    config = with_teacher(plain, TAUGHT)

    class Stopped(Exception):
        pass

    with pytest.MonkeyPatch.context() as patch:

        def stop(*args: object) -> None:
            raise Stopped

        patch.setattr("mmrank.job.training.taught", stop)
        with pytest.raises(Stopped):
            train(config, shop, folder)
    assert load_run_config(folder) == config  # for --resume without --config
    assert (folder / TEACHER_FOLDER / CONFIG_FILE).is_file()
    rows = shop.rows("test")
    found = train(config, shop, folder, resume=True).score(shop, rows)
    np.testing.assert_allclose(found, student.score(shop, rows), atol=1e-5)


def test_another_run_may_be_the_teacher(
    student: Run, shop: Dataset, plain: Config, tmp_path: pathlib.Path
) -> None:
    config = with_teacher(plain, Teacher(run=str(student.folder)))
    train(config, shop, tmp_path / "run")
    actual = json.loads((tmp_path / "run" / TEACHER_FILE).read_text())
    assert actual["run"] == str(student.folder.resolve())
    assert not (tmp_path / "run" / TEACHER_FOLDER).exists()


def test_a_teacher_that_is_not_a_run_is_refused(
    shop: Dataset, plain: Config, tmp_path: pathlib.Path
) -> None:
    config = with_teacher(plain, Teacher(run=str(tmp_path / "nothing")))
    with pytest.raises(ConfigError, match=r"training\.teacher\.run: .*not the folder of a run"):
        train(config, shop, tmp_path / "run")
