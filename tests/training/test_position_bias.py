"""Position bias in training: weights, the tower switched off in serving, invalid combinations."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from mmrank.config import Config, ConfigError, Loss, PositionBias, Task
from mmrank.config_checks import check_config
from mmrank.data.batches import ListArrays
from mmrank.data.tables import DataError
from mmrank.ranking.losses import make_loss
from mmrank.serving.export import export_run
from mmrank.trained_run import load_run
from mmrank.training.loop import train_run
from mmrank.training.position_bias import check_positions, propensity_weighted

TOWER = PositionBias(name="tower")


@pytest.fixture(scope="module")
def plain(quick_config) -> Config:
    """A config with numbers only and two epochs."""
    drop = (*quick_config.model.drop, "title", "query", "history", "user")
    return dataclasses.replace(
        quick_config,
        model=dataclasses.replace(quick_config.model, drop=drop),
        training=dataclasses.replace(quick_config.training, epochs=2),
    )


def with_tasks(config: Config, **tasks: Task) -> Config:
    training = dataclasses.replace(config.training, tasks=tasks)
    order = " * ".join(tasks) if len(tasks) > 1 else None
    model = dataclasses.replace(config.model, order=order)
    return dataclasses.replace(config, training=training, model=model)


def table(folder: pathlib.Path, *propensities: float) -> str:
    rows = [f"{k},{p}" for k, p in enumerate(propensities, 1)]
    (folder / "p.csv").write_text("\n".join(["position,propensity", *rows]) + "\n")
    return str(folder / "p.csv")


def arrays(position: list[float], click: list[float]) -> ListArrays:
    rows = len(click)
    return ListArrays(
        items={},
        contexts={},
        pairs={},
        offsets=np.array([0, rows]),
        candidates=np.arange(rows),
        grades=np.zeros(rows, np.float32),
        users=np.full(1, -1),
        times=np.full(1, np.nan),
        labels={"position": np.array(position, np.float32), "click": np.array(click, np.float32)},
    )


def test_weights_of_clicks(tmp_path: pathlib.Path) -> None:
    """1 / max(p, clip) where clicked, with the last propensity for deeper rows; otherwise 1."""
    file = table(tmp_path, 1.0, 0.5, 0.02)
    task = Task(position_bias=PositionBias("ipw", file, clip=0.1))
    lists = arrays([1, 2, 2, 3, 9, 9], [1, 1, 0, 1, 1, np.nan])
    given = propensity_weighted(lists, {"click": task, "purchase": Task()})
    assert set(given.weights) == {"click"}
    np.testing.assert_allclose(given.weights["click"], [1, 2, 1, 10, 10, 1])


@pytest.mark.parametrize("name", ["softmax_loss", "sigmoid_cross_entropy_loss"])
def test_the_weighted_loss_is_that_of_the_papers(tmp_path: pathlib.Path, name: str) -> None:
    """Softmax: −Σ clicked log softmax / p; pointwise: each term of a click is divided by its p."""
    bias = PositionBias("ipw", table(tmp_path, 1.0, 0.5, 0.25))
    task = Task(loss=Loss(name), position_bias=bias)
    click, scores = np.array([1.0, 0.0, 1.0]), np.array([0.3, -0.2, 0.9])
    weights = propensity_weighted(arrays([1, 2, 3], list(click)), {"click": task}).weights["click"]
    if name == "softmax_loss":
        log = scores - np.log(np.exp(scores).sum())
        expected = -log[0] / 1.0 - log[2] / 0.25
    else:
        log, log_not = -np.log1p(np.exp(-scores)), -np.log1p(np.exp(scores))
        expected = (-log[0] / 1.0 - log_not[1] - log[2] / 0.25) / 3
    given = make_loss(name)(
        tf.constant([[1.0, 0.0, 1.0]]),
        tf.constant(scores[None], tf.float32),
        tf.constant(weights[None]),
    )
    np.testing.assert_allclose(given, expected, rtol=1e-5)


@pytest.fixture(scope="module")
def towered(plain, shop, tmp_path_factory):
    config = with_tasks(plain, click=Task(loss=Loss("softmax_loss"), position_bias=TOWER))
    return train_run(config, shop, tmp_path_factory.mktemp("tower"))


def test_the_tower_learns_and_serving_reads_no_position(towered, shop, tmp_path) -> None:
    layer = towered.model.network.get_layer("positions_click")
    start = -np.log(np.arange(1, 11))  # of positions 1 to 10
    assert np.abs(layer.table.numpy()[1:11, 0] - start).max() > 1e-3
    assert "label_position" in towered.model.network.input
    rows = shop.rows("test")
    moved = dataclasses.replace(
        shop, lists=shop.lists.assign(position=shop.lists["position"].to_numpy()[::-1])
    )
    np.testing.assert_array_equal(
        towered.score(moved, moved.rows("test")), towered.score(shop, rows)
    )
    loaded = load_run(towered.folder)
    np.testing.assert_allclose(loaded.score(shop, rows), towered.score(shop, rows), rtol=1e-5)
    served = tf.saved_model.load(str(export_run(towered, tmp_path / "export", shop)))
    for signature in served.signatures.values():
        assert not any("position" in name for name in signature.structured_input_signature[1])


def test_the_training_graph_adds_the_position(towered, shop) -> None:
    """Network and scorer differ only by the tower's logits."""
    from mmrank.data.batches import Batches

    lists = towered.fitted.arrays(shop, shop.rows("valid"))
    batches = Batches(lists, 4, (8, 16, 32), labels=("position",))
    _, batch = next(iter(batches.once()))
    network = towered.model.network
    fed = {n: tf.constant(batch[n]) for n in network.input}
    unbiased = network({**fed, "label_position": tf.zeros_like(fed["label_position"])})
    positions = batch["label_position"].astype(int)
    values = network.get_layer("positions_click").table.numpy()[:, 0]
    expected = unbiased.numpy() - values[0] + values[positions]
    np.testing.assert_allclose(network(fed), expected, rtol=1e-4, atol=1e-5)


def test_an_em_loss_trains(plain, shop, tmp_path) -> None:
    config = with_tasks(plain, click=Task(loss=Loss("click_em_loss"), position_bias=TOWER))
    training = dataclasses.replace(config.training, epochs=1, steps_per_epoch=3)
    run = train_run(dataclasses.replace(config, training=training), shop, tmp_path)
    scores = run.score(shop, shop.rows("test"))
    assert np.isfinite(scores).all()
    assert scores.std() > 0


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"click": Task(position_bias=PositionBias("towr"))}, "did you mean 'tower'"),
        ({"click": Task(position_bias=PositionBias("ipw"))}, "propensities"),
        ({"click": Task(position_bias=PositionBias("tower", "p.csv"))}, "propensities"),
        ({"click": Task(position_bias=PositionBias("ipw", "p.csv", clip=0.0))}, "clip"),
        (
            {"click": Task(loss=Loss("approx_ndcg_loss"), position_bias=PositionBias("ipw", "p"))},
            "approx_ndcg_loss cannot weight single clicks; use one of mean_squared_loss",
        ),
        ({"click": Task(loss=Loss("click_em_loss"))}, "needs logits of examination"),
        (
            {"click": Task(loss=Loss("click_em_loss"), position_bias=TOWER), "cart": Task()},
            "the only task",
        ),
        ({"click": Task(position_bias=PositionBias("tower", dropout=1.0))}, "dropout"),
    ],
)
def test_invalid_configs_are_refused(plain, tasks: dict[str, Task], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_config(with_tasks(plain, **tasks))


def test_the_loss_of_grades_needs_a_tower_too(plain) -> None:
    training = dataclasses.replace(plain.training, loss=Loss("click_em_loss"))
    with pytest.raises(ConfigError, match="training.tasks"):
        check_config(dataclasses.replace(plain, training=training))


def test_rows_without_a_position_are_refused(shop) -> None:
    tasks = {"click": Task(position_bias=TOWER)}
    check_positions(shop, tasks)
    lists = shop.lists.assign(position=shop.lists["position"].where(shop.lists.index > 1))
    with pytest.raises(DataError, match="column 'position': 2 value"):
        check_positions(dataclasses.replace(shop, lists=lists), tasks)
    features = tuple(f for f in shop.schema.features if f.name != "position")
    bare = dataclasses.replace(shop, schema=dataclasses.replace(shop.schema, features=features))
    with pytest.raises(DataError, match="name: position"):
        check_positions(bare, tasks)
    check_positions(bare, {"click": Task()})


def test_a_wrong_table_is_reported_before_data_is_read(shop, tmp_path: pathlib.Path) -> None:
    def ipw(file: str) -> dict[str, Task]:
        return {"click": Task(position_bias=PositionBias(name="ipw", propensities=file))}

    check_positions(shop, ipw(table(tmp_path, 1.0, 0.5)))
    with pytest.raises(DataError, match="none.csv"):
        check_positions(shop, ipw(str(tmp_path / "none.csv")))
    with pytest.raises(DataError, match="column 'propensity'"):
        check_positions(shop, ipw(table(tmp_path, 1.0, 0.0)))
