"""Counts scores, features and absent modalities of the server's requests in the metrics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from mmrank.server.monitor.config import Drift
from mmrank.server.monitor.metrics import Metrics
from mmrank.server.monitor.watch import DriftWatch
from mmrank.serving.card import CARD, Card, read_card
from mmrank.serving.drift.reference import FILE, Reference
from mmrank.serving.request import RankError

if TYPE_CHECKING:
    from mmrank.server.servable import Servable

Tensors = Mapping[str, np.ndarray]
LISTED = ("item", "pair")


class Observer:
    """Reads the inputs and outputs of signatures.

    Scores of every request are counted, but features only of a limited number of requests per
    second, which is enough to estimate the shares that drift is computed from. Serialized messages
    (`tensorflow/serving/predict`) are not read. Drift is computed only from requests to the highest
    version, against its training data.

    Args:
      metrics: Receives all counts.
      limits: How drift is computed, and how many requests are counted.
      clock: Returns monotonic time in seconds.
    """

    def __init__(
        self,
        metrics: Metrics,
        limits: Drift,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._metrics, self._clock = metrics, clock
        self._watch = DriftWatch(limits, clock)
        self._pause, self._next = 1.0 / limits.per_second, 0.0
        self._lock = threading.Lock()  # versions come on the loader's thread
        self._held: dict[int, tuple[Servable, Card | None, Reference | None]] = {}
        self._highest: int | None = None
        metrics.registry.register(self._watch)

    def on_load(self, servable: Servable) -> None:
        """Reads the description of a version's features, after all steps that can refuse it.

        For a SavedModel that mmrank did not write, only scores are counted.
        """
        try:
            card = read_card(servable.folder)
        except RankError:
            card = None
        reference = Reference.load(servable.folder / CARD.parent / FILE)
        with self._lock:
            self._held[servable.number] = (servable, card, reference)
            self._follow()

    def on_unload(self, servable: Servable) -> None:
        """Forgets a version, unless the same number was loaded again meanwhile."""
        with self._lock:
            if servable.number in self._held and self._held[servable.number][0] is servable:
                del self._held[servable.number]
                self._follow()

    def _follow(self) -> None:
        self._highest = max(self._held, default=None)
        self._watch.use(None if self._highest is None else self._held[self._highest][2])

    def reply(self, version: int, inputs: Tensors, outputs: Tensors) -> None:
        """Counts one request by its inputs and outputs, for any signature."""
        if "scores" in outputs:
            self._metrics.scores(outputs["scores"], version)
        self.features(version, inputs)

    def features(self, version: int, inputs: Tensors) -> None:
        """Counts the features among some inputs: raw values with their flags, and the history.

        Args:
          version: The version that answered.
          inputs: Inputs by name, as a signature takes them: query and user features [B]; item and
            pair features [B, L] with `list_length` [B] or `items` [B, L]; item features of
            `encode_items` [N].
        """
        now = self._clock()
        _, card, _ = self._held.get(version, (None, None, None))
        if card is None or now < self._next:
            return
        self._next = now + self._pause
        # Until this method is called again, all calls of `Metrics.feature` are for this version.
        self._metrics.on_feature = self._watch.feature if version == self._highest else None
        mask = _mask(inputs, ("present", *card.names(*LISTED)))
        for column in card.inputs.columns.values():
            flag = f"{column.name}_present"
            if column.name not in inputs or flag not in inputs:
                continue
            values, present = inputs[column.name], inputs[flag]
            if column.side in LISTED and mask is not None and mask.shape == present.shape:
                values, present = values[mask], present[mask]  # padding left out
            self._metrics.feature(column.name, values, present)
            if column.side == "item" and present.size:
                self._metrics.absent(column.name, 1.0 - float(np.mean(present)))
        self._history(card.inputs.history, inputs)
        if "tokens" in inputs and "present" in inputs and mask is not None:
            there = inputs["present"][mask]
            for at, modality in enumerate(card.modalities):
                if len(there):
                    self._metrics.absent(modality, 1.0 - float(np.mean(there[:, at])))

    def _history(self, name: str | None, inputs: Tensors) -> None:
        if name is None:
            return
        if f"{name}_items" in inputs:
            known = _filled(inputs[f"{name}_items"])
        elif f"{name}_known" in inputs:
            known = inputs[f"{name}_known"]
        else:
            return
        counts = known.sum(-1).astype(np.float32)
        self._metrics.feature(name, counts, counts > 0)


def _mask(inputs: Tensors, listed: Iterable[str]) -> np.ndarray | None:
    """Returns a mask [B, L] that is False for padding; None if the inputs are not of lists.

    `listed` holds names of inputs with the shape [B, L].
    """
    if "items" in inputs and inputs["items"].ndim == 2:
        return _filled(inputs["items"])
    if "list_length" not in inputs:
        return None
    width = next((inputs[name].shape[1] for name in listed if name in inputs), 0)
    return np.arange(width) < np.asarray(inputs["list_length"])[:, None]


def _filled(texts: np.ndarray) -> np.ndarray:
    """Returns which texts, str or bytes, are not empty, as an array of the same shape."""
    return np.frompyfunc(len, 1, 1)(texts).astype(bool)
