"""The savings from running frozen encoders once: `python -m pipelines.benchmarks.frozen_towers`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmrank.config import Config, from_mapping
from mmrank.data.batches import Batches
from mmrank.data.simulator import simulate
from mmrank.data.tables import Dataset, load_dataset
from mmrank.outputs import exit_code, log_progress

if TYPE_CHECKING:
    import tensorflow as tf

    from mmrank.features import Features
    from mmrank.models import RankingModel

WANTED = 20.0
TOLERANCE = 1e-5
TOKENS, PIECES = 32, 30_000
EXAMPLE = """\
example:
  python -m pipelines.benchmarks.frozen_towers
  python -m pipelines.benchmarks.frozen_towers --text-handle models/minilm --items 400 --queries 100

Exit code 0: scores agree, and an epoch is at least 20 times as fast. Exit code 1: otherwise.
"""


@dataclasses.dataclass(frozen=True)
class Result:
    """The measurements.

    Attributes:
      before, after: Seconds of an epoch with the encoders in the graph, and with embeddings.
      one_pass: Seconds to compute the embeddings of all items and queries.
      differ: Largest difference between scores.
      spread: Standard deviation of the scores; if all were equal, agreement would prove nothing.
    """

    before: float
    after: float
    one_pass: float
    differ: float
    spread: float

    @property
    def passed(self) -> bool:
        """Whether exactness and speed are as required."""
        exact = self.differ <= TOLERANCE < self.spread / 100
        return exact and self.before / self.after >= WANTED

    def to_text(self) -> str:
        """The figures, one per line."""
        return (
            f"epoch, frozen towers in the graph  {self.before:8.2f} s\n"
            f"epoch, embeddings kept             {self.after:8.2f} s\n"
            f"ratio                              {self.before / self.after:8.1f}   "
            f"(required {WANTED:.0f})\n"
            f"the pass over all values, once     {self.one_pass:8.2f} s\n"
            f"scores differ by at most           {self.differ:8.1e}   (allowed {TOLERANCE:.0e})\n"
            f"scores deviate by                  {self.spread:8.2f}"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code, see `EXAMPLE`; 2 for wrong input, 130 stopped."""
    arguments = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="mmrank-frozen-") as name:
        folder = pathlib.Path(name)
        shop = folder / "shop"
        simulate(shop, items=arguments.items, queries=arguments.queries, users=20, seed=0)
        handle = arguments.text_handle or random_bert(folder / "bert")
        weights = random_network(folder / "network.weights.h5", arguments.size)
        config = frozen_config(handle, weights, arguments.size, folder / "cache")
        result = measure(config, load_dataset(shop))
    print(result.to_text())
    return 0 if result.passed else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.frozen_towers",
        description="Measures an epoch over a simulated shop with a frozen text encoder and a "
        "frozen EfficientNetB0, once in the graph of every step and once as stored embeddings.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--text-handle",
        metavar="DIR",
        help="TF-Hub folder of a text encoder (default: a random BERT, 6 layers of width 384)",
    )
    parser.add_argument("--items", type=int, default=600, help="products of the shop (%(default)s)")
    parser.add_argument("--queries", type=int, default=320, help="its queries (%(default)s)")
    parser.add_argument("--size", type=int, default=96, help="photos' side in pixels (%(default)s)")
    return parser


def frozen_config(handle: str, weights: str, size: int, cache: pathlib.Path) -> Config:
    """A config with frozen encoders for titles, queries and photos."""
    photo = {"height": size, "width": size, "network": "EfficientNetB0", "weights": weights}
    return from_mapping(
        Config,
        {
            "seed": 1,
            "data": {"cache": str(cache)},
            "model": {
                "encoders": {
                    "text": {"encoder": "hub", "handle": str(handle), "trainable": False},
                    "image": {**photo, "trainable": False, "flip": False},
                },
                "drop": ["description", "brand", "tags", "rating", "rating_count", "sales"],
            },
            "training": {"batch_lists": 16},
        },
        "frozen",
    )


def random_bert(folder: pathlib.Path) -> str:
    """The folder of a TF-Hub text encoder of all-MiniLM-L6-v2's shape, with random weights."""
    import tensorflow as tf

    from mmrank.encoders.text import RESERVED, BertEncoder, word_piece_tokenizer

    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pieces = [*RESERVED, *letters, *(f"##{c}" for c in letters)]
    pieces += [f"piece{i}" for i in range(PIECES - len(pieces))]
    tokenizer = word_piece_tokenizer(tuple(pieces), TOKENS)
    encoder = BertEncoder(
        vocabulary_size=PIECES,
        max_tokens=TOKENS,
        layers=6,
        heads=12,
        hidden=384,
        intermediate=1536,
        dropout=0.0,
    )

    def call(texts: tf.Tensor) -> tf.Tensor:
        return encoder(tokenizer(texts), training=False)

    # TF-Hub reads these attributes, which a tf.Module does not save.
    hub = tf.train.Checkpoint()
    hub.variables, hub.trainable_variables = encoder.weights, encoder.trainable_weights
    hub.__call__ = tf.function(call, input_signature=[tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(hub, str(folder))
    return str(folder)


def random_network(file: pathlib.Path, size: int) -> str:
    """The path of a weights file of an EfficientNetB0 with random weights.

    Its batch statistics are those of noise. With Keras' initial statistics its outputs would be
    almost zero, and scores would agree even if photos were wrong.
    """
    import tensorflow as tf

    network = tf.keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(size, size, 3), pooling="avg"
    )
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = 0.0
    noise = np.random.default_rng(0).uniform(0, 255, [16, size, size, 3])
    network(tf.constant(noise, tf.float32), training=True)
    network.save_weights(file)
    return str(file)


def measure(config: Config, dataset: Dataset) -> Result:
    """Measures epochs both ways, with equal weights, after a step that is not counted.

    Epochs with embeddings are so short that the median of several is reported.
    """
    from mmrank.build import build_features, build_model

    features = build_features(config, dataset.schema)
    features.fit(dataset)
    start = time.perf_counter()
    kept_batches, kept_all = _batches(config, features, dataset)
    one_pass = time.perf_counter() - start
    learning = in_graph(features)
    graph_batches, graph_all = _batches(config, learning, dataset)
    kept, graph = build_model(config, features), build_model(config, learning)
    give_weights(kept, graph)
    scores, others = _scores(config, kept, kept_all), _scores(config, graph, graph_all)
    differ, spread = float(np.abs(scores - others).max()), float(scores.std())
    after = epoch_seconds(config, kept, kept_batches, epochs=7)
    before = epoch_seconds(config, graph, graph_batches, epochs=1)
    return Result(before, after, one_pass, differ, spread)


def in_graph(features: Features) -> Features:
    """The same features with their frozen encoders in the graph of the ranker."""
    from mmrank.encoders.frozen import Frozen

    columns = {
        name: kind.inner if isinstance(kind, Frozen) else kind
        for name, kind in features.columns.items()
    }
    return dataclasses.replace(features, columns=columns)


def give_weights(source: RankingModel, target: RankingModel) -> None:
    """Copies the trainable weights, of which frozen encoders have none, and the matcher's."""
    ours, theirs = source.network.trainable_weights, target.network.trainable_weights
    for one, other in zip(ours, theirs, strict=True):
        other.assign(one)
    if source.matcher is not None and target.matcher is not None:
        target.matcher.set_weights(source.matcher.get_weights())


def _batches(config: Config, features: Features, dataset: Dataset) -> tuple[Batches, Any]:
    """The training batches, and the arrays of the test lists."""
    items = features.item_arrays(dataset)
    train = features.arrays(dataset, dataset.rows("train"), items)
    test = features.arrays(dataset, dataset.rows("test"), items)
    return Batches(train, config.training.batch_lists, config.data.buckets), test


def _scores(config: Config, model: RankingModel, arrays: Any) -> np.ndarray:
    from mmrank.scoring import ListScorer

    return ListScorer(model, config.training.batch_lists, config.data.buckets)(arrays)


def epoch_seconds(config: Config, model: RankingModel, batches: Batches, epochs: int) -> float:
    """Seconds of an epoch of training, input pipeline included: the median of some epochs."""
    import tensorflow as tf

    from mmrank.objectives import build_loss
    from mmrank.training.pipeline import batch_dataset

    model.network.compile("sgd", loss=build_loss(config.training.loss))
    steps = len(batches.plan(0))
    model.network.fit(batch_dataset(batches, 0, (0, 1)), steps_per_epoch=1, verbose=0)
    times = Epochs()
    model.network.fit(
        batch_dataset(batches, 0, (0, 1)).prefetch(2),
        steps_per_epoch=steps,
        epochs=epochs,
        verbose=0,
        callbacks=[
            tf.keras.callbacks.LambdaCallback(on_epoch_begin=times.begin, on_epoch_end=times.end)
        ],
    )
    return statistics.median(times.seconds)


class Epochs:
    """The seconds between the start and the end of every epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def begin(self, *_: Any) -> None:
        """Starts."""
        self._start = time.perf_counter()

    def end(self, *_: Any) -> None:
        """Stops."""
        self.seconds.append(time.perf_counter() - self._start)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(main())
