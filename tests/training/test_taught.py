"""A teacher's scores as labels, and a student that learns them."""

from __future__ import annotations

import dataclasses
import math
import pathlib

import numpy as np
import pytest

from mmrank.build import build_features
from mmrank.config import Config, ConfigError, Task
from mmrank.data.tables import load_dataset
from mmrank.training.taught import TaughtLists, teacher_labels

SCORES = [2.0, 0.0, -1.0, 5.0, 5.0]
GRADES = [3.0, 1.0, 0.0, 0.0, 0.0]
OFFSETS = [0, 3, 5]


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("share", [1.0, 0.25])
def test_labels_mix_the_teachers_softmax_and_the_grades(temperature: float, share: float) -> None:
    labels = teacher_labels(
        np.array(SCORES), np.array(GRADES), np.array(OFFSETS), temperature, share
    )
    for first, last in ((0, 3), (3, 5)):
        powers = [math.exp(s / temperature) for s in SCORES[first:last]]
        total = sum(GRADES[first:last])
        for i in range(first, last):
            teacher = powers[i - first] / sum(powers)
            graded = GRADES[i] / total if total else teacher
            assert labels[i] == pytest.approx(share * teacher + (1 - share) * graded, rel=1e-6)
        assert labels[first:last].sum() == pytest.approx(1)


def test_huge_scores_are_finite() -> None:
    labels = teacher_labels(np.array([1e4, 0.0]), np.zeros(2), np.array([0, 2]))
    assert labels.tolist() == [1, 0]


def test_batches_have_the_teachers_labels_instead_of_grades(
    tiny_shop: pathlib.Path, tiny_config: Config
) -> None:
    dataset = load_dataset(tiny_shop)
    drop = ("photo", "title", "description", "query", "tags", "history")
    model = dataclasses.replace(tiny_config.model, drop=drop)
    config = dataclasses.replace(tiny_config, model=model)
    features = build_features(config, dataset.schema)
    features.fit(dataset)
    rows = dataset.rows("train")
    scores = np.random.default_rng(0).normal(size=len(rows))
    lists = TaughtLists(dataset, scores, temperature=2.0)
    lists.check(config)
    batches = lists.batches(config, features, features.item_arrays(dataset))
    expected = batches.arrays.grades
    assert expected.sum() == pytest.approx(rows["list_id"].nunique(), rel=1e-4)
    batch = batches.make(np.array([0, 1]))
    first = slice(*batches.arrays.offsets[:2])
    length = first.stop - first.start
    assert np.array_equal(batch["grades"][0, :length], expected[first])
    powers = [math.exp(s / 2) for s in scores[first]]
    assert np.allclose(expected[first], np.array(powers) / sum(powers), rtol=1e-5)


def test_several_objectives_are_refused(tiny_shop: pathlib.Path, tiny_config: Config) -> None:
    training = dataclasses.replace(tiny_config.training, tasks={"click": Task()})
    config = dataclasses.replace(tiny_config, training=training)
    with pytest.raises(ConfigError, match=r"training\.tasks"):
        TaughtLists(load_dataset(tiny_shop), np.zeros(0)).check(config)
