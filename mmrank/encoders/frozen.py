"""Frozen encoders: one that never learns is a part of preprocessing, and runs once per value.

Training, evaluation and the exported graph then receive the embedding of a photo or a text instead
of pixels or tokens. It is deterministic: flips and dropout inside the encoder do not apply.
"""

from __future__ import annotations

import abc
import copy
import functools
import logging
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, cast

import numpy as np
import pandas as pd
import tensorflow as tf
import tensorflow_hub
from tqdm import tqdm

import mmrank
from mmrank.config import ConfigError
from mmrank.data.embedding_cache import ABSENT, EmbeddingCache, key_of, value_hash
from mmrank.data.media import MediaStore
from mmrank.encoders.base import FeatureKind, texts
from mmrank.encoders.tokens import PresentOnly
from mmrank.tracing import traced

READ_ROWS, BATCH = 256, 256
logger = logging.getLogger(__name__)


class Freezable(FeatureKind):
    """A kind of strings (texts, files) whose encoder may be frozen.

    Attributes:
      revision: Version of reading and preprocessing. Raise it when they give another result for
        the same value and options, because kept embeddings are then outdated.
      unseen: Options that do not change a frozen encoder's embeddings.
    """

    revision: ClassVar[int] = 1
    unseen: ClassVar[frozenset[str]] = frozenset({"trainable", "weights"})

    @property
    @abc.abstractmethod
    def frozen(self) -> bool:
        """Whether the encoder never learns."""

    @property
    def embedding_dropout(self) -> float:
        """The share of a frozen embedding's numbers that training drops."""
        return 0.0

    @abc.abstractmethod
    def weights_hash(self) -> str:
        """Returns a hash of the files that hold a frozen encoder's weights.

        Raises:
          ConfigError: The files do not exist.
        """

    @abc.abstractmethod
    def fetch(self, values: pd.Series, media: MediaStore | None) -> np.ndarray:
        """Returns raw values [N], empty where a value is missing, not yet checked."""

    @abc.abstractmethod
    def usable(self, raw: Any) -> bool:
        """Returns whether a raw value that is not empty can be preprocessed."""


class Tower:
    """A frozen encoder after its preprocessing, made when first needed and shared by features.

    Args:
      kind: The feature that the encoder belongs to.
    """

    def __init__(self, kind: Freezable):
        self._kind = kind

    @functools.cached_property
    def weights_hash(self) -> str:
        """The hash of the files that hold the weights."""
        return self._kind.weights_hash()

    @functools.cached_property
    def layer(self) -> PresentOnly:
        """The encoder over present rows, in float32 even if training uses another precision."""
        policy = tf.keras.mixed_precision.global_policy()
        tf.keras.mixed_precision.set_global_policy("float32")
        try:
            encoder = self._kind.encoder(0)
            return PresentOnly(encoder, name=f"{encoder.name}_frozen")
        finally:
            tf.keras.mixed_precision.set_global_policy(policy)

    @functools.cached_property
    def embed(self) -> tf.types.experimental.ConcreteFunction:
        """`preprocess` as one graph for any N."""
        spec = tf.TensorSpec([None], self._kind.raw_dtype)
        _ = self.layer  # made before the graph, whose own tensors end with it
        return traced(self.preprocess, [spec]).get_concrete_function()

    def preprocess(self, raw: tf.Tensor) -> tf.Tensor:
        """Returns embeddings [N, D'] of raw values [N], zeros for empty ones."""
        return self.layer((self._kind.preprocess(raw), raw != ""), training=False)

    def tracked(self) -> list[Any]:
        """Returns what the graph refers to."""
        encoder = self.layer.encoder
        hub = isinstance(encoder, tensorflow_hub.KerasLayer)
        return [*self._kind.tracked(), *([encoder.resolved_object] if hub else encoder.weights)]


class Frozen(FeatureKind):
    """A feature whose encoder never learns: its preprocessing returns the embedding.

    Args:
      inner: The feature with its encoder.
      tower: The feature's encoder; features that share one are given the same tower.
      cache: Folder where embeddings are kept; None computes them again each time.
    """

    def __init__(self, inner: Freezable, tower: Tower, cache: pathlib.Path | None = None):
        self.inner, self.tower, self.cache = inner, tower, cache
        self.feature, self.options = inner.feature, inner.options
        self.raw_dtype = inner.raw_dtype
        self.weights, self.width = "", 0

    def read(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        return self.inner.read(values, media)

    def fit(self, values: pd.Series) -> None:
        self.inner.fit(values)
        self.weights = self.tower.weights_hash
        self.width = int(self.tower.embed.structured_outputs.shape[-1])

    def state(self) -> dict[str, Any]:
        frozen = {"weights": self.weights, "width": self.width}
        return {**self.inner.state(), "frozen": frozen}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.inner.restore(state)
        self.weights, self.width = state["frozen"]["weights"], int(state["frozen"]["width"])
        if self.weights != self.tower.weights_hash:
            raise ConfigError(
                f"feature {self.name!r}: the weights of its frozen encoder are not those that the "
                "ranker was trained with; restore the old files, or train again"
            )

    def sharing(self) -> str | None:
        return self.inner.sharing()

    @property
    def space(self) -> str:
        return self.inner.space

    def card(self) -> dict[str, Any]:
        return self.inner.card()

    def preprocess(self, raw: tf.Tensor) -> tf.Tensor:
        return self.tower.preprocess(raw)

    def traced_preprocess(self) -> Callable[[Any], tf.Tensor]:
        return self.tower.embed

    def portable(self) -> Frozen:
        inner = cast(Freezable, self.inner.portable())
        if inner is self.inner:
            return self
        other = copy.copy(self)
        other.inner = inner
        other.tower = Tower(other.inner)
        other.tower.layer = self.tower.layer  # the same weights
        return other

    def input_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec([None, self.width], tf.float32)

    def encoder(self, width: int) -> tf.keras.layers.Layer:
        name = f"{self.sharing() or self.name}_embedding"
        if not self.inner.embedding_dropout:
            return tf.keras.layers.Identity(name=name)
        drop = tf.keras.layers.Dropout(self.inner.embedding_dropout, name=name)
        drop.build([None, self.width])  # makes its random generator before training, as elsewhere
        return drop

    def tracked(self) -> list[Any]:
        return [*self.inner.tracked(), *self.tower.tracked()]

    def facts(self) -> dict[str, Any]:
        """Returns everything that an embedding depends on, except the raw value."""
        seen = vars(self.options).items()
        return {
            "kind": self.feature.kind,
            "options": {n: v for n, v in seen if n not in self.inner.unseen},
            "state": self.state(),
            "revision": self.inner.revision,
            "version": mmrank.__version__,
        }

    def arrays(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        """Returns embeddings [N, D'] and presence [N]; encodes only values not yet in the store.

        The embeddings are rows of memory-mapped files, which are read on access.
        """
        store = self.store()
        known = len(store)
        rows, names = pd.factorize(texts(values))  # read a photo of many lists once
        column = pd.Series(names, dtype=object)
        starts = tqdm(
            range(0, len(column), READ_ROWS),
            desc=f"embedding {self.name}",
            unit_scale=READ_ROWS,
            unit=" values",
            disable=None,
            leave=False,
        )
        chunks = (self.inner.fetch(column.iloc[at : at + READ_ROWS], media) for at in starts)
        try:
            hashes = self._hashes(chunks, store)
        finally:
            store.flush()  # an interrupted pass continues from here
        row_keys = [hashes[row] for row in rows]
        present = np.array([key != ABSENT for key in row_keys], bool)
        embeddings = store.rows(row_keys)
        self._log_embeddings(
            store, len(store) - known, int((texts(values) != "").sum() - present.sum())
        )
        # Callers use only its rows, shape and dtype, as of an array.
        return cast(np.ndarray, embeddings), present

    def store(self) -> EmbeddingCache:
        """Returns the store of this encoder's embeddings, including those of earlier runs."""
        facts = self.facts()
        folder = None if self.cache is None else self.cache / key_of(facts)
        return EmbeddingCache(folder, self.width, facts)

    def stored(self, raw: np.ndarray, store: EmbeddingCache) -> tuple[np.ndarray, np.ndarray]:
        """Returns embeddings [N, D'] and presence [N] of raw values [N]; stores new embeddings."""
        hashes = self._hashes([raw], store)
        return store.rows(hashes)[:], np.array([key != ABSENT for key in hashes], bool)

    def _hashes(self, chunks: Iterable[np.ndarray], store: EmbeddingCache) -> list[bytes]:
        """Returns hashes of raw values, ABSENT for unusable ones; adds embeddings to the store."""
        hashes: list[bytes] = []
        waiting: dict[bytes, Any] = {}
        for raw in chunks:
            for value in raw:
                key = value_hash(value)
                if key != ABSENT and key not in store and key not in waiting:
                    if self.inner.usable(value):
                        waiting[key] = value
                    else:
                        key = ABSENT
                hashes.append(key)
            while len(waiting) >= BATCH:
                self._embed(store, waiting)
        if waiting:
            self._embed(store, waiting)
        return hashes

    def _embed(self, store: EmbeddingCache, waiting: dict[bytes, Any]) -> None:
        """Encodes up to a batch of waiting values and moves them to the store."""
        keys = list(waiting)[:BATCH]
        raw = tf.constant([waiting.pop(k) for k in keys], tf.string)
        store.add(keys, self.tower.embed(raw).numpy())

    def _log_embeddings(self, store: EmbeddingCache, new: int, unusable: int) -> None:
        logger.info(
            "%s: %d embeddings computed, %d in all (%.0f MB) in %s",
            self.name,
            new,
            len(store),
            len(store) * self.width * 4 / 1e6,
            store.folder or "memory",
        )
        if unusable:
            logger.warning(
                "%s: %d values are missing or broken and count as absent", self.name, unusable
            )
