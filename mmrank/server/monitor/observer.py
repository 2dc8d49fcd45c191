"""What passes through the server, told to the metrics: scores, features and absent modalities."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from mmrank.server.monitor.config import Drift
from mmrank.server.monitor.metrics import Metrics
from mmrank.server.monitor.watch import DriftWatch
from mmrank.serving.card import CARD, Card, read_card
from mmrank.serving.drift.reference import FILE, Reference
from mmrank.serving.request import RankError

Tensors = Mapping[str, np.ndarray]
LISTED = ("item", "pair")


class Observer:
    """Reads requests and replies as signatures take and give them.

    Scores are counted of every request, features of so many a second: the shares that drift is
    judged by need no more. Serialized messages (`tensorflow/serving/predict`) are not opened.

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
        self._watch = watch = DriftWatch(limits, clock)
        self._pause, self._next = 1.0 / limits.per_second, 0.0
        self._card: Card | None = None
        metrics.on_feature = watch.feature
        metrics.registry.register(watch)

    def take_up(self, folder: pathlib.Path) -> None:
        """Reads what a version says of its features from now on.

        Of a SavedModel that mmrank did not write, scores alone are counted.
        """
        try:
            self._card = read_card(folder)
        except RankError:
            self._card = None
        self._watch.use(Reference.load(folder / CARD.parent / FILE))

    def reply(self, version: int, inputs: Tensors, outputs: Tensors) -> None:
        """Counts one request by its inputs and outputs, whichever signature they are of."""
        if "scores" in outputs:
            self._metrics.scores(outputs["scores"], version)
        self.features(inputs)

    def features(self, inputs: Tensors) -> None:
        """Counts the features among some inputs: raw values with their flags, and the history.

        Args:
          inputs: By name, as a signature takes them: query and shopper [B], item and pair [B, L]
            with `list_length` [B] or `items` [B, L], item features of `encode_items` [N].
        """
        card = self._card
        now = self._clock()
        if card is None or now < self._next:
            return
        self._next = now + self._pause
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
