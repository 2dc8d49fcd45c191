"""Savings of encoding items once per batch: `python -m pipelines.benchmarks.train_throughput`."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmrank.config import Config, from_mapping, load_config
from mmrank.data.batches import Batch, Batches, ListArrays
from mmrank.data.simulator import simulate
from mmrank.data.tables import Dataset, load_dataset
from mmrank.outputs import exit_code

if TYPE_CHECKING:
    import tensorflow as tf

    from mmrank.models import RankingModel

REUSES = (2, 5, 20)
EXPECTED = 0.8
SCORE_TOLERANCE = 1e-5
# A gradient of a convolution is a float32 sum over all pixels of all slots, in another order.
GRADIENT_TOLERANCE = 1e-4
EXAMPLE = """\
example:
  python -m pipelines.benchmarks.train_throughput
  python -m pipelines.benchmarks.train_throughput --data data/shop --config configs/fashion.yaml

Exit code 0: scores and gradients agree, and the towers are at least 0.8 x the reuse times as fast.
Exit code 1: otherwise.
"""
DEFAULT = {
    "seed": 1,
    "model": {
        "width": 32,
        "encoders": {
            "text": {
                "layers": 1,
                "heads": 2,
                "hidden": 64,
                "intermediate": 128,
                "max_tokens": 16,
                "vocabulary_size": 1000,
            },
            "image": {
                "height": 64,
                "width": 64,
                "network": "EfficientNet",
                "width_coefficient": 0.5,
                "depth_coefficient": 0.5,
            },
        },
        "head": {"hidden": [32]},
    },
}


@dataclasses.dataclass(frozen=True)
class Row:
    """The measurements at one reuse; `once` encodes each item once, `often` once per slot.

    Attributes:
      reuse: Slots per unique item in the batch.
      lists: Lists per batch.
      step_once, step_often: Seconds of a training step.
      towers_once, towers_often: Seconds of the item tower in it, forward and backward.
      scores_differ, gradients_differ: Largest differences; those of gradients are relative.
    """

    reuse: float
    lists: int
    step_once: float
    step_often: float
    towers_once: float
    towers_often: float
    scores_differ: float
    gradients_differ: float

    @property
    def exact(self) -> bool:
        """Whether scores and gradients agree."""
        return self.scores_differ <= SCORE_TOLERANCE and self.gradients_differ <= GRADIENT_TOLERANCE

    @property
    def fast(self) -> bool:
        """Whether the towers' time fell as much as required."""
        return self.towers_often / self.towers_once >= EXPECTED * self.reuse

    def to_text(self) -> str:
        """A line of the table."""
        verdict = "ok" if self.exact and self.fast else "too slow" if self.exact else "not exact"
        return (
            f"{self.reuse:5.1f} {self.lists / self.step_once:9.1f} "
            f"{self.lists / self.step_often:9.1f} {self.towers_once / self.step_once:7.0%} "
            f"{self.towers_often / self.step_often:7.0%} "
            f"{self.towers_often / self.towers_once:8.1f} {EXPECTED * self.reuse:7.1f} "
            f"{self.scores_differ:9.1e} {self.gradients_differ:9.1e}  {verdict}"
        )


HEADER = (
    "slots/   lists/s   lists/s  towers  towers   towers'  wanted    scores gradients\n"
    " item      once     often    once   often     ratio             differ    differ"
)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 good, 1 too slow or not exact, 2 wrong input, 130 interrupted."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    good: list[bool] = []

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            data = args.data
            if data is None:
                data = pathlib.Path(folder) / "shop"
                simulate(data, items=1500, queries=600, users=50, seed=1)
            config = default_config() if args.config is None else load_config(args.config)
            bench = Bench(config, load_dataset(data), args.lists)
            print(HEADER, flush=True)
            for reuse in REUSES:
                row = bench.measure(reuse, args.repeats)
                good.append(row.exact and row.fast)
                print(row.to_text(), flush=True)

    code = exit_code(run, "nothing was written")
    return code if code or all(good) else 1


def default_config() -> Config:
    """A small model with texts and photos."""
    return from_mapping(Config, DEFAULT, "benchmark")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.train_throughput",
        description="Compares training with items encoded once per batch and once per slot.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=pathlib.Path, metavar="DIR", help="prepared dataset")
    parser.add_argument("--config", type=pathlib.Path, metavar="FILE", help="config of the model")
    parser.add_argument(
        "--lists", type=int, default=100, help="lists per batch (default: %(default)s)"
    )
    parser.add_argument(
        "--repeats", type=int, default=3, help="timed steps; the median is printed (%(default)s)"
    )
    return parser


class Bench:
    """A model and the batches for its measurements.

    The history is omitted: its items are encoded too, and would change the reuse.

    Args:
      config: Config of the model and loss.
      dataset: Dataset whose lists are repeated.
      lists: Lists per batch; a multiple of 20, so that every reuse divides it.
    """

    def __init__(self, config: Config, dataset: Dataset, lists: int):
        if lists < max(REUSES) or lists % max(REUSES):
            raise ValueError(f"--lists {lists}: must be a multiple of {max(REUSES)}")
        from mmrank.build import build_features, build_model
        from mmrank.objectives import build_loss
        from mmrank.training.loop import seed_everything

        seed_everything(config)
        history = [f.name for f in dataset.schema.features if f.kind == "history"]
        model = dataclasses.replace(
            config.model, drop=tuple(sorted({*config.model.drop, *history}))
        )
        config = dataclasses.replace(config, model=model)
        features = build_features(config, dataset.schema)
        features.fit(dataset)
        self.lists = lists
        self.arrays = features.arrays(dataset, dataset.lists)
        self.model: RankingModel = build_model(config, features)
        self.loss = build_loss(config.training.loss)
        self._step = step_function(self.model, self.loss, training=True)
        self.exact_step = step_function(self.model, self.loss, training=False)
        self._towers = towers_function(self.model)

    def measure(self, reuse: int, repeats: int) -> Row:
        """The row for one reuse: first exactness, then times, with and without in turn."""
        arrays, members = repeated_lists(self.arrays, self.lists, reuse)
        batches = Batches(arrays, self.lists, (8, 16, 32, 64, 128, 256))
        once = batches.make(members)
        often = dataclasses.replace(batches, unique_items=False).make(members)
        slots = int(once["mask"].sum())
        scores, gradients = differences(self.exact_step, once, often)
        times = _medians(
            {
                "step_once": lambda: self._step(_tensors(once)),
                "step_often": lambda: self._step(_tensors(often)),
                "towers_once": lambda: self._towers(_tensors(once, self.model)),
                "towers_often": lambda: self._towers(_tensors(often, self.model)),
            },
            repeats,
        )
        unique = len(once[self.model.modalities[0]])
        return Row(slots / unique, self.lists, **times, **scores | gradients)


def repeated_lists(arrays: ListArrays, lists: int, reuse: int) -> tuple[ListArrays, np.ndarray]:
    """Lists that are each repeated `reuse` times, like the page of a frequent query in a log.

    The candidates are drawn again from the catalogue so that distinct lists share no item: the
    batch then has exactly `reuse` slots per unique item.

    Returns:
      The arrays with those candidates, and the list indices of a batch, [lists].

    Raises:
      ValueError: There are too few lists or items.
    """
    lengths = arrays.lengths
    count = lists // reuse
    usual = np.argsort(np.abs(lengths - np.median(lengths)), kind="stable")[:count]
    items = len(next(iter(arrays.items.values())))
    if len(usual) < count or int(lengths[usual].sum()) > items:
        raise ValueError(
            f"{count} lists of {int(np.median(lengths))} items without overlap are needed, but "
            f"the data has {len(lengths)} lists and {items} items; lower --lists"
        )
    deck = np.random.default_rng(0).permutation(items).astype(np.int32)
    candidates = arrays.candidates.copy()
    for number in usual:
        rows = slice(arrays.offsets[number], arrays.offsets[number + 1])
        candidates[rows], deck = deck[: lengths[number]], deck[lengths[number] :]
    return dataclasses.replace(arrays, candidates=candidates), np.repeat(usual, reuse)


def _tensors(batch: Batch, model: RankingModel | None = None) -> dict[str, Any]:
    import tensorflow as tf

    names = batch if model is None else model.item_tower.input
    return {n: tf.constant(batch[n]) for n in names}


def step_function(
    model: RankingModel, loss: tf.keras.losses.Loss, training: bool
) -> Callable[..., Any]:
    """A training step without the optimizer, traced once: scores and gradients of a batch."""
    import tensorflow as tf

    from mmrank.ranking.labels import masked_labels

    specs = _specs(model.network.input)
    specs["grades"] = tf.TensorSpec([None, None], tf.float32)

    @tf.function(input_signature=[specs])
    def step(batch: dict[str, tf.Tensor]) -> tuple[Any, ...]:
        labels = masked_labels(batch["grades"], batch["mask"])
        inputs = {n: batch[n] for n in model.network.input}
        with tf.GradientTape() as tape:
            scores = model.network(inputs, training=training)
            value = loss(labels, scores)
        return scores, tape.gradient(value, model.network.trainable_variables)

    return step


def towers_function(model: RankingModel) -> Callable[..., Any]:
    """A forward and backward pass of only the item tower, traced once."""
    import tensorflow as tf

    @tf.function(input_signature=[_specs(model.item_tower.input)])
    def towers(items: dict[str, tf.Tensor]) -> Any:
        with tf.GradientTape() as tape:
            tokens = model.item_tower(items, training=True)["tokens"]
            value = tf.reduce_sum(tf.cast(tokens, tf.float32) ** 2)
        return tape.gradient(value, model.item_tower.trainable_variables)

    return towers


def _specs(inputs: Mapping[str, Any]) -> dict[str, tf.TensorSpec]:
    import tensorflow as tf

    return {n: tf.TensorSpec(t.shape, t.dtype) for n, t in inputs.items()}


def differences(
    step: Callable[..., Any], once: Batch, often: Batch
) -> tuple[dict[str, float], dict[str, float]]:
    """Largest differences of scores and gradients, with frozen batch statistics.

    A gradient's difference is taken relative to its variable's largest gradient or 1.

    Args:
      step: A `step_function` that does not train, so that batch statistics are frozen.
      once, often: One batch, with its items encoded once and once per slot.
    """
    import tensorflow as tf

    scores, gradients = step(_tensors(once))
    others, other_gradients = step(_tensors(often))
    real = once["mask"]
    apart = float(np.abs(scores.numpy() - others.numpy())[real].max())
    worst = 0.0
    for one, other in zip(gradients, other_gradients, strict=True):
        if one is None:
            continue
        a, b = tf.convert_to_tensor(one).numpy(), tf.convert_to_tensor(other).numpy()
        worst = max(worst, float(np.abs(a - b).max() / max(1.0, np.abs(a).max())))
    return {"scores_differ": apart}, {"gradients_differ": worst}


def _medians(jobs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each job, run in turn after one run that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(repeats + 1):
        for name, job in jobs.items():
            start = time.perf_counter()
            _wait(job())
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def _wait(result: Any) -> None:
    """Returns when the last tensor is computed."""
    import tensorflow as tf

    for tensor in tf.nest.flatten(result):
        if tensor is not None:
            tf.convert_to_tensor(tensor).numpy()


if __name__ == "__main__":
    raise SystemExit(main())
