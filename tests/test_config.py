"""Configs: strict, overridable, and equal after a round trip."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest

from mmrank.config import Config, ConfigError, load_config, save_config

CONFIGS = pathlib.Path(__file__).resolve().parents[1] / "configs"


@pytest.fixture
def write(tmp_path):
    def one(text: str) -> pathlib.Path:
        file = tmp_path / "config.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    return one


def test_an_empty_file_gives_the_defaults(write):
    assert load_config(write("")) == Config()


def test_values_reach_their_fields(write):
    config = load_config(
        write(
            "seed: 4\n"
            "data: {buckets: [4, 9], simulate: {items: 70}}\n"
            "model: {encoders: {text: {layers: 3}}, head: {hidden: [5]}}\n"
            "training: {learning_rate: 1, loss: {name: approx_ndcg_loss}}\n"
        )
    )
    assert config.seed == 4
    assert config.data.buckets == (4, 9)
    assert config.data.simulate.items == 70
    assert config.model.encoders == {"text": {"layers": 3}}
    assert config.model.head.hidden == (5,)
    assert config.training.learning_rate == 1.0
    assert isinstance(config.training.learning_rate, float)
    assert config.training.loss.name == "approx_ndcg_loss"
    assert config.training.steps_per_epoch is None


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "0.001", "'1e-3'"])
def test_a_number_may_be_written_as_in_python(write, text):
    """YAML 1.1 reads 1e-3 as a text."""
    assert load_config(write(f"training: {{learning_rate: {text}}}")).training.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trainin: {}", "unknown key 'trainin'; did you mean 'training'"),
        ("training: {learning_rat: 1}", "training: unknown key 'learning_rat'; did you mean"),
        ("training: {loss: {nme: x}}", "training: loss: unknown key 'nme'; did you mean 'name'"),
        ("training: {epochs: ten}", "training: epochs: expected int, got 'ten'"),
        ("training: {epochs: true}", "epochs: expected int, got True"),
        ("training: {epochs: 1.5}", "epochs: expected int, got 1.5"),
        ("training: {learning_rate: fast}", "learning_rate: expected float, got 'fast'"),
        ("training: {deterministic: 1}", "deterministic: expected bool, got 1"),
        ("data: {buckets: 8}", "data: buckets: expected a list, got 8"),
        ("data: {buckets: [8, x]}", r"data: buckets\[1\]: expected int, got 'x'"),
        ("model: {encoders: [text]}", "encoders: expected a section with keys"),
        ("model: 3", "model: expected a section with keys, got 3"),
        ("- a", "expected a mapping at the top"),
        ("a: [", "not YAML"),
    ],
)
def test_wrong_values_are_named(write, text, message):
    file = write(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(file)
    assert str(file) in str(caught.value)


def test_a_missing_file_names_the_nearest(write):
    file = write("")
    with pytest.raises(ConfigError, match="no such file; did you mean 'config.yaml'"):
        load_config(file.with_name("confg.yaml"))


def test_overrides_come_last_and_are_read_as_yaml(write):
    file = write("training: {epochs: 3}")
    config = load_config(
        file,
        [
            "training.epochs=7",
            "training.learning_rate=1e-4",
            "model.fusion.name=cross_attention",
            "model.drop=[photo, title]",
            "data.path=",
        ],
    )
    assert config.training.epochs == 7
    assert config.training.learning_rate == 1e-4
    assert config.model.fusion.name == "cross_attention"
    assert config.model.drop == ("photo", "title")
    assert config.data.path is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs", "write it as a.b=value"),
        ("=3", "write it as a.b=value"),
        ("training.epochs.more=3", "'epochs' is a value, not a section"),
        ("training.epocs=3", "unknown key 'epocs'; did you mean 'epochs'"),
        ("training.epochs=[", "not YAML"),
    ],
)
def test_a_wrong_override_is_named(write, override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write("training: {epochs: 3}"), [override])


def test_a_saved_config_loads_equal(write, tmp_path, tiny_config):
    odd = dataclasses.replace(
        tiny_config, training=dataclasses.replace(tiny_config.training, learning_rate=1e-5)
    )
    for config in (Config(), tiny_config, odd):
        save_config(config, tmp_path / "saved.yaml")
        assert load_config(tmp_path / "saved.yaml") == config


def test_every_config_of_the_project_loads_and_survives_a_round_trip(tmp_path):
    # These are read by `mmrank.tune` and `mmrank.rerank`.
    others = ("space.yaml", "rerank.yaml")
    files = sorted(f for f in CONFIGS.rglob("*.y*ml") if f.name not in others)
    assert files, "no config was found, so none was tested"
    assert {"quickstart.yaml"} <= {f.name for f in files}
    for file in files:
        config = load_config(file)
        save_config(config, tmp_path / "saved.yaml")
        assert load_config(tmp_path / "saved.yaml") == config
