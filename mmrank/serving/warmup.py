"""The warm-up file of an export: requests that a server answers before it takes any other."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from mmrank.encoders import FeatureKind
from mmrank.serving.elwc import serialize_list
from mmrank.serving.samples import SHOWN, Sample
from mmrank.serving.signatures import (
    DEFAULT,
    ENCODE_ITEMS,
    ENCODE_QUERIES,
    ITEMS,
    LIST_LENGTH,
    LOOKUP_ITEMS,
    PREDICT,
    RANK_EMBEDDINGS,
    RANK_ITEMS,
)

# A server looks for this path, and gives the version up if one record fails.
WARM_UP = pathlib.PurePath("assets.extra", "tf_serving_warmup_requests")
MOST = 1000  # records that TensorFlow Serving reads
Arrays = Mapping[str, np.ndarray]
Functions = Mapping[str, Callable[..., Mapping[str, tf.Tensor]]]


def write_warm_up(
    folder: pathlib.Path,
    samples: Iterable[Sample],
    functions: Functions,
    columns: Sequence[FeatureKind],
    history: str | None,
) -> None:
    """Writes the warm-up file of an export: every sample sent to every signature.

    All are answered here first, so that no record is one that fails.

    Args:
      folder: The export.
      samples: Requests of one list, of every length that clients pad lists to.
      functions: The export's signatures by name.
      columns: Every feature that stands in a column.
      history: Name of the history feature, or None.

    Raises:
      ValueError: There would be more records than a server reads.
    """
    file = folder / WARM_UP
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        send = _Recorder(functions, writer)
        for sample in samples:
            context, length = {**sample.contexts, **sample.history}, {LIST_LENGTH: sample.length}
            raw = context | sample.items | sample.pairs
            send(DEFAULT, raw | length)
            message = serialize_list(raw, columns, history)
            send(PREDICT, {tf.saved_model.PREDICT_INPUTS: np.array([message], object)})
            send(RANK_ITEMS, context | sample.pairs | {ITEMS: sample.ids})
            send(ENCODE_ITEMS, {n: v[0, :SHOWN] for n, v in sample.items.items()})
            _send_embeddings(send, sample, history)
    if send.records > MOST:
        raise ValueError(f"{send.records} records, while a server reads {MOST}; use fewer buckets")


class _Recorder:
    """Runs requests and writes them down.

    Attributes:
      records: How many there were.
    """

    def __init__(self, functions: Functions, writer: tf.io.TFRecordWriter):
        self.functions, self._writer, self.records = functions, writer, 0

    def __call__(self, signature: str, inputs: Arrays) -> dict[str, np.ndarray]:
        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = signature
        tensors = {}
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            tensors[name] = tf.constant(value)
        predict_log = prediction_log_pb2.PredictLog(request=request)
        log = prediction_log_pb2.PredictionLog(predict_log=predict_log)
        given = self.functions[signature](**tensors)
        self._writer.write(log.SerializeToString())
        self.records += 1
        return {n: t.numpy() for n, t in given.items()}


def _send_embeddings(send: _Recorder, sample: Sample, history: str | None) -> None:
    """The steps of a service that keeps the items' tokens: queries, items, then the ranking."""
    asked: Arrays = {}
    if ENCODE_QUERIES in send.functions:
        asked = send(ENCODE_QUERIES, sample.contexts)
    items = send(LOOKUP_ITEMS, {ITEMS: sample.ids[0]})
    request = dict(asked) | sample.pairs | {LIST_LENGTH: sample.length}
    request |= {n: items[n][None] for n in ("tokens", "present")}
    if history is not None:
        events = send(LOOKUP_ITEMS, {ITEMS: sample.history[f"{history}_items"][0]})
        request |= {f"{history}_{n}": events[n][None] for n in ("tokens", "known")}
        request |= {f"{history}_{n}": sample.history[f"{history}_{n}"] for n in ("types", "ages")}
    send(RANK_EMBEDDINGS, request)
