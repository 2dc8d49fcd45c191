"""Files of an export in addition to its graph: warm-up, batching parameters, card, checksums."""

from __future__ import annotations

import json
import pathlib
import re
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import input_pb2, predict_pb2, prediction_log_pb2

from mmrank.data.tables import Dataset
from mmrank.serving.batching import BATCHING
from mmrank.serving.checksums import verify_checksums
from mmrank.serving.model_card import CARD_JSON, CARD_TEXT
from mmrank.serving.model_card_text import as_markdown
from mmrank.serving.ranker import Ranker
from mmrank.serving.warmup import WARM_UP
from mmrank.trained_run import Run

RANKING = ("serving_default", "rank_items", "rank_embeddings", "tensorflow/serving/predict")


@pytest.fixture(scope="module")
def requests(exported: pathlib.Path) -> list[predict_pb2.PredictRequest]:
    records = tf.data.TFRecordDataset(str(exported / WARM_UP)).as_numpy_iterator()
    logs = [prediction_log_pb2.PredictionLog.FromString(r) for r in records]
    assert all(log.WhichOneof("log_type") == "predict_log" for log in logs)
    return [log.predict_log.request for log in logs]


def words(request: predict_pb2.PredictRequest) -> list[str]:
    """Every text of a request, including those in a serialized list."""
    found: list[bytes] = []
    for proto in request.inputs.values():
        value = tf.make_ndarray(proto)
        if value.dtype == object:
            found += list(value.ravel())
    if request.model_spec.signature_name == "tensorflow/serving/predict":
        lists = [input_pb2.ExampleListWithContext.FromString(m) for m in found]
        examples = [e for one in lists for e in (one.context, *one.examples)]
        features = [f for e in examples for f in e.features.feature.values()]
        found = [value for f in features for value in f.bytes_list.value]
    if request.model_spec.signature_name == "tensorflow/serving/regress":
        rows = [tf.train.Example.FromString(m) for m in found]
        found = [v for r in rows for f in r.features.feature.values() for v in f.bytes_list.value]
    return [value.decode("utf-8", "replace") for value in found]


@pytest.mark.slow
def test_every_bucket_warms_every_signature(
    requests: list[predict_pb2.PredictRequest], run: Run, signatures: Mapping[str, Any]
) -> None:
    buckets = run.config.data.buckets
    assert len(requests) <= 1000
    widths = {name: set() for name in RANKING}
    for request in requests:
        name = request.model_spec.signature_name
        inputs = {n: tf.constant(tf.make_ndarray(p)) for n, p in request.inputs.items()}
        outputs = signatures[name](**inputs)
        if name in RANKING:
            scores = outputs["scores"].numpy()
            assert scores.shape[0] == 1
            assert (np.isfinite(scores) & (scores > -1e8)).all()  # no candidate is padding
            widths[name].add(scores.shape[1])
    assert all(seen == set(buckets) for seen in widths.values())
    assert {r.model_spec.signature_name for r in requests} == set(signatures)


def test_warm_up_requests_have_real_values_but_no_user(
    requests: list[predict_pb2.PredictRequest], dataset: Dataset
) -> None:
    asked, titles, flags, pasts = set(), set(), Counter(), []
    for request in requests:
        if request.model_spec.signature_name != "serving_default":
            continue
        arrays = {n: tf.make_ndarray(p) for n, p in request.inputs.items()}
        asked |= {q.decode() for q in arrays["query"]}
        titles |= {t.decode() for t in arrays["title"].ravel()}
        flags.update({n: int(v.sum()) for n, v in arrays.items() if n.endswith("_present")})
        pasts.append([i.decode() for i in arrays["history_items"][0]])
    assert asked <= set(dataset.lists["query"])
    assert titles - {""} <= {t.strip() for t in dataset.catalog["title"].dropna()}
    assert all(flags[f"{n}_present"] for n in ("query", "user", "title", "photo", "price"))
    users = set(map(str, dataset.lists["user_id"]))
    actual = Counter(word for request in requests for word in words(request))
    assert len(users) > 1
    assert not users & set(actual)
    # For each list length: one ELWC and one id request, one to `encode_queries`, and one to regress
    # with every candidate.
    regressed = [
        r.inputs["inputs"].tensor_shape.dim[0].size
        for r in requests
        if r.model_spec.signature_name == "tensorflow/serving/regress"
    ]
    assert len(regressed) == len(pasts)
    assert actual["warm-up"] == 4 * len(pasts) + sum(regressed)
    assert dataset.events is not None
    for _, events in dataset.events.groupby("user_id"):
        own = list(events["item_id"])
        assert all(past != own[i : i + len(past)] for past in pasts for i in range(len(own)))


def test_batching_parameters_never_pad(exported: pathlib.Path) -> None:
    text = (exported / BATCHING).read_text("utf-8")
    assert "pad_variable_length_inputs" not in re.sub("#.*", "", text)
    sizes = [int(n) for n in re.findall(r"^allowed_batch_sizes: (\d+)$", text, re.MULTILINE)]
    (most,) = re.findall(r"^max_batch_size \{ value: (\d+) \}$", text, re.MULTILINE)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == int(most) >= 1000  # ids of one lookup


def test_the_list_of_checksums_is_complete(exported: pathlib.Path) -> None:
    verify_checksums(exported)


def test_the_card_of_a_run_without_figures_says_so(
    exported: pathlib.Path, run: Run, dataset: Dataset
) -> None:
    card = json.loads((exported / CARD_JSON).read_text("utf-8"))
    assert card["figures"] is None
    assert any("no evaluation figures" in limit for limit in card["limits"])
    names = {f["name"]: f["side"] for f in card["model"]["features"]}
    assert names["photo"] == "item"
    assert names["history"] == "user"
    assert card["data"]["items"] == len(dataset.catalog)
    assert card["data"]["lists"]["train"] == dataset.rows("train")["list_id"].nunique()
    assert card["versions"]["tensorflow"] == tf.__version__
    assert card["versions"]["python"] == "{}.{}.{}".format(*sys.version_info)
    assert card["data"]["of_training"]
    assert card["model"]["teacher"] is None
    assert (exported / CARD_TEXT).read_text("utf-8") == as_markdown(card)
    # The card does not reveal where files were.
    assert str(dataset.folder) not in json.dumps(card)


def test_an_altered_copy_is_refused_if_verified(
    exported: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    copy = tmp_path / "1"
    for file in exported.rglob("*"):
        target = copy / file.relative_to(exported)
        if file.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    (copy / "assets.extra" / "schema.yaml").write_text("name: another\n")
    with pytest.raises(ValueError, match=r"schema\.yaml: not the bytes that were exported"):
        Ranker.load(copy, verify=True)
    assert Ranker.load(copy).folder == copy
