"""A ranker with a cross-encoder, from training to export, and distilled into one without."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import safetensors.numpy

from mmrank.config import CONFIG_FILE, Config, ConfigError, Cross, FineTune, Task
from mmrank.config_checks import check_config
from mmrank.data.tables import Dataset, load_dataset
from mmrank.distill import main as distill
from mmrank.encoders.hf_bert import bert_backbone
from mmrank.serving.export import export_run
from mmrank.serving.ranker import Ranker
from mmrank.serving.staged import StagedRanker
from mmrank.trained_run import Run, load_run
from mmrank.training.fine_tune import PRETRAINED_RATE, cross_paces
from mmrank.training.loop import train_run

KEPT = ("query", "title", "description")
READ = {"title": 6, "description": 4}
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "red",
    "blue",
    "dress",
    "##es",
    "a",
    "##b",
    "红",
    "裙",
]
HIDDEN, BETWEEN, LAYERS, POSITIONS = 16, 24, 2, 20


def random_weights() -> dict[str, np.ndarray]:
    """Tensors of a small BERT, named as by Hugging Face."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(PIECES), HIDDEN),
        "embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
        "embeddings.LayerNorm.weight": (HIDDEN,),
        "embeddings.LayerNorm.bias": (HIDDEN,),
        "pooler.dense.bias": (HIDDEN,),
    }
    for i in range(LAYERS):
        at = f"encoder.layer.{i}"
        for part, out, inputs in (
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", BETWEEN, HIDDEN),
            ("output.dense", HIDDEN, BETWEEN),
        ):
            shapes |= {f"{at}.{part}.weight": (out, inputs), f"{at}.{part}.bias": (out,)}
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{at}.{part}.weight": (HIDDEN,), f"{at}.{part}.bias": (HIDDEN,)}
    random = np.random.default_rng(0)
    return {n: random.normal(0, 0.3, s).astype(np.float32) for n, s in shapes.items()}


def write_bert(folder: pathlib.Path) -> pathlib.Path:
    """A folder with these weights in Hugging Face's format."""
    folder.mkdir()
    shape = {
        "model_type": "bert",
        "vocab_size": len(PIECES),
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "intermediate_size": BETWEEN,
        "max_position_embeddings": POSITIONS,
    }
    (folder / "config.json").write_text(json.dumps(shape))
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    safetensors.numpy.save_file(random_weights(), folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def shop(tiny_shop: pathlib.Path) -> Dataset:
    return load_dataset(tiny_shop)


def config_of(tiny_config: Config, shop: Dataset, **cross: object) -> Config:
    """The config of a ranker of three texts with a cross-encoder."""
    sides = ("item", "query", "user", "pair")
    drop = tuple(f.name for f in shop.schema.side(*sides) if f.name not in KEPT)
    options = Cross(fields=READ, query_tokens=4, sub_batch=8, **cross)
    model = dataclasses.replace(tiny_config.model, drop=drop, cross=options)
    training = dataclasses.replace(tiny_config.training, epochs=1)
    return dataclasses.replace(tiny_config, model=model, training=training)


@pytest.fixture(scope="module")
def trained(shop: Dataset, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that started from weights in a folder which is moved before the run is loaded again."""
    folder = tmp_path_factory.mktemp("cross")
    bert = write_bert(folder / "bert")
    config = config_of(tiny_config, shop, weights=str(bert), rescore=3)
    check_config(config)
    (folder / "run").mkdir()
    run = train_run(config, shop, folder / "run")
    bert.rename(folder / "moved")
    return run


@pytest.mark.slow
def test_scores_are_the_same_in_training_ranking_and_export(trained: Run, shop: Dataset) -> None:
    rows = shop.rows("test")
    scores = trained.score(shop, rows)
    np.testing.assert_allclose(load_run(trained.folder).score(shop, rows), scores, atol=1e-5)
    assert np.abs(trained.model.cross.score.kernel).max() > 0
    exported = export_run(trained, trained.folder / "export", shop)
    ranker, staged = Ranker.load(exported), StagedRanker.load(exported)
    catalog = shop.catalog.set_index("item_id")
    at = 0
    for _, one in list(rows.groupby("list_id", sort=False))[:3]:
        want, at = scores[at : at + len(one)], at + len(one)
        query, ids = one["query"].iloc[0], one["item_id"].tolist()
        raw = [catalog.loc[i, list(KEPT[1:])].dropna().to_dict() for i in ids]
        for got in (
            ranker.scores(query=query, candidates=ids),
            ranker.scores(query=query, candidates=raw),
            staged.rank(query, ids).scores,  # by encode_queries and rank_embeddings
        ):
            np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.slow
def test_weights_start_from_those_of_the_folder(trained: Run) -> None:
    cross = trained.model.cross
    kept = cross.get_weights()
    given = random_weights()
    assert cross.take(given) == ("pooler.dense.bias",)
    table = cross.bert.get_layer("token_embedding").embeddings
    np.testing.assert_array_equal(table, given["embeddings.word_embeddings.weight"])
    cross.set_weights(kept)
    rates = {pace.rate for _, pace in cross_paces(trained.config, trained.model, 10)}
    assert rates == {PRETRAINED_RATE}
    slow = FineTune(schedule="gradual", layers_per_epoch=1, learning_rate=0.1)
    training = dataclasses.replace(trained.config.training, fine_tune={"cross": slow})
    paces = cross_paces(dataclasses.replace(trained.config, training=training), trained.model, 10)
    # Two layers and the embeddings below them.
    assert {pace.first_step for _, pace in paces} == {10, 20, 30}
    assert len(paces) == len(bert_backbone(cross.shape).trainable_variables) - 2


@pytest.mark.slow
def test_distillation_into_a_ranker_without_a_cross_encoder(
    trained: Run, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "student"
    config = str(trained.folder / CONFIG_FILE)
    given = ["--run", str(trained.folder), "--config", config, "--out", str(out)]
    assert distill([*given, "--set", "model.cross=null", "--max-loss", "0.9"]) == 0
    student = load_run(out)
    assert student.model.cross is None
    assert not any("cross" in w.name for w in student.model.network.weights)
    assert Ranker.load(out / "export").rank(query="red", candidates=["no such item"])


@pytest.mark.slow
def test_a_cross_encoder_alone(shop: Dataset, tiny_config: Config, tmp_path: pathlib.Path) -> None:
    small = {"layers": 1, "heads": 2, "hidden": 16, "intermediate": 16, "vocabulary_size": 200}
    config = config_of(tiny_config, shop, alone=True, **small)
    check_config(config)
    run = train_run(config, shop, tmp_path)
    rows = shop.rows("test")
    scores = run.score(shop, rows)
    assert np.ptp(scores) > 1e-4
    assert run.model.matcher is None
    towers = [*run.model.item_tower.layers, *run.model.context_tower.layers]
    for weight in (w for layer in towers for w in layer.weights):
        weight.assign(weight + 1 if weight.dtype.is_floating else weight)
    np.testing.assert_allclose(run.score(shop, rows), scores, atol=1e-6)


@pytest.mark.parametrize(
    ("cross", "training", "message"),
    [
        ({"heads": 3}, {}, "128 hidden units are not a multiple of 3 heads"),
        ({"alone": True, "rescore": 9}, {}, "rescore needs a first score"),
        ({"alone": True}, {"tasks": {"click": Task()}}, "alone: learns from grades"),
        (
            {"rescore": 9},
            {"tasks": {"click": Task(), "cart": Task()}},
            "rescore: needs a single score",
        ),
        ({}, {"strategy": "tpu"}, "strategy tpu does not support"),
    ],
)
def test_incompatible_options_are_refused(
    tiny_config: Config, cross: dict, training: dict, message: str
) -> None:
    model = dataclasses.replace(tiny_config.model, cross=Cross(fields=READ, **cross))
    trained = dataclasses.replace(tiny_config.training, **training)
    with pytest.raises(ConfigError, match=message):
        check_config(dataclasses.replace(tiny_config, model=model, training=trained))
