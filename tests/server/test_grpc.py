"""The gRPC API through the plain stubs, on a model with known answers."""

from __future__ import annotations

import time
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


def request(signature: str = "", **inputs: Any) -> Any:
    made = predict_pb2.PredictRequest()
    made.model_spec.name = "ranker"
    made.model_spec.signature_name = signature
    for name, value in inputs.items():
        made.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return made


def refused(call: Any, *arguments: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        call(*arguments, timeout=20)
    return error.value.code(), error.value.details()


def test_predict(toy: Any) -> None:
    sent = request(x=np.array([[1, 2], [3, 4]], np.float32), text=["", "é"])
    reply = toy.predictions.Predict(sent, timeout=20)
    assert reply.model_spec.name == "ranker"
    assert reply.model_spec.version.value == 5
    assert reply.model_spec.signature_name == "serving_default"
    # Clients in other languages read the typed field.
    assert list(reply.outputs["y"].float_val) == [2, 4, 8, 10]
    assert [d.size for d in reply.outputs["y"].tensor_shape.dim] == [2, 2]
    assert list(reply.outputs["text_bytes"].string_val) == [b"", "é".encode()]


def test_outputs_can_be_chosen(toy: Any) -> None:
    sent = request(x=np.ones([1, 1], np.float32), text=["a"])
    sent.output_filter.append("y")
    assert list(toy.predictions.Predict(sent, timeout=20).outputs) == ["y"]
    sent.output_filter.append("y")
    code, said = refused(toy.predictions.Predict, sent)
    assert (code, said) == (INVALID, "duplicate output tensor alias: y")
    sent.output_filter[:] = ["z"]
    assert "not found in signature: z" in refused(toy.predictions.Predict, sent)[1]


def test_any_chosen_outputs_run_the_graph_of_all_outputs(toy: Any) -> None:
    servable = toy.server.service.servable()
    seen = []
    run = servable._session.run
    servable._session.run = lambda fetches, *rest, **more: (
        seen.append(sorted(fetches)) or run(fetches, *rest, **more)
    )
    sent = request(x=np.ones([1, 1], np.float32), text=["a"])
    for chosen in (["y"], ["text_bytes"], ["text_bytes", "y"], []):
        sent.output_filter[:] = chosen
        reply = toy.predictions.Predict(sent, timeout=20)
        assert set(reply.outputs) == set(chosen or ["text_bytes", "y"])
    servable._session.run = run
    assert seen == [["text_bytes", "y"]] * 4


def test_the_op_that_failed_is_reported_and_not_one_that_was_stopped(toy: Any) -> None:
    """TensorFlow may report, several times in a row, an op that it stopped because of another."""
    servable = toy.server.service.servable()
    run = servable._session.run
    stopped = 0

    def racing(*arguments: Any, **more: Any) -> Any:
        nonlocal stopped
        stopped += 1
        if stopped < 5:
            raise tf.errors.CancelledError(
                None, None, "Function was cancelled before it was started"
            )
        return run(*arguments, **more)

    servable._session.run = racing
    try:
        code, said = refused(toy.predictions.Predict, request("root", x=[-1.0]))
    finally:
        servable._session.run = run
    assert (code, stopped) == (INVALID, 5)
    assert "x is below 0" in said


def test_versions_and_labels(toy: Any) -> None:
    sent = request("root", x=np.array([9], np.float32))
    for number in (5, 0):
        sent.model_spec.version.value = number
        reply = toy.predictions.Predict(sent, timeout=20)
        assert reply.model_spec.version.value == 5
        assert list(reply.outputs["y"].float_val) == [3]
    sent.model_spec.version.value = 4
    assert refused(toy.predictions.Predict, sent) == (
        NOT_FOUND,
        "Servable not found for request: Specific(ranker, 4)",
    )
    sent.model_spec.version_label = "stable"
    assert list(toy.predictions.Predict(sent, timeout=20).outputs["y"].float_val) == [3]
    sent.model_spec.version_label = "canary"
    assert refused(toy.predictions.Predict, sent)[0] == INVALID


@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [
        (request("rot", x=[1.0]), grpc.StatusCode.FAILED_PRECONDITION, '"rot" not found'),
        (request("root"), INVALID, "Missing but required: {x}"),
        (request("root", x=[1.0], z=[1.0]), INVALID, "Sent extra: {z}"),
        (request("root", x=[1]), INVALID, "expected float32 [?], got int32"),
        (request("root", x=["1"]), INVALID, "got string"),
        (request("root", x=[[1.0]]), INVALID, "expected float32 [?], got 2 dimensions"),
        (request("root", x=np.zeros([0], np.float32)), INVALID, "the request has no rows"),
        (request("root", x=[-1.0]), INVALID, "x is below 0"),
        (
            request(x=np.ones([2, 1], np.float32), text=["a"]),
            INVALID,
            "send the same number of rows for each",
        ),
    ],
)
def test_wrong_requests(toy: Any, sent: Any, code: grpc.StatusCode, said: str) -> None:
    actual, details = refused(toy.predictions.Predict, sent)
    assert actual == code
    assert said in details


def test_tensors_with_a_wrong_shape_are_refused(toy: Any) -> None:
    def spoiled(**change: Any) -> str:
        sent = request("root", x=[1.0])
        proto = sent.inputs["x"]
        for dim in change.pop("dims", ()):
            proto.tensor_shape.dim[0].size = dim
        for name, value in change.items():
            setattr(proto, name, value)
        code, said = refused(toy.predictions.Predict, sent)
        assert code == INVALID
        return said

    # make_ndarray would expand one value to a shape of 4 GB.
    assert "send at most" in spoiled(dims=[1 << 30])
    assert "not fully known" in spoiled(dims=[-1])
    assert "input x" in spoiled(tensor_content=b"abc")
    assert "input x" in spoiled(dtype=0)
    assert "input x" in spoiled(dtype=99)


def test_metadata_and_status(toy: Any) -> None:
    asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name = "ranker"
    reply = toy.predictions.GetModelMetadata(asked, timeout=20)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    reply.metadata["signature_def"].Unpack(signatures)
    assert reply.model_spec.version.value == 5
    assert set(signatures.signature_def["serving_default"].inputs) == {"x", "text"}
    asked.metadata_field[:] = ["weights"]
    assert refused(toy.predictions.GetModelMetadata, asked)[0] == INVALID

    wanted = get_model_status_pb2.GetModelStatusRequest()
    wanted.model_spec.name = "ranker"
    (one,) = toy.models.GetModelStatus(wanted, timeout=20).model_version_status
    assert (one.version, one.state, one.status.error_code) == (5, one.AVAILABLE, 0)
    wanted.model_spec.name = "other"
    assert refused(toy.models.GetModelStatus, wanted)[0] == NOT_FOUND


def test_regress_and_classify_need_a_suitable_signature(toy: Any) -> None:
    for made, call, method in (
        (regression_pb2.RegressionRequest(), toy.predictions.Regress, "regress"),
        (classification_pb2.ClassificationRequest(), toy.predictions.Classify, "classify"),
    ):
        made.model_spec.name = "ranker"
        made.model_spec.signature_name = "root"
        assert refused(call, made) == (INVALID, "Input is empty.")
        made.input.example_list.examples.add()
        # The signature is judged by its inputs and outputs; its method name is ignored.
        assert refused(call, made) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            f"signature root has the inputs x and the outputs y, which {method} cannot use",
        )
    many = inference_pb2.MultiInferenceRequest()
    assert refused(toy.predictions.MultiInference, many)[0] == grpc.StatusCode.UNIMPLEMENTED


def test_a_passed_deadline_returns_deadline_exceeded(toy: Any) -> None:
    with pytest.raises(grpc.RpcError) as error:
        toy.predictions.Predict(request("spin", n=np.array([2**31 - 1], np.int32)), timeout=0.2)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert list(
        toy.predictions.Predict(request("root", x=[1.0]), timeout=20).outputs["y"].float_val
    ) == [1]


def test_a_text_repeated_by_the_shape_counts_each_time(toy: Any) -> None:
    sent = request(x=np.ones([2000, 1], np.float32), text=[b"x" * 10**6])
    sent.inputs["text"].tensor_shape.dim[0].size = 2000  # 2,000 times a megabyte: two gigabytes
    started = time.monotonic()
    code, said = refused(toy.predictions.Predict, sent)
    assert code == INVALID
    assert "would take 1,90" in said
    assert "the most is 512" in said
    assert time.monotonic() - started < 5


def test_parts_of_messages_are_counted_before_they_are_parsed(toy: Any) -> None:
    many = b"\x0a\x00" * 1_000_000  # examples without a feature
    size = b"\x80\x89\x7a"  # 2,000,000
    examples = b"\x0a" + size + many
    body = b"\x12" + b"\x84\x89\x7a" + examples  # 2,000,004
    wanted = regression_pb2.RegressionRequest.FromString(body)
    assert len(wanted.input.example_list.examples) == 1_000_000
    regress = toy.channel.unary_unary("/tensorflow.serving.PredictionService/Regress")
    code, said = refused(regress, body)
    assert (code, "more than 20,000 parts" in said) == (INVALID, True), said
    predict = toy.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    code, said = refused(predict, b"\x12\x00" * 100_000)
    assert (code, "more than 1,000 parts" in said) == (INVALID, True), said
