"""The warm-up file of an export: requests that a server runs before it accepts others."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from mmrank.features import Features
from mmrank.serving.elwc import examples_of, serialize_list
from mmrank.serving.rearranging import RERANK
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
    REGRESS,
    ServedRanker,
)

# A server looks for this path, and does not load the version if one record fails.
WARM_UP = pathlib.PurePath("assets.extra", "tf_serving_warmup_requests")
MOST = 1000  # records that TensorFlow Serving reads
Arrays = dict[str, np.ndarray]
Functions = Mapping[str, tf.types.experimental.ConcreteFunction]


def write_warm_up(
    folder: pathlib.Path,
    samples: Iterable[Sample],
    served: ServedRanker,
    functions: Functions,
    features: Features,
) -> None:
    """Writes the warm-up file of an export: every sample sent to every signature.

    Args:
      folder: The export.
      samples: Requests of one list, of every length that clients pad lists to.
      served: The ranker in it.
      functions: The signatures of the export by name.
      features: The ranker's fitted features.

    Raises:
      ValueError: A record does not fit its signature, or there are more than a server reads.
    """
    file = folder / WARM_UP
    file.parent.mkdir(exist_ok=True)
    records = 0
    with tf.io.TFRecordWriter(str(file)) as writer:
        for sample in samples:
            for name, inputs in _requests(sample, served, features).items():
                if name in functions:
                    writer.write(_record(name, inputs, functions[name]))
                    records += 1
    if records > MOST:
        raise ValueError(
            f"{records} records, while a server reads at most {MOST}; use fewer buckets"
        )


def _requests(sample: Sample, served: ServedRanker, features: Features) -> dict[str, Arrays]:
    """Returns the inputs that a client sends for a sample, by signature."""
    history = None if features.history is None else features.history.name
    context, length = {**sample.contexts, **sample.history}, {LIST_LENGTH: sample.length}
    raw = context | sample.items | sample.pairs
    message = serialize_list(raw, list(features.columns.values()), history)
    embeddings = sample.pairs | length | _asked(sample, served)
    items = _found(served, sample.ids[0])
    embeddings |= {n: a[None] for n, a in items.items() if n != "known"}
    if history is not None:
        events = _found(served, sample.history[f"{history}_items"][0])
        embeddings |= {f"{history}_{n}": events[n][None] for n in ("tokens", "known")}
        embeddings |= {n: sample.history[n] for n in (f"{history}_types", f"{history}_ages")}
    requests = {
        DEFAULT: raw | length,
        PREDICT: {tf.saved_model.PREDICT_INPUTS: np.array([message], object)},
        REGRESS: {tf.saved_model.REGRESS_INPUTS: np.array(examples_of(message)[:SHOWN], object)},
        RANK_ITEMS: context | sample.pairs | {ITEMS: sample.ids},
        ENCODE_ITEMS: {n: v[0, :SHOWN] for n, v in sample.items.items()},
        ENCODE_QUERIES: sample.contexts,
        LOOKUP_ITEMS: {ITEMS: sample.ids[0]},
        RANK_EMBEDDINGS: embeddings,
    }
    if served.policy is not None:
        requests[RERANK] = _page(sample, served, items)
    return requests


def _page(sample: Sample, served: ServedRanker, items: Arrays) -> Arrays:
    """Returns a page of the first items of a sample, for `rerank`."""
    policy = served.policy
    assert policy is not None
    ids = sample.ids[:, : policy.size]
    size = ids.shape[1]
    page: Arrays = {}
    for spec in policy.inputs(*items["tokens"].shape[1:]):
        empty = "" if spec.dtype == tf.string else 0
        dtype = object if empty == "" else spec.dtype.as_numpy_dtype
        page[spec.name] = np.full([1, size][: spec.shape.rank], empty, dtype)
    return page | {
        "items": ids,
        "start": np.arange(size, dtype=np.int32)[np.newaxis],
        "tokens": items["tokens"][np.newaxis, :size],
        "present": items["present"][np.newaxis, :size],
        LIST_LENGTH: np.array([size], np.int32),
    }


def _asked(sample: Sample, served: ServedRanker) -> Arrays:
    """Returns the outputs of `encode_queries` for a sample; empty for a ranker without contexts."""
    if not sample.contexts:
        return {}
    tensors = {n: tf.constant(v) for n, v in sample.contexts.items()}
    return {n: t.numpy() for n, t in served.encode_queries(tensors).items()}


def _found(served: ServedRanker, ids: np.ndarray) -> Arrays:
    """Returns the outputs of `lookup_items` for some ids."""
    return {n: t.numpy() for n, t in served.lookup_items({ITEMS: tf.constant(ids)}).items()}


def _record(
    signature: str, inputs: Arrays, function: tf.types.experimental.ConcreteFunction
) -> bytes:
    """Returns a request in the form of a server's log, serialized.

    Raises:
      ValueError: The inputs' names, dtypes or shapes are not those of the signature.
    """
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    specs = function.structured_input_signature[1]
    if set(specs) != set(inputs):
        raise ValueError(f"{signature}: inputs {sorted(inputs)}, but it takes {sorted(specs)}")
    for name, value in inputs.items():
        proto, spec = tf.make_tensor_proto(value), specs[name]
        fits = spec.shape.is_compatible_with(value.shape)
        if not fits or proto.dtype != spec.dtype.as_datatype_enum:
            raise ValueError(f"{signature}: {name} is {value.dtype}, {value.shape}: {spec}")
        request.inputs[name].CopyFrom(proto)
    predict_log = prediction_log_pb2.PredictLog(request=request)
    return prediction_log_pb2.PredictionLog(predict_log=predict_log).SerializeToString()
