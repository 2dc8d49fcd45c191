"""Fixtures that many tests share, including one small ranker, which is exported once.

Fixtures that need TensorFlow import it themselves, because many tests do not need it.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import fcntl
import gc
import importlib.util
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # must be set before TensorFlow is imported
# For the child processes that run tests: else each TensorFlow thread has a memory pool of its own.
os.environ.setdefault("MALLOC_ARENA_MAX", "2")

import numpy as np
import pandas as pd
import pytest
import yaml

from mmrank.config import Config, from_mapping
from mmrank.data.tables import Dataset, load_dataset

if TYPE_CHECKING:
    from mmrank.serving.ranker import Ranker
    from mmrank.trained_run import Run

ROOT = pathlib.Path(__file__).resolve().parent.parent
DAY = 86_400.0
Inputs = dict[str, np.ndarray]
TEXTS = ("title", "brand", "tags", "reviews")
NUMBERS = ("price", "rating")
# A second long text and further numbers: they would only make the exported ranker slower to export
# and to serve, since other features cover the same code.
MORE_OF_A_KIND = ("description", "rating_count", "sales")


# Tracing creates millions of long-lived objects. With Python's default thresholds, the collector
# scans the young ones every 700 allocations, and all of them dozens of times per module.
gc.set_threshold(50_000, 20, 20)
GROWTH = 200 << 20  # bytes by which a process may grow before its memory is freed
# The slowest files run first, in order of their seconds. A file stays on one process, so that at
# the end of a run no process waits for another that has just begun a slow file.
LONGEST = (
    "pipelines/test_kill_nine.py",
    "test_cross.py",
    "pipelines/test_hostile_requests.py",
    "pipelines/test_embed_catalog.py",
    "training/test_stacked.py",
    "training/test_forest.py",
    "training/test_resume.py",
    "test_notebooks.py",
    "training/test_frozen_run.py",
    "frames/test_estimator.py",
    "server/test_served_ranker.py",
    "test_train.py",
    "frames/test_fit.py",
    "training/test_damaged_run.py",
    "test_tune.py",
    "records/test_workers.py",
    "server/test_rank.py",
    "training/test_warm_start.py",
    "server/test_fuzz.py",
    "serving/test_signatures.py",
    "test_models.py",
    "encoders/test_image.py",
    "ranking/test_heads.py",
    "training/test_tasks.py",
    "test_suggest.py",
    "serving/test_served_match_extras.py",
    "records/test_records.py",
    "test_distill.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--optimize-graphs",
        action="store_true",
        help="let TensorFlow optimise each graph before its first run, as it does outside tests; "
        "child processes, such as servers and plain clients, always do",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Switches off the optimisation of graphs, which takes longer than to run them once."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and not item.config.getoption("--optimize-graphs"):
        tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.fixture
def optimized_graphs() -> None:
    """Lets TensorFlow optimise graphs, for a test that compares this process with its children."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Moves the slowest files to the front."""
    order = {ROOT / "tests" / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))  # the others keep their order


@pytest.fixture(scope="module", autouse=True)
def bounded_memory() -> Iterator[None]:
    """Frees the models and graphs of test modules, since one process runs hundreds of them.

    Scanning all objects takes a second or more, so only a process that has grown does it. Objects
    from before a module are excluded from other collections, because a server collects whenever it
    loads or unloads a version.
    """
    gc.freeze()
    yield
    now = resident()
    if now < _kept[0] + GROWTH:
        _kept[0] = min(_kept[0], now)
        return
    gc.unfreeze()
    forget_graphs()
    gc.collect()
    with contextlib.suppress(AttributeError):  # a C library other than glibc
        ctypes.CDLL(None).malloc_trim(0)
    _kept[0] = resident()


def forget_graphs() -> None:
    """Removes what TensorFlow keeps of each traced graph, even of deleted models.

    The gradient of an op like swish is registered under a new name in each graph that has it, and
    holds that graph; and the eager context keeps the kernels of each function that has run.
    """
    if "tensorflow" not in sys.modules:
        return
    from tensorflow.python.eager import context
    from tensorflow.python.framework import ops

    registered = ops.gradient_registry._registry
    for name in [name for name in registered if name.startswith("CustomGradient-")]:
        del registered[name]
    context.context().clear_kernel_cache()


_kept = [0.0]  # bytes after the last time that memory was freed


def resident() -> float:
    """Resident memory of this process in bytes; NaN where the system does not report it."""
    try:
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return float("nan")
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="session")
def load_ci_script() -> Callable[[str], ModuleType]:
    """Imports a script of `.ci/`, which is not a package, by its file name without `.py`."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look the module up here
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of the real datasets; tests that need it are skipped if it does not exist."""
    folder = pathlib.Path(os.environ.get("MMRANK_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set MMRANK_SHARED_DATA to its folder")
    return folder


Once = Callable[[str, Callable[[pathlib.Path], object]], pathlib.Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """`once(name, fill)` fills a folder once for all processes of pytest-xdist and returns it.

    The first process that asks for the folder calls `fill` with it, still empty, while the others
    wait. Afterwards all processes only read it.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the folder of the whole run

    def made(name: str, fill: Callable[[pathlib.Path], object]) -> pathlib.Path:
        folder, filled = base / "once" / name, base / "once" / f"{name}.filled"
        folder.parent.mkdir(exist_ok=True)
        with folder.with_name(f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                if not filled.exists():
                    shutil.rmtree(folder, ignore_errors=True)  # left by a process that failed
                    folder.mkdir()
                    fill(folder)
                    filled.touch()
            finally:
                # Closing the file would not unlock it while a forked process has it open too.
                fcntl.flock(lock, fcntl.LOCK_UN)
        return folder

    return made


@pytest.fixture(scope="session")
def tiny_shop(once: Once) -> pathlib.Path:
    """A simulated shop of 60 items, 40 queries and 10 users. Tests only read it."""
    from mmrank.data.simulator import simulate

    def fill(folder: pathlib.Path) -> None:
        simulate(folder / "tiny", items=60, queries=40, users=10, seed=1)

    return once("shop", fill) / "tiny"


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    """A config of a few thousand weights with every kind of feature."""
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
    """A Redis for one test, on a free port of the loopback interface and in memory only.

    Attributes:
      address: Where clients reach it; the same after each `start`.
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
        """Starts an empty Redis and waits until it accepts connections."""
        self._process = subprocess.Popen(self._command)

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return True
            return False

        self.until(answers)

    def stop(self) -> None:
        """Kills the process, as a crash does; does nothing if it has ended."""
        self._process.kill()
        self._process.wait(10)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Makes Redis accept connections but not answer them, within the block."""
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
def dataset(tiny_shop: pathlib.Path, once: Once) -> Dataset:
    """The simulated shop with a query-item feature and with reviews."""

    def fill(made: pathlib.Path) -> None:
        folder = shutil.copytree(tiny_shop, made / "shop")
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

    return load_dataset(once("pairs", fill) / "shop")


@pytest.fixture(scope="session")
def run(dataset: Dataset, tiny_config: Config, once: Once) -> Run:
    """A ranker with random weights over features of every kind, the same in every process."""
    model = dataclasses.replace(tiny_config.model, drop=MORE_OF_A_KIND)
    return random_run(dataset, dataclasses.replace(tiny_config, model=model), once, "run")


def random_run(dataset: Dataset, config: Config, once: Once, name: str) -> Run:
    """A ranker with random weights; the first process that asks for it fits its features."""
    import tensorflow as tf

    from mmrank.build import build_features, build_model
    from mmrank.trained_run import Run

    features = build_features(config, dataset.schema)
    models = []

    def fill(folder: pathlib.Path) -> None:
        tf.keras.utils.set_random_seed(5)
        features.fit(dataset)
        models.append(build_model(config, features))
        features.save(folder / "features.json")
        models[0].network.save_weights(folder / "weights")

    folder = once(name, fill)
    if not models:
        features.load(folder / "features.json")
        models.append(build_model(config, features))
        models[0].network.load_weights(folder / "weights").expect_partial()
    return Run(pathlib.Path("nowhere"), config, dataset.folder, features, models[0])


@pytest.fixture(scope="session")
def exported(request: pytest.FixtureRequest, dataset: Dataset, once: Once) -> pathlib.Path:
    """The folder of the export of `run`, numbered 1."""

    def fill(folder: pathlib.Path) -> None:
        from mmrank.serving.export import export_run

        # A process that finds the export does not need to build the ranker.
        export_run(request.getfixturevalue("run"), folder / "export", dataset)

    return once("exported", fill) / "export" / "1"


@pytest.fixture(scope="session")
def small_export(dataset: Dataset, tiny_config: Config, once: Once) -> pathlib.Path:
    """The folder of an export that is quick to make and serve: it reads texts and photos."""

    def fill(folder: pathlib.Path) -> None:
        from mmrank.serving.export import export_run

        kept = ("query", "title", "photo")
        others = (f for f in dataset.schema.features if f.name not in kept and f.side != "label")
        model = dataclasses.replace(tiny_config.model, drop=tuple(f.name for f in others))
        data = dataclasses.replace(tiny_config.data, buckets=(8,))
        config = dataclasses.replace(tiny_config, model=model, data=data)
        export_run(random_run(dataset, config, once, "small-run"), folder / "export", dataset)

    return once("small", fill) / "export" / "1"


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
    """A function that runs a signature of the export."""
    import tensorflow as tf

    def call(name: str, inputs: Inputs) -> dict[str, np.ndarray]:
        specs = signatures[name].structured_input_signature[1]
        tensors = {n: tf.constant(v, specs[n].dtype) for n, v in inputs.items()}
        return {n: t.numpy() for n, t in signatures[name](**tensors).items()}

    return call


@pytest.fixture(scope="session")
def lists(dataset: Dataset) -> list[Any]:
    """A short list, one of medium length and a long one."""
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
    """The lists as inputs of `serving_default`, made from the tables by plain loops."""
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
    """The lists as inputs of `rank_items`."""
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
        # Padding comes first, so that the latest events are last.
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
    """A candidate's raw value; None where it is absent."""
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
    """A photo's bytes; None for the broken photos, which the simulation cuts off."""
    with zipfile.ZipFile(dataset.folder / "images.zip") as archive:
        data = archive.read(name)
    return data if data.endswith(b"\xff\xd9") or data.endswith(b"IEND\xaeB`\x82") else None
