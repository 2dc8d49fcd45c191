"""What passes through the server, told to the metrics: scores, features and absent modalities."""

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
    """Reads requests and replies as signatures take and give them.

    Scores are counted of every request, features of so many a second: the shares that drift is
    judged by need no more. Serialized messages (`tensorflow/serving/predict`) are not opened.
    Drift is judged of the requests to the highest version alone, against its training data.

    Args:
      metrics: Told of all.
      limits: How drift is judged, and how many requests are looked at.
      clock: Seconds that never run backward.
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

    def take_up(self, servable: Servable) -> None:
        """Reads what a version says of its features, once nothing can refuse it any more.

        Of a SavedModel that mmrank did not write, scores alone are counted.
        """
        try:
            card = read_card(servable.folder)
        except RankError:
            card = None
        reference = Reference.load(servable.folder / CARD.parent / FILE)
        with self._lock:
            self._held[servable.number] = (servable, card, reference)
            self._follow()

    def let_go(self, servable: Servable) -> None:
        """Forgets a version, unless its number was loaded anew meanwhile."""
        with self._lock:
            if servable.number in self._held and self._held[servable.number][0] is servable:
                del self._held[servable.number]
                self._follow()

    def _follow(self) -> None:
        self._highest = max(self._held, default=None)
        self._watch.use(None if self._highest is None else self._held[self._highest][2])

    def reply(self, version: int, inputs: Tensors, outputs: Tensors) -> None:
        """Counts one request by its inputs and outputs, whichever signature they are of."""
        if "scores" in outputs:
            self._metrics.scores(outputs["scores"], version)
        self.features(version, inputs)

    def features(self, version: int, inputs: Tensors) -> None:
        """Counts the features among some inputs: raw values with their flags, and the history.

        Args:
          version: The one that answered.
          inputs: By name, as a signature takes them: query and shopper [B], item and pair [B, L]
            with `list_length` [B] or `items` [B, L], item features of `encode_items` [N].
        """
        now = self._clock()
        _, card, _ = self._held.get(version, (None, None, None))
        if card is None or now < self._next:
            return
        self._next = now + self._pause
        # All that `feature` is told until the next call is of this version.
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
    """Which candidates [B, L] are no padding; None where inputs are not of lists.

    `listed` are names of inputs that are [B, L].
    """
    if "items" in inputs and inputs["items"].ndim == 2:
        return _filled(inputs["items"])
    if "list_length" not in inputs:
        return None
    width = next((inputs[name].shape[1] for name in listed if name in inputs), 0)
    return np.arange(width) < np.asarray(inputs["list_length"])[:, None]


def _filled(texts: np.ndarray) -> np.ndarray:
    """Which texts, str or bytes, are not empty."""
    return np.frompyfunc(len, 1, 1)(texts).astype(bool)
