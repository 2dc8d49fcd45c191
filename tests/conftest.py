"""Fixtures that many tests share, among them one small ranker, exported once.

What needs TensorFlow imports it within the fixture: many tests do without.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # has to stand before TensorFlow is imported

import numpy as np
import pandas as pd
import pytest
import yaml

from mmrank.config import Config, from_mapping
from mmrank.data.tables import Dataset, load_dataset

if TYPE_CHECKING:
    from mmrank.build import Run
    from mmrank.serving.ranker import Ranker

ROOT = pathlib.Path(__file__).resolve().parent.parent
DAY = 86_400.0
Inputs = dict[str, np.ndarray]
TEXTS = ("title", "description", "brand", "tags", "reviews")
NUMBERS = ("price", "rating", "rating_count", "sales")


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder with the real datasets; tests that need it are skipped without it."""
    folder = pathlib.Path(os.environ.get("MMRANK_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set MMRANK_SHARED_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def tiny_shop(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A simulated shop of 60 items, 40 queries and 10 users, to be read and never written to."""
    from mmrank.data.simulator import simulate

    folder = tmp_path_factory.mktemp("shop") / "tiny"
    simulate(folder, items=60, queries=40, users=10, seed=1)
    return folder


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    """A config of a few thousand weights in which every kind of feature has its place."""
    return from_mapping(
        Config,
        {
            "seed": 3,
            "data": {"buckets": [8, 16, 32], "cache": None},
            "model": {
                "width": 16,
                "encoders": {
                    "text": {
                        "layers": 1,
                        "heads": 2,
                        "hidden": 16,
                        "intermediate": 16,
                        "max_tokens": 8,
                        "vocabulary_size": 300,
                    },
                    "image": {
                        "height": 32,
                        "width": 32,
                        "network": "EfficientNet",
                        "width_coefficient": 0.1,
                        "depth_coefficient": 0.1,
                    },
                    "history": {"length": 6, "heads": 2},
                },
                "head": {"hidden": [16], "attention_layers": 1, "attention_width": 8},
            },
            "training": {"batch_lists": 4, "epochs": 3, "learning_rate": 0.01, "patience": 9},
        },
        "tiny",
    )


class RedisProcess:
    """A Redis of a test's own on a free port of the loopback, in memory alone.

    Attributes:
      address: Where clients reach it; the same after `start`.
    """

    def __init__(self, program: str, folder: pathlib.Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"redis://127.0.0.1:{self.port}/0"
        self._command = [
            program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "no", "--dir", str(folder), "--logfile", "redis.log",
        ]  # fmt: skip
        self.start()

    def start(self) -> None:
        """Starts it, empty, and waits until it takes connections."""
        self._process = subprocess.Popen(self._command)

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return True
            return False

        self.until(answers)

    def stop(self) -> None:
        """Ends it without a farewell, as a crash does; nothing if it has ended."""
        self._process.kill()
        self._process.wait(10)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Takes connections in the block, and answers none."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    @staticmethod
    def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
        """Waits for a condition."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "it did not come about in time"
            time.sleep(0.02)


@pytest.fixture
def redis_server(tmp_path: pathlib.Path) -> Iterator[RedisProcess]:
    """An empty Redis, which the test may stop and start."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server; apt-get install redis-server")
    server = RedisProcess(program, tmp_path)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def dataset(tiny_shop: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The simulated shop with a query-item feature and with reviews besides."""
    folder = tmp_path_factory.mktemp("pairs") / "shop"
    shutil.copytree(tiny_shop, folder)
    schema = yaml.safe_load((folder / "schema.yaml").read_text(encoding="utf-8"))
    schema["features"].append(
        {"name": "overlap", "kind": "number", "side": "pair", "column": "position"}
    )
    schema["features"].append({"name": "reviews", "kind": "reviews", "side": "item"})
    catalog = pd.read_parquet(folder / "catalog.parquet")
    catalog["reviews"] = [
        [{"text": t, "age_days": 3.0 * i, "helpful": 7}, {"text": t[::-1]}] if i % 3 else None
        for i, t in enumerate(catalog["title"])
    ]
    catalog.to_parquet(folder / "catalog.parquet", index=False)
    (folder / "schema.yaml").write_text(yaml.safe_dump(schema, allow_unicode=True), "utf-8")
    return load_dataset(folder)


@pytest.fixture(scope="session")
def run(dataset: Dataset, tiny_config: Config) -> Run:
    """A ranker with random weights."""
    import tensorflow as tf

    from mmrank.build import Run, build_features, build_model

    tf.keras.utils.set_random_seed(5)
    features = build_features(tiny_config, dataset.schema)
    features.fit(dataset)
    model = build_model(tiny_config, features)
    return Run(pathlib.Path("nowhere"), tiny_config, dataset.folder, features, model)


@pytest.fixture(scope="session")
def exported(run: Run, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The folder of its export, numbered 1."""
    from mmrank.serving.export import export_run

    return export_run(run, tmp_path_factory.mktemp("run") / "export", dataset)


@pytest.fixture(scope="session")
def ranker(exported: pathlib.Path) -> Ranker:
    from mmrank.serving.ranker import Ranker

    return Ranker.load(exported)


@pytest.fixture(scope="session")
def signatures(ranker: Ranker) -> Mapping[str, Any]:
    """The signatures of the export, loaded once."""
    return ranker.signatures


@pytest.fixture(scope="session")
def served(signatures: Mapping[str, Any]) -> Callable[[str, Inputs], dict[str, np.ndarray]]:
    """Runs a signature of the export."""
    import tensorflow as tf

    def call(name: str, inputs: Inputs) -> dict[str, np.ndarray]:
        specs = signatures[name].structured_input_signature[1]
        tensors = {n: tf.constant(v, specs[n].dtype) for n, v in inputs.items()}
        return {n: t.numpy() for n, t in signatures[name](**tensors).items()}

    return call


@pytest.fixture(scope="session")
def lists(dataset: Dataset) -> list[Any]:
    """A short list, a middling one and a long one."""
    groups = sorted((rows for _, rows in dataset.lists.groupby("list_id", sort=False)), key=len)
    chosen = [groups[0], groups[len(groups) // 2], groups[-1]]
    assert len({len(rows) for rows in chosen}) == 3
    return chosen


@pytest.fixture(scope="session")
def expected(run: Run, dataset: Dataset, lists: list[Any]) -> list[np.ndarray]:
    """The Keras model's scores of the lists."""
    scores = run.score(dataset, pd.concat(lists))
    return np.split(scores, np.cumsum([len(rows) for rows in lists])[:-1])


@pytest.fixture(scope="session")
def raw_request(dataset: Dataset, lists: list[Any]) -> Inputs:
    """The lists as `serving_default` takes them, from the tables by plain loops."""
    width = max(len(rows) for rows in lists)
    inputs: Inputs = _contexts(dataset, lists)
    for name in (*TEXTS, "photo", *NUMBERS, "overlap"):
        filler = "padding" if name in TEXTS else b"no photo" if name == "photo" else 9.0
        values = np.full([len(lists), width], filler, object)
        present = np.zeros([len(lists), width], bool)
        for b, rows in enumerate(lists):
            for i in range(len(rows)):
                value = _value(dataset, rows.iloc[i], name)
                if value is not None:
                    values[b, i], present[b, i] = value, True
        inputs[name], inputs[f"{name}_present"] = values, present
    inputs["list_length"] = np.array([len(rows) for rows in lists])
    return inputs


@pytest.fixture(scope="session")
def id_request(dataset: Dataset, lists: list[Any], raw_request: Inputs) -> Inputs:
    """The lists as `rank_items` takes them."""
    inputs = _contexts(dataset, lists)
    inputs |= {n: raw_request[n] for n in ("overlap", "overlap_present")}
    items = np.full(raw_request["overlap"].shape, "", object)
    for b, rows in enumerate(lists):
        items[b, : len(rows)] = rows["item_id"]
    return inputs | {"items": items}


def _contexts(dataset: Dataset, lists: list[Any]) -> Inputs:
    first = [rows.iloc[0] for rows in lists]
    past = [events_before(dataset, row["user_id"], row["_time"]) for row in first]
    longest = max(len(p) for p in past)
    inputs: Inputs = {
        "query": np.array([row["query"] for row in first], object),
        "user": np.array([row["user_id"] for row in first], object),
    }
    inputs |= {f"{n}_present": np.ones(len(lists), bool) for n in ("query", "user")}
    for role, at, filler in (("items", 0, ""), ("types", 1, ""), ("ages", 2, 0.0)):
        # Padded in front: the latest events stand last.
        padded = [[filler] * (longest - len(p)) + [event[at] for event in p] for p in past]
        inputs[f"history_{role}"] = np.array(padded, object)
    return inputs


def events_before(dataset: Dataset, user: str, time: float) -> list[tuple[str, str, float]]:
    """(item, type, age in days) of every event before a time, oldest first."""
    assert dataset.events is not None
    past = []
    for _, event in dataset.events.iterrows():
        if event["user_id"] == user and event["_time"] < time:
            past.append((event["item_id"], event["event_type"], (time - event["_time"]) / DAY))
    return sorted(past, key=lambda e: -e[2])


def _value(dataset: Dataset, row: Any, name: str) -> Any:
    """A candidate's raw value, None where it is absent."""
    if name == "overlap":
        return float(row["position"])
    item = dataset.catalog[dataset.catalog["item_id"] == row["item_id"]].iloc[0]
    if name == "reviews":
        said = item["reviews"]
        if said is None or not str(said[0]["text"]).strip():
            return None
        return f"{said[0]['text']}\x1f{said[0]['age_days']}\x1f7\x1e{said[1]['text']}"
    value = item[name]
    if value is None or value != value or value == "":
        return None
    return float(value) if name in NUMBERS else photo(dataset, value) if name == "photo" else value


def photo(dataset: Dataset, name: str) -> bytes | None:
    """A photo's bytes; None for the broken ones, which the simulation leaves cut short."""
    with zipfile.ZipFile(dataset.folder / "images.zip") as archive:
        data = archive.read(name)
    return data if data.endswith(b"\xff\xd9") or data.endswith(b"IEND\xaeB`\x82") else None
