"""Serialized lists as arrays: parsed and cleaned like a served request, then preprocessed."""

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
from mmrank.tracing import traced

LENGTH = "list_length"
LABEL = "label/"  # prefix of a label's name in a record; the names of features have no prefix
DAY = 86_400.0
Arrays = dict[str, np.ndarray]
_NOW = float(np.nextafter(0.0, 1.0))  # just after an event of age zero, so that the event counts


class RecordParser:
    """Parses lists into raw values by input name: contexts [B], candidates [rows], events [B, H].

    Args:
      features: The features, which are read in addition to the labels; they need not be fitted.

    Example:
      >>> from tensorflow_serving.apis.input_pb2 import ExampleListWithContext
      >>> from mmrank.features import make_features
      >>> from mmrank.schema import schema_from_dict
      >>> price = {"name": "price", "kind": "number", "side": "item"}
      >>> grade = {"name": "grade", "kind": "number", "side": "label"}
      >>> features = make_features(schema_from_dict({"features": [price, grade]}), encoders={})
      >>> message = ExampleListWithContext()
      >>> for value, label in ((9.0, 1.0), (5.0, 0.0)):
      ...     example = message.examples.add().features.feature
      ...     example["price"].float_list.value.append(value)
      ...     example["label/grade"].float_list.value.append(label)
      >>> parsed = RecordParser(features)([message.SerializeToString()])
      >>> parsed["price"].tolist(), parsed["list_length"].tolist()
      ([9.0, 5.0], [2])
    """

    def __init__(self, features: Features):
        self._features = features
        self._labels = [
            Number(Feature(LABEL + f.name, "number", "label", f.column), {})
            for f in features.schema.side("label")
        ]
        spec = [tf.TensorSpec([None], tf.string)]
        # Training lists are parsed like a request, with the labels as additional numbers.
        self._parse = traced(self._graph, spec)

    def __call__(self, messages: Sequence[bytes]) -> Arrays:
        """The raw values, cleaned, with a flag NAME_present for each, and `list_length` [B].

        Labels are [rows] float32 under `label_name`, NaN where unknown.
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
    """Turns serialized messages into lists, in the form that `Features.arrays` makes from tables.

    Items are distinguished by their raw values: two examples with equal values are one item, and
    an item whose price has changed becomes two. Events are looked up in a catalogue by the ids of
    their items. Events with items that are not in the catalogue are left out, as in an export.

    Args:
      features: Fitted features.
      ids: Item ids of the catalogue [items].
      items: Item arrays of the catalogue [items, ...].

    Example:
      >>> import pandas as pd
      >>> from tensorflow_serving.apis.input_pb2 import ExampleListWithContext
      >>> from mmrank.features import make_features
      >>> from mmrank.schema import schema_from_dict
      >>> price = {"name": "price", "kind": "number", "side": "item"}
      >>> grade = {"name": "grade", "kind": "number", "side": "label"}
      >>> features = make_features(schema_from_dict({"features": [price, grade]}), encoders={})
      >>> features.fit_values({"price": pd.Series([9.0, 5.0])}, types=None)
      >>> message = ExampleListWithContext()
      >>> for value, label in ((9.0, 1.0), (5.0, 0.0), (9.0, 2.0)):
      ...     example = message.examples.add().features.feature
      ...     example["price"].float_list.value.append(value)
      ...     example["label/grade"].float_list.value.append(label)
      >>> reader = RecordReader(features, ids=[], items={})
      >>> lists = reader([message.SerializeToString()], "train.tfrecord")
      >>> lists.offsets.tolist(), lists.candidates.tolist()  # the third example is the first item
      ([0, 3], [0, 1, 0])
      >>> lists.grades.tolist()
      [1.0, 0.0, 2.0]
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
          where: The source of the messages, for error messages.

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
        """Raw values of the distinct items [U], and the index of each row's item, [rows] int32."""
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
        """A function from raw values and flags to encoder inputs and flags; it probes media."""
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
                f"{where}: {int(wrong.sum())} example(s) whose `grade` is missing or negative, "
                f"the first is example {int(wrong.argmax())} of these lists; a grade is a number "
                "of at least 0"
            )
        return labels["grade"]

    def _with_history(
        self, raw: Arrays, items: Arrays, lists: int
    ) -> tuple[HistoryArrays | None, Arrays]:
        """The events of all lists, and the item arrays with the items of the events appended."""
        history = self._features.history
        if history is None:
            return None, items
        ids = raw[f"{history.name}_items"]
        rows = np.array([[self._rows.get(i, -1) for i in line] for line in ids], np.int64)
        rows = rows.reshape(lists, -1)
        known = rows >= 0
        ages = np.nan_to_num(raw[f"{history.name}_ages"], nan=0.0, posinf=0.0, neginf=0.0)
        of_list, slot = np.nonzero(known)
        order = np.lexsort((slot, -ages[known], of_list))
        of_list, slot = of_list[order], slot[order]
        used, numbers = np.unique(rows[of_list, slot], return_inverse=True)
        count = len(next(iter(items.values())))
        types = {t.encode(): i + 1 for i, t in enumerate(history.types)}
        type_names = raw[f"{history.name}_types"][of_list, slot]
        events = HistoryArrays(
            name=history.name,
            length=history.options.length,
            starts=np.searchsorted(of_list, np.arange(lists + 1)).astype(np.int64),
            items=(count + numbers).astype(np.int32),
            types=np.array([types.get(t, 0) for t in type_names], np.int32),
            times=-ages[of_list, slot].astype(np.float64) * DAY,
        )
        return events, {n: np.concatenate([a, self._items[n][used]]) for n, a in items.items()}
