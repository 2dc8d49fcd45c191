"""Fine-tuning schedules: what learns when and how fast, and the same after resuming."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from mmrank.build import build_features, build_model
from mmrank.config import Config, ConfigError, FineTune, from_mapping
from mmrank.data.tables import Dataset
from mmrank.encoders.image import ImageOptions, image_tower
from mmrank.encoders.text import BertEncoder
from mmrank.models import FeatureEncoder
from mmrank.training.callbacks import Progress
from mmrank.training.fine_tune import fine_tune, layers_of, settings_by_feature
from mmrank.training.loop import train_run
from mmrank.training.optimizer import Pace, PacedAdamW, make_optimizer
from mmrank.training.state import State

ROOT = pathlib.Path(__file__).resolve().parents[2]
RATE, DECAY, EPSILON = 0.1, 0.5, 1e-7


def adam(values: float, gradients: list[float], first: int, factor: float) -> list[float]:
    """AdamW by its definition, one step per gradient; before step `first` nothing changes."""
    mean = square = 0.0
    actual = []
    for step, gradient in enumerate(gradients):
        if step >= first:
            own = step - first + 1
            values -= RATE * factor * DECAY * values
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.999 * square + 0.001 * gradient**2
            scaled = (mean / (1 - 0.9**own)) / (np.sqrt(square / (1 - 0.999**own)) + EPSILON)
            values -= RATE * factor * scaled
        actual.append(values)
    return actual


def test_each_variable_keeps_its_pace():
    """Three variables, one gradient: at the full rate, at a tenth of it, and from step 2 on."""
    variables = [tf.Variable([1.0]) for _ in range(3)]
    paces = [(variables[1], Pace(0, 0.1)), (variables[2], Pace(2, 0.5))]
    optimizer = PacedAdamW(RATE, paces, weight_decay=DECAY, epsilon=EPSILON)
    gradients = [0.3, -0.2, 0.5, 0.4]
    actual = []
    for gradient in gradients:
        optimizer.apply_gradients([(tf.constant([gradient]), v) for v in variables])
        actual.append([float(v[0]) for v in variables])
    expected = [adam(1.0, gradients, *p) for p in ((0, 1.0), (0, 0.1), (2, 0.5))]
    np.testing.assert_allclose(actual, np.transpose(expected), rtol=1e-4)
    assert actual[1][2] == 1.0  # bitwise unchanged
    # The first step of Adam equals the rate, whatever the gradient: 0.1 and a hundredth.
    assert 1 - actual[0][1] == pytest.approx(0.1 * (1 - actual[0][0]), rel=1e-5)


def test_rows_of_a_table_that_begins_later():
    """A sparse gradient, as of embeddings: no change at first, then that of a dense gradient."""
    tables = [tf.Variable(tf.ones([3, 2])) for _ in range(2)]
    optimizer = PacedAdamW(RATE, [(t, Pace(1)) for t in tables], weight_decay=0.0)
    sparse = tf.IndexedSlices(tf.fill([2, 2], 0.5), tf.constant([1, 1]), tf.constant([3, 2]))
    for _ in range(2):
        before = tables[0].numpy()
        optimizer.apply_gradients([(sparse, tables[0]), (tf.convert_to_tensor(sparse), tables[1])])
    np.testing.assert_array_equal(before, np.ones([3, 2]))
    np.testing.assert_allclose(tables[0], [[1, 1], [0.9, 0.9], [1, 1]], rtol=1e-5)
    np.testing.assert_allclose(tables[0], tables[1])


def test_waiting_gradients_are_not_in_the_clipping_norm():
    """Gradients 3 and 4 have norm 5; while the 4 waits, only the 3 is clipped, to 1."""
    variables = [tf.Variable([0.0]), tf.Variable([0.0])]
    optimizer = PacedAdamW(RATE, [(variables[1], Pace(1))], weight_decay=0.0, global_clipnorm=1.0)
    gradients = [tf.constant([3.0]), tf.constant([4.0])]
    for expected in (0.1 * 1.0, 0.9 * 0.1 + 0.1 * 0.6):
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        assert float(optimizer._momentums[0][0]) == pytest.approx(expected, rel=1e-5)
    assert float(optimizer._momentums[1][0]) == pytest.approx(0.1 * 0.8, rel=1e-5)


REPLICAS = """
import sys
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from mmrank.training.optimizer import Pace, PacedAdamW
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    variables = [tf.Variable([1.0]) for _ in range(2)]
    optimizer = PacedAdamW(0.1, [(variables[1], Pace(2, 0.5))], weight_decay=0.5)
    optimizer.build(variables)
@tf.function
def step(gradient):
    def of_replica():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        share = gradient * tf.where(replica == 0, 0.25, 0.75)
        optimizer.apply_gradients([(share[None], v) for v in variables])
    strategy.run(of_replica)
for gradient in (0.3, -0.2, 0.5, 0.4):
    step(tf.constant(gradient))
    print(*(float(v.values[1][0]) for v in variables))
"""


def test_replicas_keep_the_paces_too():
    """Two replicas contribute a quarter and three quarters of each gradient."""
    done = subprocess.run(
        [sys.executable, "-c", REPLICAS],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    actual = [[float(v) for v in line.split()] for line in done.stdout.splitlines()[-4:]]
    gradients = [0.3, -0.2, 0.5, 0.4]
    expected = [adam(1.0, gradients, 0, 1.0), adam(1.0, gradients, 2, 0.5)]
    np.testing.assert_allclose(actual, np.transpose(expected), rtol=1e-4)


def test_without_paces_it_equals_adamw_of_keras():
    ours = make_optimizer(learning_rate=0.1, steps=10, warmup=0.1, weight_decay=0.1, clip_norm=1.0)
    keras = tf.keras.optimizers.AdamW(0.1, weight_decay=0.1, global_clipnorm=1.0)
    keras._learning_rate = ours._learning_rate
    ones = [tf.Variable([1.0, -2.0], name="kernel") for _ in range(2)]
    for step in range(4):
        for optimizer, variable in zip((ours, keras), ones, strict=True):
            optimizer._current_learning_rate = tf.Variable(0.0)
            optimizer.apply_gradients([(tf.constant([step - 1.0, 0.5]), variable)])
    np.testing.assert_array_equal(*ones)


def test_layers_of_a_bert_and_of_an_efficientnet():
    bert = BertEncoder(
        vocabulary_size=9, max_tokens=4, layers=3, heads=2, hidden=8, intermediate=8, dropout=0.0
    )
    sizes = [len(g) for g in layers_of(bert.trainable_variables)]
    assert sizes == [5, 16, 16, 16]  # embeddings; per layer, 6 dense and 2 norms
    small = ImageOptions(32, 32, "EfficientNet", width_coefficient=0.1, depth_coefficient=0.1)
    groups = layers_of(image_tower(small, "photo", "feature 'photo'").trainable_variables)
    assert len(groups) == 1 + 7  # the stem, and one block for each of the seven stages
    assert {v.name.split("_")[0] for v in groups[0]} == {"stem"}
    assert {v.name.split("_")[0] for v in groups[1]} == {"block1a"}
    assert {v.name.split("_")[0] for v in groups[-1]} == {"block7a", "top"}
    plain = [tf.Variable([0.0], name=n) for n in ("dense/kernel", "dense/bias")]
    assert layers_of(plain) == [plain]


def feature(name: str, encoder: tf.keras.layers.Layer) -> FeatureEncoder:
    return FeatureEncoder(name, "item", tf.TensorSpec([None, 4], tf.int32), encoder)


@pytest.fixture
def bert() -> BertEncoder:
    return BertEncoder(
        vocabulary_size=9, max_tokens=4, layers=3, heads=2, hidden=8, intermediate=8, dropout=0.0
    )


def test_gradual_unfreezing_goes_from_the_top_downward(bert):
    """Layers 2, 1, 0, then embeddings: two per epoch of 10 steps, from the third epoch on."""
    setting = FineTune("gradual", 2, layers_per_epoch=2, learning_rate=0.4, layer_decay=0.5)
    paces = fine_tune([feature("title", bert)], {"title": setting}, 10, epochs=9)
    actual = {v.name.split("/")[0]: (p.first_step, p.rate) for v, p in paces}
    assert actual["transformer_layer_2"] == (20, pytest.approx(0.4))
    assert actual["transformer_layer_1"] == (20, pytest.approx(0.2))
    assert actual["transformer_layer_0"] == (30, pytest.approx(0.1))
    assert actual["token_embedding"] == (30, pytest.approx(0.05))
    assert len(paces) == len(bert.trainable_variables)


def test_a_full_schedule_has_only_rates(bert):
    setting = FineTune("full", unfreeze_epoch=3, learning_rate=0.1)
    paces = fine_tune([feature("title", bert)], {"title": setting}, 10, epochs=9)
    assert {p for _, p in paces} == {Pace(0, 0.1)}


def test_frozen_and_late_towers_keep_their_statistics():
    for schedule, learning in (("frozen", 0), ("gradual", 1)):
        net = tf.keras.Sequential(
            [tf.keras.layers.Dense(2, use_bias=False), tf.keras.layers.BatchNormalization()]
        )
        net.build([None, 3])
        fine_tune([feature("photo", net)], {"photo": FineTune(schedule)}, 1, epochs=2)
        before = [w.numpy() for w in net.layers[1].weights]
        net(tf.random.normal([8, 3], 5.0), training=True)
        for weight, old in zip(net.layers[1].weights, before, strict=True):
            np.testing.assert_array_equal(weight, old)
        assert len(net.trainable_variables) == learning


def test_only_the_top_layers_learn_and_those_below_are_frozen_with_their_statistics():
    """The upper two of stem and seven blocks learn; no gradient reaches the layers below."""
    small = ImageOptions(32, 32, "EfficientNet", width_coefficient=0.1, depth_coefficient=0.1)
    tower = image_tower(small, "photo", "feature 'photo'")
    photo = FeatureEncoder("photo", "item", tf.TensorSpec([None, 32, 32, 3], tf.uint8), tower)
    setting = FineTune(layers=2, layer_decay=0.5)
    paces = fine_tune([photo], {"photo": setting}, 10, epochs=3)
    actual = {v.name.split("_")[0]: (p.first_step, p.rate) for v, p in paces}
    assert actual == {"block7a": (0, 1.0), "top": (0, 1.0), "block6a": (0, 0.5)}
    assert {v.name.split("_")[0] for v in tower.trainable_variables} == set(actual)
    pixels = tf.constant(np.random.default_rng(0).integers(0, 256, [2, 32, 32, 3]), tf.uint8)
    before = {v.name: v.numpy() for v in tower.non_trainable_variables}
    tower(pixels, training=True)
    moved = {v.name for v in tower.non_trainable_variables if (v.numpy() != before[v.name]).any()}
    assert {n.split("_")[0] for n in moved if "random" not in n} <= set(actual)
    assert any("moving" in n for n in moved)


def test_layers_of_one_keras_layer_are_stopped_by_the_optimizer():
    """The layers are all in one Keras layer, as in a hub model."""
    bottom = tf.Variable([0.0], name="layer_0/kernel")
    top = tf.Variable([0.0], name="layer_1/kernel")
    one = tf.keras.layers.Layer()
    one.variables_of_both = [bottom, top]
    setting = FineTune(layers=1)
    paces = fine_tune([feature("title", one)], {"title": setting}, 10, epochs=3)
    assert [(v.name, p.first_step) for v, p in paces] == [
        ("layer_0/kernel:0", 30),
        ("layer_1/kernel:0", 0),
    ]


def test_features_that_share_an_encoder_need_one_setting(bert):
    both = [feature("title", bert), feature("query", bert)]
    one = FineTune("full", learning_rate=0.1)
    paces = fine_tune(both, {"title": one, "query": one}, 1, epochs=1)
    assert len(paces) == len(bert.trainable_variables)
    with pytest.raises(ConfigError, match="query: shares its encoder with 'title'"):
        fine_tune(both, {"title": one, "query": FineTune("frozen")}, 1, epochs=1)
    bert.trainable = False
    with pytest.raises(ConfigError, match="set trainable: true"):
        fine_tune(both, {"title": one}, 1, epochs=1)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"titel": {}}, "titel: is not a feature .* did you mean 'title'"),
        ({"title": {"schedule": "gradul"}}, "did you mean 'gradual'"),
        ({"title": {"unfreeze_epoch": -1}}, "unfreeze_epoch: expected 0 or more, got -1"),
        ({"title": {"layers_per_epoch": 0}}, "layers_per_epoch: expected 1 or more, got 0"),
        ({"title": {"layers": 0}}, "layers: expected 1 or more, got 0"),
        ({"title": {"learning_rate": 0}}, "schedule: frozen"),
        ({"title": {"layer_decay": 1.5}}, "layer_decay in"),
    ],
)
def test_invalid_settings_are_refused(quick_config, shop: Dataset, wanted, message):
    features = build_features(quick_config, shop.schema)
    config = from_mapping(Config, {"training": {"fine_tune": wanted}}, "here")
    with pytest.raises(ConfigError, match=message):
        settings_by_feature(config.training.fine_tune, features.columns)


def test_settings_are_read_strictly():
    wanted = {"training": {"fine_tune": {"title": {"rate": 1}}}}
    with pytest.raises(ConfigError, match="fine_tune: title: unknown key 'rate'"):
        from_mapping(Config, wanted, "here")


def test_a_feature_takes_precedence_over_its_kind(quick_config, shop: Dataset):
    features = build_features(quick_config, shop.schema)
    wanted = {"text": FineTune("frozen"), "query": FineTune(learning_rate=0.1)}
    actual = settings_by_feature(wanted, features.columns)
    assert actual == {"title": FineTune("frozen"), "query": FineTune(learning_rate=0.1)}


class Stop(RuntimeError):
    """Raised by the test to stop training."""


@pytest.mark.slow
def test_a_run_unfreezes_and_resumes_to_the_same_numbers(
    quick_config, shop: Dataset, tmp_path: pathlib.Path, monkeypatch
):
    """The text encoder starts in the second of three epochs, in which the second run is stopped."""
    setting = FineTune("gradual", unfreeze_epoch=1, learning_rate=0.5, layer_decay=0.5)
    model = dataclasses.replace(
        quick_config.model,  # unneeded features would take long to trace, three times
        drop=(*quick_config.model.drop, "price", "user", "history"),
        head=dataclasses.replace(quick_config.model.head, attention_layers=0),
    )
    config = dataclasses.replace(
        quick_config,
        model=model,
        training=dataclasses.replace(
            quick_config.training,
            fine_tune={"text": setting, "brand": FineTune("frozen")},
            steps_per_epoch=3,
        ),
    )
    seen: list[dict[str, np.ndarray]] = []
    ended = Progress.on_epoch_end

    def note(self: Progress, epoch: int, logs: object = None) -> None:
        names = ("token_embedding", "transformer_layer", "brand_encoder")
        values = by_name(self.model)
        seen.append({n: v for n, v in values.items() if any(part in n for part in names)})
        ended(self, epoch, logs)

    def stop(self: Progress, batch: int, logs: object = None) -> None:
        if self._epoch == 1 and batch == 1:
            raise Stop

    (tmp_path / "whole").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(Progress, "on_epoch_end", note)
        train_run(config, shop, tmp_path / "whole")
    assert len(seen) == 3
    moved = {n: not np.array_equal(seen[0][n], seen[2][n]) for n in seen[0]}
    first = build_first(config, shop)
    for name, value in seen[0].items():
        np.testing.assert_array_equal(value, first[name], err_msg=name)
        assert moved[name] == ("brand" not in name), name

    (tmp_path / "part").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(Progress, "on_train_batch_end", stop)
        with pytest.raises(Stop):
            train_run(config, shop, tmp_path / "part")
    train_run(config, shop, tmp_path / "part", resume=True)
    one, other = (State.load(tmp_path / n / "state.json") for n in ("part", "whole"))
    for epoch, expected in zip(one.history, other.history, strict=True):
        assert epoch == pytest.approx(expected, abs=1e-6)


def build_first(config: Config, shop: Dataset) -> dict[str, np.ndarray]:
    """The weights that a run of this config starts from, by name."""
    features = build_features(config, shop.schema)
    features.fit(shop)
    tf.keras.utils.set_random_seed(config.seed)
    return by_name(build_model(config, features).network)


def by_name(network: tf.keras.Model) -> dict[str, np.ndarray]:
    """Weights by name, without the numbers that Keras counts up within a process."""
    return {re.sub(r"embedding_\d+", "embedding", v.name): v.numpy() for v in network.variables}
