"""A trained policy read from its folder."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.config import ConfigError, from_mapping
from mmrank.config.mapping import read_plain
from mmrank.outputs import one_line, read_json, write_whole
from mmrank.reranking.columns import PageColumns
from mmrank.reranking.config import RANKER, RerankConfig
from mmrank.reranking.dqn.network import QNetwork
from mmrank.reranking.graph import PolicyGraph, page_specs
from mmrank.reranking.guards import Guards, Rules
from mmrank.reranking.observing import FEATURES
from mmrank.reranking.offline.agents import AGENTS
from mmrank.reranking.offline.network import PageNetwork
from mmrank.reranking.page import Page
from mmrank.tracing import traced

__all__ = [
    "CONFIG",
    "WEIGHTS",
    "About",
    "TrainedPolicy",
    "load_policy",
    "network_of",
    "write_about",
]

CONFIG, ABOUT, WEIGHTS = "config.yaml", "policy.json", "weights"
CHUNK = 1024  # pages that are rearranged at once
DAMAGED = "train a policy again with `python -m mmrank.rerank`"


@dataclasses.dataclass(frozen=True)
class About:
    """What a policy has to be given, apart from its config.

    Attributes:
      width: Width of the candidates' vectors.
      columns: The features and tasks of the ranker that it learned from; None for drawn pages.
      fingerprint: The ranker's `item_fingerprint`, which says what its vectors mean; empty for
        drawn pages.
    """

    width: int
    columns: PageColumns | None = None
    fingerprint: str = ""


def write_about(folder: pathlib.Path, about: About) -> None:
    """Writes what `load_policy` reads besides config and weights."""
    write_whole(folder / ABOUT, json.dumps(dataclasses.asdict(about), indent=2) + "\n")


class TrainedPolicy:
    """A policy of `python -m mmrank.rerank`. Read one with `load_policy`.

    Attributes:
      folder: The folder it was read from.
      config: How it was trained.
      about: What it has to be given.
      graph: The policy as a graph.

    Args:
      folder, config, about: As above.
      network: The trained network.
    """

    def __init__(self, folder: pathlib.Path, config: RerankConfig, about: About, network: Any):
        self.folder, self.config, self.about = folder, config, about
        most = 0 if config.agent == RANKER else config.most_moves
        self.graph = PolicyGraph(_in_double(network, config, about.width), most, config.guards)
        self._run = traced(lambda **page: self.graph(page)).get_concrete_function(
            **page_specs(about.width)
        )

    @property
    def size(self) -> int:
        """The most candidates of a page in training."""
        return self.config.pages.size

    def orders(self, pages: Sequence[Page], rules: Rules | None = None) -> list[np.ndarray]:
        """Returns the order of each page, [k] int.

        Args:
          pages: Pages in the ranker's order, of any length.
          rules: The rules that hold; they need the items' ids. Items that they exclude have to be
            left out before, with `Guards.kept`.

        Raises:
          ValueError: The vectors of a page have another width than those of the training.
        """
        guards = Guards(self.config.guards, rules)
        orders: list[np.ndarray] = []
        for first in range(0, len(pages), CHUNK):
            some = pages[first : first + CHUNK]
            given = self._run(**padded_inputs(some, guards, self.about.width))["order"].numpy()
            orders += [row[: page.size].astype(int) for row, page in zip(given, some, strict=True)]
        return orders


def padded_inputs(pages: Sequence[Page], guards: Guards, width: int) -> dict[str, tf.Tensor]:
    """Returns the inputs of a `PolicyGraph` for some pages, padded to the longest.

    Args:
      pages: Pages in the ranker's order.
      guards: The rules in it say where a page starts.
      width: Width of the vectors.

    Raises:
      ValueError: The vectors of a page have another width.
    """
    size = max(page.size for page in pages)
    specs = page_specs(width)
    arrays: dict[str, np.ndarray] = {}
    for name, spec in specs.items():
        shape = [len(pages)] + [size] * (spec.shape.rank > 1) + [width] * (spec.shape.rank > 2)
        empty: Any = "" if spec.dtype == tf.string else 0
        arrays[name] = np.full(shape, empty, object if empty == "" else spec.dtype.as_numpy_dtype)
    arrays["start"] += np.arange(size, dtype=np.int32)
    for row, page in enumerate(pages):
        if page.vector.shape[-1] != width:
            raise ValueError(
                f"vectors of width {page.vector.shape[-1]}, but the policy learned from {width}"
            )
        given: dict[str, Any] = page.arrays() | {"start": guards.start(page)}
        for name, rule in (("pinned", guards.rules.pin), ("boosted", guards.rules.boost)):
            if page.item is not None and rule:
                given[name] = [min(rule.get(str(i), 0), page.size) for i in page.item]
        for name in arrays.keys() & given.keys():
            arrays[name][row, : page.size] = given[name]
        arrays["length"][row] = page.size
    arrays["group"] = arrays["group"].astype(str).astype(object)
    return {name: tf.constant(array, specs[name].dtype) for name, array in arrays.items()}


def load_policy(folder: pathlib.Path) -> TrainedPolicy:
    """Returns the policy in a folder of `python -m mmrank.rerank`.

    Raises:
      ConfigError: The folder holds no finished training, or it is damaged.

    Example:
      >>> import pathlib
      >>> load_policy(pathlib.Path("runs/none"))
      Traceback (most recent call last):
      mmrank.config.ConfigError: runs/none: no policy.json, so no policy was trained there...
    """
    for name in (ABOUT, CONFIG, f"{WEIGHTS}.index"):
        if not (folder / name).is_file():
            raise ConfigError(
                f"{folder}: no {name}, so no policy was trained there to the end; train one with "
                f"`python -m mmrank.rerank --out {folder}`, or continue with --resume"
            )
    config = from_mapping(RerankConfig, read_plain(folder / CONFIG), str(folder / CONFIG))
    plain = read_json(folder / ABOUT, DAMAGED)
    if not isinstance(plain, dict):
        raise ConfigError(f"{folder / ABOUT}: damaged; {DAMAGED}")
    about = from_mapping(About, plain, str(folder / ABOUT))
    network = network_of(config, about.width)
    try:
        network.load_weights(str(folder / WEIGHTS)).assert_existing_objects_matched()
    except (ValueError, AssertionError, LookupError, tf.errors.OpError) as error:
        raise ConfigError(f"{folder / WEIGHTS}: damaged: {one_line(error)}; {DAMAGED}") from error
    return TrainedPolicy(folder, config, about, network)


def _in_double(network: Any, config: RerankConfig, width: int) -> Any:
    """The same network in double precision, if it makes one move after the other.

    Not for the precision: TensorFlow hands products in single precision to oneDNN, which divides
    each among threads. For the few numbers of a page that takes longer than the product, and three
    times as long as a page takes in double precision.
    """
    if not isinstance(network, QNetwork):
        return network
    double = network_of(config, width, "float64")
    double.set_weights(network.get_weights())
    return double


def network_of(config: RerankConfig, width: int, dtype: str = "float32") -> Any:
    """Returns the network of a config's agent, with weights for vectors of a width.

    Args:
      config: The config.
      width: Width of the vectors.
      dtype: Float type of a `QNetwork`.
    """
    network: Any
    if config.agent in AGENTS:
        learning = config.offline
        network = PageNetwork(config.most_moves, learning.width, learning.heads, learning.layers)
    else:
        size = config.dqn
        network = QNetwork(size.width, size.heads, size.layers, dtype=dtype)
    ones = tf.ones([1, 2])
    candidates = tf.zeros([1, 2, len(FEATURES) + width])
    network({"candidates": candidates, "mask": ones, "actions": ones, "moves": ones[:, :1]})
    return network
