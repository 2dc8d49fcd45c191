"""Serialized lists as arrays: the parsing and cleaning of a served request, then preprocessing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from mmrank.data.batches import HistoryArrays, ListArrays, label_name
from mmrank.data.embedding_cache import EmbeddingCache
from mmrank.data.tables import DataError
from mmrank.encoders import FeatureKind
from mmrank.encoders.base import in_chunks
from mmrank.encoders.frozen import Freezable, Frozen
from mmrank.encoders.number import Number
from mmrank.features import Features
from mmrank.matching.plan import terms_name
from mmrank.models import present_name
from mmrank.schema import Feature
from mmrank.serving.elwc import parse_lists
from mmrank.serving.raw import cleaned

LENGTH = "list_length"
LABEL = "label/"  # before a label's name in a record, where features stand by their own
DAY = 86_400.0
Arrays = dict[str, np.ndarray]
_NOW = float(np.nextafter(0.0, 1.0))  # just after an event of age zero, which is known


class RecordParser:
    """Raw values of lists, by input name: of contexts [B], candidates [rows] and events [B, H].

    Args:
      features: What is read beside the labels; it need not be fitted.
    """

    def __init__(self, features: Features):
        self._features = features
        self._labels = [
            Number(Feature(LABEL + f.name, "number", "label", f.column), {})
            for f in features.schema.side("label")
        ]
        spec = [tf.TensorSpec([None], tf.string)]
        # A parse of training lists is the parse of a request, labels being further numbers.
        self._parse = tf.function(self._graph, input_signature=spec, autograph=False)

    def __call__(self, messages: Sequence[bytes]) -> Arrays:
        """The raw values, cleaned, with a flag NAME_present for each, and `list_length` [B].

        Labels, [rows] float32 by `label_name`, are NaN where unknown.
        """
        with tf.device("/cpu:0"):
            parsed = self._parse(tf.constant(list(messages), tf.string))
            return {n: t.numpy() for n, t in parsed.items()}

    def _graph(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        columns = [*self._features.columns.values(), *self._labels]
        history = self._features.history
        name = None if history is None else history.name
        parsed = parse_lists(serialized, columns, name, LENGTH)
        lengths = parsed.pop(LENGTH)
        flat: dict[str, tf.Tensor] = {LENGTH: lengths}
        for kind in columns:
            value, flag = parsed.pop(kind.name), parsed.pop(present_name(kind.name))
            if kind.feature.side not in ("query", "user"):
                mask = tf.sequence_mask(lengths, tf.shape(value)[1])
                value, flag = tf.boolean_mask(value, mask), tf.boolean_mask(flag, mask)
            flat[kind.name], flat[present_name(kind.name)] = cleaned(kind, value, flag)
        for kind in self._labels:
            value, known = flat.pop(kind.name), flat.pop(present_name(kind.name))
            flat[label_name(kind.name.removeprefix(LABEL))] = tf.where(known, value, np.nan)
        return flat | parsed


class RecordReader:
    """Lists as `Features.arrays` makes them of tables, from serialized messages.

    Items are told apart by their raw values: two examples of equal values are one item, and one
    item whose price has changed is two. Events are looked up in a catalogue by their items' ids;
    those of other items are left out, as an export leaves them out.

    Args:
      features: Fitted features.
      ids: Item ids of the catalogue [items].
      items: Its item arrays [items, ...].
    """

    def __init__(self, features: Features, ids: Iterable[str], items: Mapping[str, np.ndarray]):
        self._features, self._items = features, items
        self._parser = RecordParser(features)
        self._rows = {}
        if features.history is not None:
            self._rows = {str(item).encode(): row for row, item in enumerate(ids)}
        self.unusable: dict[str, int] = {}

    def __call__(self, messages: Sequence[bytes], where: str) -> ListArrays:
        """The lists of some messages.

        Args:
          messages: Serialized ExampleListWithContext.
          where: What they are, for error messages.

        Raises:
          DataError: A grade is missing or negative, or a value cannot be preprocessed.
        """
        raw = self._parser(messages)
        lengths = raw[LENGTH].astype(np.int64)
        of_side = self._features.of_side
        items, candidates = self._distinct(raw, of_side("item"))
        labels = {f.name: raw[label_name(f.name)] for f in self._features.schema.side("label")}
        encoded = self._encode(of_side("item"), items, where)
        history, encoded = self._with_history(raw, encoded, len(messages))
        return ListArrays(
            items=encoded,
            contexts=self._encode(of_side("query", "user"), raw, where),
            pairs=self._encode(of_side("pair"), raw, where),
            offsets=np.r_[0, np.cumsum(lengths)],
            candidates=candidates,
            grades=self._grades(labels, int(lengths.sum()), where),
            users=np.arange(len(messages), dtype=np.int64),
            times=np.full(len(messages), _NOW),
            history=history,
            labels=labels,
        )

    def _distinct(self, raw: Arrays, kinds: Sequence[FeatureKind]) -> tuple[Arrays, np.ndarray]:
        """Raw values of the distinct items [U], and which of them every row shows, [rows] int32."""
        names = [n for k in kinds for n in (k.name, present_name(k.name))]
        numbers: dict[tuple, int] = {}
        shown = [
            numbers.setdefault(values, len(numbers))
            for values in zip(*(raw[n].tolist() for n in names), strict=True)
        ]
        candidates = np.array(shown, np.int32)
        first = np.unique(candidates, return_index=True)[1]
        return {n: raw[n][first] for n in names}, candidates

    def _encode(self, kinds: Sequence[FeatureKind], raw: Arrays, where: str) -> Arrays:
        """Encoder inputs and presence of raw values [N], by input name."""
        arrays: Arrays = {}
        for kind in kinds:
            flag = present_name(kind.name)
            try:
                values, present = self._step(kind)(raw[kind.name], raw[flag])
            except (tf.errors.InvalidArgumentError, ValueError) as error:
                raise DataError(f"{where}, feature {kind.name!r}: {error}") from error
            lost = int((raw[flag] & ~present).sum())
            self.unusable[kind.name] = self.unusable.get(kind.name, 0) + lost
            arrays[kind.name], arrays[flag] = values, present
            matching = self._features.matching
            rows = None if matching is None else matching.rows(kind.name)
            if rows is not None:
                arrays[terms_name(kind.name)] = rows(raw[kind.name])
        return arrays

    @functools.cache  # noqa: B019 - a reader lives as long as its training
    def _step(self, kind: FeatureKind) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
        """What takes raw values and flags to encoder inputs and flags; files are probed."""
        if isinstance(kind, Frozen):
            store: EmbeddingCache = kind.store()
            return lambda raw, present: kind.stored(raw, store)
        graph = kind.traced_preprocess()
        spec = kind.input_spec()

        def step(raw: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            if isinstance(kind, Freezable) and kind.is_media:
                present = np.array([bool(v) and kind.usable(v) for v in raw], bool)
                raw = np.where(present, raw, b"")
            return in_chunks(graph, raw, kind.raw_dtype, spec), present

        return step

    def _grades(self, labels: Arrays, rows: int, where: str) -> np.ndarray:
        if "grade" not in labels:
            return np.zeros(rows, np.float32)
        wrong = ~(labels["grade"] >= 0)
        if wrong.any():
            raise DataError(
                f"{where}: {int(wrong.sum())} example(s) whose `grade` is missing or negative, the "
                f"first is number {int(wrong.argmax())} of these lists; a grade is a number from 0"
            )
        return labels["grade"]

    def _with_history(
        self, raw: Arrays, items: Arrays, lists: int
    ) -> tuple[HistoryArrays | None, Arrays]:
        """The events of all lists, and the items with those of the events behind them."""
        history = self._features.history
        if history is None:
            return None, items
        ids = raw[f"{history.name}_items"]
        rows = np.array([[self._rows.get(i, -1) for i in line] for line in ids], np.int64)
        rows = rows.reshape(lists, -1)
        known = rows >= 0
        ages = np.nan_to_num(raw[f"{history.name}_ages"], nan=0.0, posinf=0.0, neginf=0.0)
        of_list, place = np.nonzero(known)
        order = np.lexsort((place, -ages[known], of_list))
        of_list, place = of_list[order], place[order]
        used, numbers = np.unique(rows[of_list, place], return_inverse=True)
        count = len(next(iter(items.values())))
        types = {t.encode(): i + 1 for i, t in enumerate(history.types)}
        said = raw[f"{history.name}_types"][of_list, place]
        events = HistoryArrays(
            name=history.name,
            length=history.options.length,
            starts=np.searchsorted(of_list, np.arange(lists + 1)).astype(np.int64),
            items=(count + numbers).astype(np.int32),
            types=np.array([types.get(t, 0) for t in said], np.int32),
            times=-ages[of_list, place].astype(np.float64) * DAY,
        )
        return events, {n: np.concatenate([a, self._items[n][used]]) for n, a in items.items()}
