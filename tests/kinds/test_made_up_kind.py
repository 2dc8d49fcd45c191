"""A kind of feature defined in this file and added by one entry: from a schema to `/rank`.

The package itself does not know colours. The file is also the example of docs/extending.md.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import yaml

from mmrank import drift, evaluate, train
from mmrank.config import from_mapping
from mmrank.data.findings import Finding
from mmrank.data.kinds import KINDS
from mmrank.data.kinds.base import ONE_TEXT, Kind, RawForm, check_cells
from mmrank.data.media import MediaStore
from mmrank.data.tables import load_dataset
from mmrank.data.validation import validate_dataset
from mmrank.encoders.base import FeatureKind, texts
from mmrank.encoders.category import string_lookup
from mmrank.encoders.word_rows import NamedRows, Rows, known_words
from mmrank.ranges import Count
from mmrank.schema import Feature
from mmrank.server.config import ServerConfig
from mmrank.server.run import Server
from mmrank.serving.ranker import Ranker
from mmrank.serving.request import Column, RankError
from mmrank.serving.table_columns import ColumnReader
from mmrank.trained_run import load_run
from mmrank.training.callbacks import Progress
from mmrank.training.loop import INIT_FILE

HEX = re.compile("#[0-9a-f]{6}")


class ColourKind(Kind):
    """A colour such as `#ff8800`; the empty text is absent."""

    sides = ("query", "item")
    encoder = f"{__name__}:Colour"
    cells = ONE_TEXT
    measures = ("name",)

    def check(self, file: str, values: pd.Series, feature: Feature) -> Iterator[Finding]:
        what, remedy = "values that are not colours", "write them as #rrggbb, or leave them empty"
        return check_cells(file, values, feature, read_colour, what, remedy)

    def raw(self, value: Any, form: RawForm) -> Any:
        text = super().raw(value, form)
        return None if text is None else read_colour(text)

    def raw_cell(self, value: Any, form: RawForm) -> Any:
        return read_colour(value)


def read_colour(value: Any) -> str | None:
    """A colour in lower case; None if it is missing."""
    if pd.isna(value) or value == "":
        return None
    if not HEX.fullmatch(str(value).lower()):
        raise ValueError(f"is not a colour such as #ff8800: {value!r}")
    return str(value).lower()


@dataclasses.dataclass(frozen=True)
class ColourOptions:
    """Options: the number of buckets for colours that are not in the training data."""

    oov_buckets: Count = 2


class Colour(FeatureKind):
    """The encoder side of the kind: red, green and blue, and the row of a known colour."""

    raw_dtype = tf.string
    Options = ColourOptions

    vocabulary: tuple[str, ...] = ()

    def read(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        colours = texts(values)
        return colours, colours != ""

    def fit(self, values: pd.Series) -> None:
        colours, present = self.read(values, None)
        self.vocabulary = tuple(sorted({c.lower() for c in colours[present]}))

    def state(self) -> dict[str, Any]:
        return {"vocabulary": list(self.vocabulary)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.vocabulary = tuple(state["vocabulary"])

    def preprocess(self, raw: tf.Tensor) -> tf.Tensor:
        colours = tf.strings.lower(raw)
        codes = tf.strings.unicode_decode(colours, "UTF-8").to_tensor(48, shape=[None, 7])[:, 1:]
        digits = tf.where(codes >= 97, codes - 87, codes - 48)
        light = tf.cast(digits[:, ::2] * 16 + digits[:, 1::2], tf.float32) / 255.0
        rows = string_lookup(self, self.vocabulary, self.options.oov_buckets)(colours)
        return tf.concat([light, tf.cast(rows, tf.float32)[:, None]], -1)

    def input_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec([None, 4], tf.float32)

    def encoder(self, width: int) -> tf.keras.layers.Layer:
        rows = max(len(self.vocabulary), 1) + self.options.oov_buckets
        return ColourEncoder(width, rows, name=f"{self.name}_encoder")


class ColourEncoder(tf.keras.layers.Layer, NamedRows):
    """Embeddings [N, D] of colours [N, 4]."""

    def __init__(self, width: int, rows: int, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)  # keeps row indices exact
        self.dense = tf.keras.layers.Dense(width)
        self.table = tf.keras.layers.Embedding(rows, width)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return self.dense(inputs[:, :3]) + self.table(tf.cast(inputs[:, 3], tf.int32))

    def named_rows(self, owner: Colour) -> Rows:
        return [(self.table.embeddings, known_words(owner))]


@pytest.fixture(scope="module", autouse=True)
def entered() -> Iterator[None]:
    """Adds the one entry for the tests of this file."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(KINDS, "colour", ColourKind())
        yield


COLOURS = ("#c00000", "#00c000", "#0000C0", "#808080")
CONFIG = """
seed: 2
data: {buckets: [4]}
model: {width: 8, encoders: {colour: {oov_buckets: 3}}, head: {hidden: [8]}}
training: {batch_lists: 10, epochs: 2, learning_rate: 0.02}
evaluation: {baselines: [random]}
"""


def make_shop(folder: pathlib.Path, colours: tuple[str, ...] = COLOURS, lists: int = 40) -> None:
    """Writes lists with one item of each colour; the item of the wanted colour is relevant."""
    items = [(f"{colour[1:]}-{n}", colour) for colour in colours for n in range(3)]
    catalog = pd.DataFrame(items, columns=["item_id", "colour"])
    catalog.loc[len(catalog)] = ["blank", None]
    rows = []
    for number in range(lists):
        split = ("train", "train", "train", "valid", "test")[number % 5]
        wanted = colours[number % len(colours)]
        for at, colour in enumerate(colours):
            item = f"{colour[1:]}-{(number + at) % 3}"
            rows.append((str(number), item, split, wanted, float(colour == wanted)))
    columns = ["list_id", "item_id", "split", "wanted", "grade"]
    schema = {
        "name": "colours",
        "lists": {"split": "split"},
        "features": [
            {"name": "wanted", "kind": "colour", "side": "query"},
            {"name": "colour", "kind": "colour", "side": "item"},
            {"name": "grade", "kind": "number", "side": "label"},
        ],
    }
    folder.mkdir()
    catalog.to_parquet(folder / "catalog.parquet")
    pd.DataFrame(rows, columns=columns).to_parquet(folder / "lists.parquet")
    (folder / "schema.yaml").write_text(yaml.safe_dump(schema), encoding="utf-8")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("colours") / "shop"
    make_shop(folder, lists=200)
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    file = tmp_path_factory.mktemp("config") / "colours.yaml"
    file.write_text(CONFIG, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def run(shop: pathlib.Path, config: pathlib.Path, tmp_path_factory: Any) -> pathlib.Path:
    """A run that an error stopped in its second epoch and that `--resume` finished."""
    folder = tmp_path_factory.mktemp("runs") / "colours"
    command = ["--config", str(config), "--data", str(shop), "--out", str(folder)]

    def fail(self: Progress, batch: int, logs: object = None) -> None:
        if self._epoch == 1:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Progress, "on_train_batch_end", fail)
        assert train.main(command) != 0
    assert json.loads((folder / "state.json").read_text(encoding="utf-8"))["epoch"] == 1
    assert not (folder / "export").exists()
    assert train.main([*command, "--resume"]) == 0
    return folder


def test_validation_knows_the_kind(shop: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert validate_dataset(shop).findings == ()
    make_shop(tmp_path / "shop")
    catalog = pd.read_parquet(tmp_path / "shop" / "catalog.parquet")
    catalog.loc[1, "colour"] = "crimson"
    catalog.to_parquet(tmp_path / "shop" / "catalog.parquet")
    (finding,) = validate_dataset(tmp_path / "shop").errors
    assert "column 'colour': values that are not colours [1: row 2: is not a colour" in str(finding)


def test_a_side_that_it_does_not_allow_is_an_error(tmp_path: pathlib.Path) -> None:
    make_shop(tmp_path / "shop")
    file = tmp_path / "shop" / "schema.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("side: query", "side: pair"))
    (finding,) = validate_dataset(tmp_path / "shop").errors
    assert "feature 'wanted' of kind colour cannot have side pair; use query, item" in str(finding)


def test_a_table_of_lists_is_read_without_wrong_cells() -> None:
    column, reader = (
        Column("colour", "colour", "item", "string", False),
        ColumnReader(lambda _: None),
    )
    arrays = reader.arrays(column, pd.Series(["#C00000", "red", None]), 3)
    assert arrays["colour"].tolist() == ["#c00000", "", ""]
    assert arrays["colour_present"].tolist() == [True, False, False]
    assert reader.unusable == {"colour": 1}


def test_without_the_entry_the_kind_is_unknown(
    shop: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(KINDS, "colour")
    errors = [str(e) for e in validate_dataset(shop).errors]
    assert len(errors) == 2
    assert all("has the unknown kind 'colour'" in e for e in errors)


@pytest.mark.slow
def test_training_goes_on_and_learns_from_colours(run: pathlib.Path) -> None:
    state = json.loads((run / "state.json").read_text(encoding="utf-8"))
    assert len(state["history"]) == 2
    assert state["history"][1]["loss"] < state["history"][0]["loss"]
    fitted = json.loads((run / "features.json").read_text(encoding="utf-8"))
    assert fitted["colour"]["vocabulary"] == sorted(c.lower() for c in COLOURS)


@pytest.mark.slow
def test_another_run_starts_from_its_rows_by_colour(
    run: pathlib.Path, config: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    make_shop(tmp_path / "shop", ("#000000", *COLOURS[:3]))
    out = tmp_path / "run"
    arguments = ["--data", str(tmp_path / "shop"), "--out", str(out), "--init-from", str(run)]
    stopped = ["--set", "training.epochs=1", "--set", "training.learning_rate=1e-9"]
    assert train.main(["--config", str(config), *arguments, *stopped]) == 0
    actual = (out / INIT_FILE).read_text(encoding="utf-8")
    assert re.search(r"^colour +taken +.*6 of 7 rows", actual, re.MULTILINE), actual
    tables = []
    for folder in (out, run):
        loaded = load_run(folder)
        (encoder,) = (f.encoder for f in loaded.model.encoders if f.name == "colour")
        (table, names), *_ = encoder.named_rows(loaded.fitted.columns["colour"])
        tables.append(dict(zip(names, table.numpy(), strict=True)))
    for name in ("word #c00000", "word #0000c0", "bucket 1 of 3"):
        np.testing.assert_allclose(tables[0][name], tables[1][name], atol=1e-5)


@pytest.mark.slow
def test_evaluation_says_what_the_feature_is_worth(
    run: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / "report.json"
    arguments = ["--run", str(run), "--drop", "colour", "--baselines", "random"]
    assert evaluate.main([*arguments, "--json", str(file)]) == 0
    metrics = json.loads(file.read_text(encoding="utf-8"))["metrics"]
    assert any("colour" in name for name in metrics)


@pytest.mark.slow
def test_the_export_ranks_by_colour(run: pathlib.Path, shop: pathlib.Path) -> None:
    dataset = load_dataset(shop)
    rows = dataset.lists[dataset.lists["list_id"] == "4"]
    expected = load_run(run).score(dataset, rows)
    ranker = Ranker.load(run / "export")
    wanted = rows["wanted"].iloc[0]
    by_id = ranker.scores(query=wanted, candidates=rows["item_id"])
    np.testing.assert_allclose(by_id, expected, atol=1e-5)
    colours = dataset.catalog.set_index("item_id")["colour"].loc[rows["item_id"]]
    raw = ranker.scores(query=wanted, candidates=[{"colour": c.upper()} for c in colours])
    np.testing.assert_allclose(raw, expected, atol=1e-5)
    with pytest.raises(RankError, match=r"colour: is not a colour such as #ff8800: 'red'"):
        ranker.rank(query=wanted, candidates=[{"colour": "red"}])


@pytest.mark.slow
def test_the_server_ranks_by_colour(run: pathlib.Path) -> None:
    listen = {"rest_port": 0, "grpc_port": 0, "timeout_seconds": 240.0}
    model = {"path": str(run / "export"), "poll_seconds": 0.0, "warm_up": False}
    config = from_mapping(ServerConfig, {"model": model, "listen": listen}, "test")
    candidates = [{"colour": c} for c in COLOURS]

    async def ask() -> list[httpx.Response]:
        server = Server(config)
        await server.start()
        try:
            address = f"http://127.0.0.1:{server.rest_port}"
            async with httpx.AsyncClient(base_url=address, timeout=240) as client:
                wrong = [{"colour": "red"}]
                return [
                    await client.post("/rank", json={"query": "#00c000", "candidates": asked})
                    for asked in (candidates, wrong)
                ]
        finally:
            await server.stop()

    ranked, refused = asyncio.run(ask())
    assert ranked.status_code == 200, ranked.text
    expected = Ranker.load(run / "export").scores(query="#00c000", candidates=candidates)
    got = {position["index"]: position["score"] for position in ranked.json()["ranked"]}
    np.testing.assert_allclose([got[i] for i in range(len(COLOURS))], expected, atol=1e-5)
    assert refused.status_code == 400
    assert "is not a colour such as #ff8800" in refused.json()["error"]


@pytest.mark.slow
def test_drift_names_the_colours(
    run: pathlib.Path, shop: pathlib.Path, tmp_path: pathlib.Path, capsys: Any
) -> None:
    model = ["--model", str(run / "export"), "--least", "10"]
    assert drift.main([*model, "--data", str(shop)]) == 0
    rows = {tuple(line.split()[:2]) for line in capsys.readouterr().out.splitlines()}
    assert {("wanted", "name"), ("colour", "name")} <= rows
    make_shop(tmp_path / "shop", COLOURS[:2], lists=60)
    assert drift.main([*model, "--data", str(tmp_path / "shop")]) == 1
    assert "DRIFT" in capsys.readouterr().out
