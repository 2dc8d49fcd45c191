"""TensorFlow Serving's gRPC services: PredictionService and ModelService."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from mmrank.server.errors import CANCELLED, UNIMPLEMENTED, ServingError, from_exception
from mmrank.server.examples import (
    CLASSIFY,
    REGRESS,
    check_signature,
    classes_of,
    examples_of,
    serialized,
    values_of,
)
from mmrank.server.metadata import metadata_message, model_spec, status_message
from mmrank.server.models import ModelService
from mmrank.server.off_loop import on_thread, run_inline_or_in_thread
from mmrank.server.proto_tensors import (
    elements_of,
    from_protos,
    message_size,
    serialized_field,
    serialized_tensor,
)
from mmrank.server.reload import requested_model
from mmrank.server.signature import Signature, Tensors

_PREDICTIONS = "tensorflow.serving.PredictionService"
logger = logging.getLogger(__name__)
Options = Sequence[tuple[str, Any]]


def build_grpc_server(
    service: ModelService, *, interceptors: Sequence[Any] = (), options: Options = ()
) -> grpc.aio.Server:
    """Returns the server with both services, without a port yet.

    Args:
      service: The model.
      interceptors: Interceptors of `grpc.aio`, from the outermost to the innermost.
      options: Options of the channel, such as ("grpc.max_receive_message_length", bytes).
    """
    server = grpc.aio.server(interceptors=list(interceptors), options=list(options))
    predictions = _Predictions(service)
    # Before the generated handler of the same method, which would serialize on the event loop.
    predict = grpc.unary_unary_rpc_method_handler(
        predictions.Predict, predict_pb2.PredictRequest.FromString, bytes
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(_PREDICTIONS, {"Predict": predict}),)
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(predictions, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(service), server)
    return server


Method = Callable[[Any, Any, Any], Awaitable[tuple[int | None, Any]]]


def _answered(name: str) -> Callable[[Method], Any]:
    """Returns a decorator: errors are sent with their codes, and calls are counted under `name`."""

    def decorate(method: Method) -> Any:
        @functools.wraps(method)
        async def answer(self: Any, request: Any, context: grpc.aio.ServicerContext) -> Any:
            started = time.monotonic()
            version: int | None = None
            code = CANCELLED  # unless the call completes
            try:
                version, reply = await method(self, request, context)
                code = "OK"
                return reply
            except Exception as error:  # noqa: BLE001 - reported to the client and logged
                failure = from_exception(error)
                code = failure.code
                if not isinstance(error, ServingError):
                    logger.exception("%s", name, exc_info=error)
                await context.abort(failure.grpc_code, failure.message)
            finally:
                self.service.metrics.request(
                    request.model_spec.name
                    if hasattr(request, "model_spec")
                    else self.service.name,
                    version,
                    name,
                    code,
                    time.monotonic() - started,
                    "GRPC",
                )

        return answer

    return decorate


class _Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, Classify, Regress and GetModelMetadata; MultiInference is not supported."""

    def __init__(self, service: ModelService):
        self.service = service

    @_answered("Predict")
    async def Predict(self, request: Any, context: Any) -> tuple[int, bytes]:
        async def read(signature: Signature) -> Any:
            count = elements_of(request.inputs, signature, self.service.request_bytes)
            return await run_inline_or_in_thread(
                max(_size(request), count), from_protos, request.inputs
            )

        signature, version, outputs = await self._run(request, context, read, request.output_filter)
        size = sum(value.nbytes for value in outputs.values())
        spec = model_spec(self.service.name, version, signature)
        return version, await run_inline_or_in_thread(size, _predicted, spec, outputs)

    @_answered("Classify")
    async def Classify(self, request: Any, context: Any) -> tuple[int, Any]:
        signature, version, outputs, count = await self._run_examples(CLASSIFY, request, context)
        reply = classification_pb2.ClassificationResponse(
            model_spec=model_spec(self.service.name, version, signature)
        )
        for classes in classes_of(outputs, count):
            one = reply.result.classifications.add()
            for label, score in classes:
                one.classes.add(label=label, score=score)
        return version, reply

    @_answered("Regress")
    async def Regress(self, request: Any, context: Any) -> tuple[int, Any]:
        signature, version, outputs, count = await self._run_examples(REGRESS, request, context)
        reply = regression_pb2.RegressionResponse(
            model_spec=model_spec(self.service.name, version, signature)
        )
        for value in values_of(outputs, count):
            reply.result.regressions.add(value=value)
        return version, reply

    @_answered("GetModelMetadata")
    async def GetModelMetadata(self, request: Any, context: Any) -> tuple[int, Any]:
        self.service.check_name(request.model_spec.name)
        servable = self.service.servable(**_choice(request.model_spec))
        reply = metadata_message(self.service.name, servable, request.metadata_field)
        return servable.number, reply

    @_answered("MultiInference")
    async def MultiInference(self, request: Any, context: Any) -> tuple[int, Any]:
        raise ServingError(UNIMPLEMENTED, "MultiInference is not supported; send single requests")

    async def _run_examples(
        self, method: str, request: Any, context: Any
    ) -> tuple[str, int, Any, int]:
        """Returns the results of `_run`, and the number of examples."""
        count = 0

        async def read(signature: Signature) -> Any:
            nonlocal count
            # On a thread, whatever the size: a short request may hold many examples.
            examples = await on_thread(_size(request), examples_of, request.input)
            check_signature(method, signature)
            count = len(examples)
            return await on_thread(_size(request), serialized, examples, signature)

        return *await self._run(request, context, read), count

    async def _run(
        self,
        request: Any,
        context: Any,
        read: Callable[[Signature], Awaitable[Any]],
        outputs: Sequence[str] = (),
    ) -> tuple[str, int, Any]:
        spec = request.model_spec
        self.service.check_name(spec.name)
        with self.service.hold(**_choice(spec)) as servable:
            signature = servable.signature(spec.signature_name)
            given = await self.service.run_on(
                servable,
                signature.name,
                await read(signature),
                deadline=self._deadline(context),
                outputs=outputs,
            )
        return signature.name, servable.number, given

    def _deadline(self, context: Any) -> float:
        left = context.time_remaining()
        most = self.service.timeout
        return time.monotonic() + (most if left is None else min(most, left))


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, service: ModelService):
        self.service = service

    @_answered("GetModelStatus")
    async def GetModelStatus(self, request: Any, context: Any) -> tuple[None, Any]:
        spec = request.model_spec
        return None, status_message(self.service.status(spec.name, **_choice(spec)))

    @_answered("HandleReloadConfigRequest")
    async def HandleReloadConfigRequest(self, request: Any, context: Any) -> tuple[None, Any]:
        await self.service.assign(requested_model(request, self.service.model))
        return None, model_management_pb2.ReloadConfigResponse()


def _predicted(spec: Any, outputs: Tensors) -> bytes:
    """Returns a serialized PredictResponse."""
    reply = predict_pb2.PredictResponse
    parts = serialized_field(reply.MODEL_SPEC_FIELD_NUMBER, [spec.SerializeToString()])
    for name, value in outputs.items():
        entry = serialized_field(1, [name.encode()]) + serialized_field(2, serialized_tensor(value))
        parts += serialized_field(reply.OUTPUTS_FIELD_NUMBER, entry)
    return b"".join(parts)  # of bytes alone, so that other threads run meanwhile


def _size(request: Any) -> int:
    """Returns the bytes of a request's message."""
    size = message_size.get(None)
    return int(request.ByteSize()) if size is None else size


def _choice(spec: Any) -> dict[str, Any]:
    """Returns the version and the label in a ModelSpec, as arguments; None where missing."""
    return {
        "version": spec.version.value if spec.HasField("version") else None,
        "label": spec.version_label if spec.HasField("version_label") else None,
    }
