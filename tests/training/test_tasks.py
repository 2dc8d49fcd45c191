"""Training several tasks: labels, weights, resuming, and no change to a ranker of grades."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mmrank.build import build_features, build_model
from mmrank.config import Config, ConfigError, Loss, Multitask, Task
from mmrank.config_checks import check_config
from mmrank.data.batches import Batches
from mmrank.data.tables import DataError
from mmrank.objectives import build_task_losses, build_tasks
from mmrank.ranking.tasks import TaskSpec
from mmrank.trained_run import load_run
from mmrank.training.base_rates import base_outputs, start_at_base_rates
from mmrank.training.callbacks import Progress
from mmrank.training.loop import seed_everything, train_run
from mmrank.training.pipeline import batch_dataset
from mmrank.training.state import State
from mmrank.training.targets import check_labels, for_selection, for_training, take_targets

TASKS = {
    "click": Task(),
    "purchase": Task(given="click"),
    "dwell": Task(loss=Loss("mean_squared_loss"), among="click"),
}
ORDER = "click^0.3 * purchase^0.7 * dwell^0.1"


@pytest.fixture(scope="module")
def config(quick_config) -> Config:
    """A config with numbers only, three tasks over a mixture of experts, and learned weights."""
    model = dataclasses.replace(
        quick_config.model,
        drop=(*quick_config.model.drop, "title", "query", "history"),
        multitask=Multitask("mmoe", {"experts": 2, "task_hidden": [4]}),
        order=ORDER,
    )
    training = dataclasses.replace(
        quick_config.training, epochs=2, tasks=TASKS, task_weights="uncertainty"
    )
    return dataclasses.replace(quick_config, model=model, training=training)


def changed(config: Config, section: str, **changes: object) -> Config:
    part = dataclasses.replace(getattr(config, section), **changes)
    return dataclasses.replace(config, **{section: part})


@pytest.fixture(scope="module")
def whole(config, shop, tmp_path_factory):
    run = tmp_path_factory.mktemp("tasks")
    return train_run(config, shop, run)


def test_a_run_reports_each_task(whole, shop):
    state = State.load(whole.folder / "state.json")
    for epoch in state.history:
        assert {f"task_{n}_loss" for n in TASKS} | {"loss", "val_ndcg_10"} <= set(epoch)
        assert {"val_click_auc", "val_purchase_log_loss", "val_dwell_rmse"} <= set(epoch)
    assert whole.model.uncertainty is not None
    for variance in whole.model.uncertainty.log_variances.values():
        assert 0 < abs(float(variance)) < 1
    rows = shop.rows("test")
    raw, scores = whole.raw(shop, rows), whole.score(shop, rows)
    click, purchase = (1 / (1 + np.exp(-raw[n].astype(float))) for n in ("click", "purchase"))
    seconds = np.maximum(np.expm1(raw["dwell"].astype(float)), 0.001)
    assert (purchase < click).all()
    expected = np.log(click**0.3 * purchase**0.7 * seconds**0.1)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_a_loaded_run_has_the_same_scores_and_accepts_another_order(whole, shop):
    rows = shop.rows("test")
    loaded = load_run(whole.folder)
    np.testing.assert_allclose(loaded.score(shop, rows), whole.score(shop, rows), rtol=1e-5)
    raw = whole.raw(shop, rows)
    other = loaded.with_order("purchase / click").score(shop, rows)
    probability = {n: 1 / (1 + np.exp(-raw[n].astype(float))) for n in ("click", "purchase")}
    expected = np.log(probability["purchase"] / probability["click"])
    np.testing.assert_allclose(other, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(
        ConfigError, match="--order: order 'clik': unknown task 'clik'; did you mean"
    ):
        loaded.with_order("clik")


@pytest.mark.slow
def test_resuming_keeps_the_learned_weights(config, shop, whole, tmp_path, monkeypatch):
    def fail(self: Progress, batch: int, logs: object = None) -> None:
        if self._epoch == 1 and batch == 2:
            raise RuntimeError("stopped")

    with monkeypatch.context() as patched:
        patched.setattr(Progress, "on_train_batch_end", fail)
        with pytest.raises(RuntimeError, match="stopped"):
            train_run(config, shop, tmp_path)
    train_run(config, shop, tmp_path, resume=True)
    one, other = (State.load(f / "state.json") for f in (tmp_path, whole.folder))
    for epoch, expected in zip(one.history, other.history, strict=True):
        assert epoch == pytest.approx(expected, rel=1e-5, abs=1e-6)
    given, wanted = (
        tf.train.load_checkpoint(str(f / str(s.checkpoint)))
        for f, s in ((tmp_path, one), (whole.folder, other))
    )
    names = [n for n in wanted.get_variable_to_shape_map() if "OBJECT_GRAPH" not in n]
    assert sum("log_variance" in name for name in names) == len(TASKS)
    for name in names:
        np.testing.assert_allclose(
            given.get_tensor(name), wanted.get_tensor(name), atol=2e-5, err_msg=name
        )


def batches(config: Config, shop, labels: tuple[str, ...]) -> Batches:
    features = build_features(config, shop.schema)
    features.fit(shop)
    arrays = features.arrays(shop, shop.rows("train"))
    return Batches(arrays, 4, (8, 16, 32), labels=labels)


def test_labels_and_weights_of_a_batch(config, shop):
    made = batches(config, shop, ("click", "dwell"))
    rows = shop.rows("train")
    weights = np.arange(len(rows), dtype=np.float32)
    made = dataclasses.replace(
        made, arrays=dataclasses.replace(made.arrays, weights={"click": weights})
    )
    members = made.plan()[0]
    batch = made.make(members)
    tasks = (TaskSpec("click", "click"), TaskSpec("stay", "dwell", "mean_squared_loss", "log1p"))
    tensors = {n: tf.constant(v) for n, v in batch.items()}
    targets, weighed = take_targets(tensors, tasks)
    assert not {"grades", "label_click", "label_dwell", "weights_click"} & set(tensors)
    assert set(weighed) == {"click"}
    starts = made.arrays.offsets
    for b, i in enumerate(members):
        part = rows.iloc[starts[i] : starts[i + 1]]
        n = len(part)
        np.testing.assert_array_equal(targets["click"][b, :n], part["click"].astype(float))
        np.testing.assert_allclose(
            targets["stay"][b, :n], np.log1p(part["dwell"].to_numpy(float)), rtol=1e-6
        )
        np.testing.assert_array_equal(targets["click"][b, n:], -1)
        np.testing.assert_array_equal(weighed["click"][b, :n], weights[starts[i] : starts[i + 1]])
        np.testing.assert_array_equal(weighed["click"][b, n:], 0)
    single, weight = take_targets({n: tf.constant(v) for n, v in batch.items()}, tasks[:1])
    np.testing.assert_array_equal(single, targets["click"])
    np.testing.assert_array_equal(weight, weighed["click"])
    inputs, labels, given = next(iter(batch_dataset(made, 0, (0, 1), tasks)))
    assert (set(labels), set(given)) == ({"click", "stay"}, {"click"})
    assert "mask" in inputs


def test_weights_reach_the_loss(config, shop):
    """The loss that Keras reports for one batch equals Σ w · CE over the candidates."""
    config = changed(
        config,
        "training",
        tasks={"click": Task(weight=3.0), "purchase": Task()},
        task_weights="fixed",
    )
    config = changed(config, "model", order="click * purchase")
    made = batches(config, shop, ("click", "purchase"))
    seed_everything(config)
    features = build_features(config, shop.schema)
    features.fit(shop)
    model = build_model(config, features)
    model.network.compile(
        loss=build_task_losses(config, model), loss_weights={"click": 3.0, "purchase": 1.0}
    )
    batch = {n: tf.constant(v) for n, v in made.make(made.plan()[0]).items()}
    tasks = model.outputs.tasks
    targets, _ = take_targets(batch, tasks)
    weights = {"click": tf.random.uniform(tf.shape(batch["mask"]), seed=1)}
    fed = tf.data.Dataset.from_tensors((batch, targets, weights))
    given = model.network.evaluate(fed, verbose=0, return_dict=True)
    raw = model.network(batch)
    expected = 0.0
    for name, factor in (("click", 3.0), ("purchase", 1.0)):
        y, x, real = targets[name].numpy(), raw[name].numpy(), batch["mask"].numpy()
        cross = np.log1p(np.exp(-np.where(y > 0, x, -x)))
        weight = weights[name].numpy() if name in weights else np.ones_like(x)
        expected += factor * (cross * weight)[real].sum() / real.sum()
    assert given["loss"] == pytest.approx(expected, rel=1e-4)


def test_tasks_start_at_their_base_rates(config, shop):
    """The rate is (k + 1) / (n + 2) by the table's counts; purchases count among clicked rows."""
    arrays = batches(config, shop, ()).arrays
    rows = shop.rows("train")
    clicks = rows[rows["click"] > 0]
    tasks = build_tasks(config)
    expected = {
        "click": np.log((len(clicks) + 1) / (len(rows) - len(clicks) + 1)),
        "purchase": np.log((clicks["purchase"].sum() + 1) / ((clicks["purchase"] == 0).sum() + 1)),
        "dwell": np.log1p(clicks["dwell"].to_numpy(float)).mean(),
    }
    assert base_outputs(tasks, arrays) == pytest.approx(expected, rel=1e-5)
    assert base_outputs((TaskSpec("rank", "grade", "softmax_loss"),), arrays) == {}
    features = build_features(config, shop.schema)
    features.fit(shop)
    model = build_model(config, features)
    start_at_base_rates(model, tasks, arrays)
    towers = model.scorer.get_layer("head").tower.towers
    for name, value in expected.items():
        assert float(towers[name].layers[-1].bias[0]) == pytest.approx(value, rel=1e-5)


def test_long_lists_keep_what_any_task_has_a_label_for(config, shop):
    arrays = batches(config, shop, ()).arrays
    tasks = (TaskSpec("click", "click"), TaskSpec("purchase", "purchase"))
    rows = shop.rows("train")
    expected = (rows["click"] > 0) | (rows["purchase"] > 0)
    np.testing.assert_array_equal(for_training(arrays, tasks).grades, expected.astype(float))
    np.testing.assert_array_equal(for_training(arrays, ()).grades, rows["grade"])
    np.testing.assert_array_equal(for_selection(arrays, (), None).grades, rows["grade"])
    chosen = for_selection(arrays, tasks, None).grades
    np.testing.assert_array_equal(chosen, rows["click"].astype(float))
    by_dwell = for_selection(arrays, tasks, "dwell").grades
    np.testing.assert_allclose(by_dwell, np.log1p(rows["dwell"].to_numpy(float)), rtol=1e-6)


def test_a_missing_label_is_reported_with_the_remedy(shop):
    with pytest.raises(DataError, match=r"lists\.parquet, column 'cart'.*name: cart, kind: number"):
        check_labels(shop, (TaskSpec("cart", "cart"),), None)
    with pytest.raises(ConfigError, match="select_by: unknown label 'clicks'; did .* 'click'"):
        check_labels(shop, (), "clicks")
    empty = dataclasses.replace(shop, lists=shop.lists.assign(click=np.nan))
    with pytest.raises(DataError, match="column 'click': no training row has a click; fill it"):
        check_labels(empty, (TaskSpec("click", "click"),), None)


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        (
            "model",
            {"order": None},
            "model.order: say how to combine the tasks click, purchase, dwell",
        ),
        ("model", {"order": "clck"}, "unknown task 'clck'; did you mean 'click'"),
        ("model", {"multitask": Multitask("mmo")}, "unknown multitask 'mmo'"),
        (
            "training",
            {"tasks": {}, "task_weights": "fixed"},
            "combines several tasks, but .* has 0",
        ),
        ("training", {"task_weights": "learned"}, "task_weights: unknown 'learned'"),
        ("training", {"tasks": {**TASKS, "click": Task(weight=2.0)}}, "remove `weight`"),
        ("training", {"tasks": {**TASKS, "click": Task(weight=0.0)}}, "weight 0.0 must be above 0"),
        ("training", {"tasks": {**TASKS, "click": Task(loss=Loss("sofmax"))}}, "unknown loss"),
    ],
)
def test_invalid_configs_are_refused(config, section, changes, message):
    with pytest.raises(ConfigError, match=message):
        check_config(changed(config, section, **changes))


def test_one_task_on_grades_equals_the_ranker_of_grades(config, shop):
    """A task on the grade with the same loss has the weights of a ranker of grades."""
    plain = changed(config, "model", order=None)
    plain = changed(plain, "training", tasks={}, task_weights="fixed")
    named = changed(plain, "training", tasks={"relevance": Task(label="grade", loss=Loss())})
    scores = []
    for one in (plain, named):
        seed_everything(one)
        features = build_features(one, shop.schema)
        features.fit(shop)
        model = build_model(one, features)
        made = Batches(features.arrays(shop, shop.rows("test")), 4, (8, 16, 32))
        batch = made.make(made.plan()[0])
        scores.append(model.network({n: tf.constant(v) for n, v in batch.items()}).numpy())
    np.testing.assert_array_equal(scores[0], scores[1])
