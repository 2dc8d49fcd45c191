"""Classify and regress, on a model with signatures for both."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, regression_pb2

from mmrank.server.examples import CONTEXT_BYTES


class Judge(tf.Module):
    """value = a + 10 · b of an example; class `high` has the score value, class `low` −value."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def regress(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """A signature of one output."""
        return {"outputs": self._value(examples)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def classify(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """A signature of classes and scores."""
        value = self._value(examples)
        labels = tf.tile([["low", "high"]], [tf.shape(value)[0], 1])
        return {"classes": labels, "scores": tf.concat([-value, value], 1)}

    def _value(self, examples: tf.Tensor) -> tf.Tensor:
        kinds = {n: tf.io.FixedLenFeature([1], tf.float32, 0.0) for n in ("a", "b")}
        read = tf.io.parse_example(examples, kinds)
        return read["a"] + 10 * read["b"]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory, serve_for_module: Callable[..., Any]) -> Any:
    folder = tmp_path_factory.mktemp("judge") / "1"
    model = Judge()
    signatures = {"regress": model.regress, "classify": model.classify}
    tf.saved_model.save(model, str(folder), signatures=signatures)
    _name_methods(folder, tuple(signatures))
    return serve_for_module(folder.parent)


def _name_methods(folder: pathlib.Path, names: tuple[str, ...]) -> None:
    """Renames the methods of signatures, which are saved as Predict but selected by method name."""
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(folder))
    for name in names:
        updater.replace_method_name(name, f"tensorflow/serving/{name}", tags="serve")
    updater.save()


def test_regress(judge: Any) -> None:
    body = {
        "signature_name": "regress",
        "context": {"b": 2.0},
        "examples": [{"a": 1.0}, {"a": 3.0, "b": 0.5}],
    }
    reply = judge.http.post("/v1/models/ranker:regress", json=body)
    assert reply.json() == {"results": [21.0, 8.0]}

    sent = regression_pb2.RegressionRequest()
    sent.model_spec.name, sent.model_spec.signature_name = "ranker", "regress"
    given = sent.input.example_list_with_context
    given.context.features.feature["b"].float_list.value.append(2.0)
    given.examples.add().features.feature["a"].float_list.value.append(1.0)
    reply = judge.predictions.Regress(sent, timeout=20)
    assert [r.value for r in reply.result.regressions] == [21.0]


def test_classify(judge: Any) -> None:
    body = {"signature_name": "classify", "examples": [{"a": 1.0}, {"b": 1.0}]}
    reply = judge.http.post("/v1/models/ranker:classify", json=body)
    assert reply.json() == {
        "results": [[["low", -1.0], ["high", 1.0]], [["low", -10.0], ["high", 10.0]]]
    }
    sent = classification_pb2.ClassificationRequest()
    sent.model_spec.name, sent.model_spec.signature_name = "ranker", "classify"
    sent.input.example_list.examples.add().features.feature["a"].float_list.value.append(4.0)
    (one,) = judge.predictions.Classify(sent, timeout=20).result.classifications
    assert [(c.label, c.score) for c in one.classes] == [("low", -4.0), ("high", 4.0)]


@pytest.mark.parametrize(
    ("method", "body", "said"),
    [
        ("regress", {"examples": [{}]}, 'key "serving_default" not found'),
        ("regress", {"signature_name": "classify", "examples": [{}]}, "which regress cannot"),
        ("regress", {"signature_name": "regress"}, "key 'examples' is expected"),
        ("regress", {"signature_name": "regress", "examples": []}, "key 'examples' is expected"),
        ("regress", {"signature_name": "regress", "examples": [3]}, "must be JSON object"),
        ("regress", {"signature_name": "regress", "examples": [{"a": None}]}, "feature a"),
        ("regress", {"signature_name": "regress", "examples": [{"a": [[1.0]]}]}, "feature a"),
        ("regress", {"signature_name": "regress", "examples": [{"a": [1, 2.5]}]}, "feature a"),
        ("regress", {"signature_name": "regress", "examples": [{"a": "x"}]}, "a"),
    ],
)
def test_wrong_requests(judge: Any, method: str, body: dict[str, Any], said: str) -> None:
    reply = judge.http.post(f"/v1/models/ranker:{method}", json=body)
    assert reply.status_code == 400, reply.text
    assert said in reply.json()["error"]


def test_a_context_for_too_many_examples(judge: Any) -> None:
    words, count = "x" * (CONTEXT_BYTES // 1000), 1000
    body = {"signature_name": "regress", "context": {"c": words}, "examples": [{}] * count}
    reply = judge.http.post("/v1/models/ranker:regress", json=body)
    assert reply.status_code == 400
    assert "for each of 1,000 examples" in reply.json()["error"]
    assert judge.http.post(
        "/v1/models/ranker:regress", json=body | {"examples": [{}] * 10}
    ).json() == {"results": [0.0] * 10}

    sent = regression_pb2.RegressionRequest()
    sent.model_spec.name, sent.model_spec.signature_name = "ranker", "regress"
    given = sent.input.example_list_with_context
    given.context.features.feature["c"].bytes_list.value.append(words.encode())
    for _ in range(count):
        given.examples.add()
    with pytest.raises(grpc.RpcError) as error:
        judge.predictions.Regress(sent, timeout=20)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "for each of 1,000 examples" in error.value.details()
