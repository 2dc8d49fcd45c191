"""One loaded version of a model: a TensorFlow session, its signatures and its warm-up."""

from __future__ import annotations

import contextlib
import functools
import logging
import pathlib
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the ops of the tokenizer in the graph
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
from tensorflow_serving.apis import prediction_log_pb2

from mmrank.server.errors import (
    FAILED_PRECONDITION,
    INVALID_ARGUMENT,
    ServingError,
    from_tensorflow,
)
from mmrank.server.examples import (
    CLASSIFY,
    REGRESS,
    check_signature,
    examples_of,
    serialized,
)
from mmrank.server.proto_tensors import from_protos
from mmrank.server.signature import Signature, Tensors, signatures_of

WARM_UP = pathlib.PurePath("assets.extra", "tf_serving_warmup_requests")
MOST_WARM_UPS = 1000  # as in TensorFlow Serving
CANCELLED_RUNS = 5  # that are repeated, until TensorFlow reports the op that failed
DEFAULT_SIGNATURE = "serving_default"
logger = logging.getLogger(__name__)


class Servable:
    """A version that is ready to run. Make one with `Servable.load`.

    The graph runs in a session, as in TensorFlow Serving: each run can have a timeout, and closing
    the session frees all memory.

    Attributes:
      number: The version.
      folder: The folder it was read from.
      signatures: Its signatures by name.
      meta: The graph's description, from which metadata replies are made.
      users: Number of requests that hold it; it is closed only when this is 0.
    """

    def __init__(
        self,
        number: int,
        folder: pathlib.Path,
        session: tf.compat.v1.Session,
        meta: tf.compat.v1.MetaGraphDef,
    ):
        self.number, self.folder, self.meta = number, folder, meta
        self.signatures = signatures_of(meta)
        self.users = 0
        self._session = session
        # TensorFlow prepares a separate graph for each set of outputs, which takes seconds, and
        # keeps it. To bound their number, only the sets in the warm-up and the set of all outputs
        # are run, whatever outputs clients request.
        self._prepared: set[tuple[str, frozenset[str]]] = set()
        graph = session.graph
        self._tensors = {
            (key, side, name): graph.get_tensor_by_name(info.tensor)
            for key, signature in self.signatures.items()
            for side, infos in (("in", signature.inputs), ("out", signature.outputs))
            for name, info in infos.items()
        }

    @classmethod
    def load(cls, number: int, folder: pathlib.Path, threads: int = 0) -> Servable:
        """Returns the version in a folder.

        Args:
          number: The version.
          folder: A SavedModel.
          threads: Number of threads within an op, and for concurrent ops; 0 leaves both to
            TensorFlow.

        Raises:
          OSError, ValueError, tf.errors.OpError: The version cannot be loaded.
        """
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads
        )
        # A second optimization pass would not make runs faster, but would double the loading time.
        rewrites = config.graph_options.rewrite_options
        rewrites.meta_optimizer_iterations = RewriterConfig.ONE
        graph = tf.Graph()
        session = tf.compat.v1.Session(graph=graph, config=config)
        try:
            with graph.as_default():
                meta = _load(session, folder)
            graph.finalize()
            return cls(number, folder, session, meta)
        except BaseException:
            session.close()
            raise

    def signature(self, name: str) -> Signature:
        """Returns a signature by name, or the default signature if the name is empty.

        Raises:
          ServingError: The signature does not exist.
        """
        key = name or DEFAULT_SIGNATURE
        if key not in self.signatures:
            known = ", ".join(sorted(self.signatures))
            raise ServingError(
                FAILED_PRECONDITION, f'Serving signature key "{key}" not found; known: {known}'
            )
        return self.signatures[key]

    def run(
        self,
        signature: str,
        tensors: Tensors,
        timeout: float | None = None,
        outputs: Iterable[str] = (),
    ) -> dict[str, np.ndarray]:
        """Runs one signature on the calling thread and returns its outputs by name.

        Args:
          signature: Its name.
          tensors: Its inputs, already checked by `Signature.check`.
          timeout: Seconds after which TensorFlow gives up; None for no timeout.
          outputs: Names of the wanted outputs; all outputs if empty.

        Raises:
          ServingError: The graph refused the inputs, or the timeout passed.
        """
        given = self.signature(signature)
        wanted = given.select(outputs)
        found = self._fetch(given, tensors, wanted, timeout)
        return {name: found[name] for name in wanted}

    def _fetch(
        self, given: Signature, tensors: Tensors, wanted: Iterable[str], timeout: float | None
    ) -> dict[str, np.ndarray]:
        """Returns the wanted outputs, or all outputs if the wanted set was not prepared."""
        key = given.name
        if (key, frozenset(wanted)) not in self._prepared:
            wanted = given.outputs
        fetches = {n: self._tensors[key, "out", n] for n in wanted}
        feeds = {self._tensors[key, "in", n]: value for n, value in tensors.items()}
        end = None if timeout is None else time.monotonic() + timeout
        try:
            for _ in range(CANCELLED_RUNS):
                # The server never cancels a run. An op failed, TensorFlow stopped other ops, and
                # reported one of those first. The run is repeated to get the real error.
                with contextlib.suppress(tf.errors.CancelledError):
                    return dict(self._session.run(fetches, feeds, options=_options(end)))
            return dict(self._session.run(fetches, feeds, options=_options(end)))
        except tf.errors.OpError as error:
            raise from_tensorflow(error) from None
        except (TypeError, ValueError) as error:  # a tensor that the runtime cannot convert
            raise ServingError(INVALID_ARGUMENT, f"signature {key}: {error}") from None

    def warm_up(
        self, stop: threading.Event | None = None, run: Callable[..., Any] | None = None
    ) -> int:
        """Runs the version's own warm-up requests, if it has any, and returns their number.

        Args:
          stop: Ends the warm-up early once set.
          run: Runs each request, given as a function; None to run it on this thread.

        Raises:
          ServingError, ValueError, tf.errors.OpError: A record is broken or fails, or there are
            too many records. A single such record makes the server refuse the version.
        """
        file = self.folder / WARM_UP
        if not file.is_file():
            return 0
        count = 0
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            if stop is not None and stop.is_set():
                break
            if count == MOST_WARM_UPS:
                raise ValueError(f"{file}: more than {MOST_WARM_UPS} records")
            log = prediction_log_pb2.PredictionLog.FromString(record)
            try:
                name, inputs, wanted = self._logged(log)
            except KeyError as error:
                raise ValueError(f"{file}: record {count} is {error.args[0]}") from None
            signature = self.signature(name)
            signature.check(inputs)
            outputs = signature.select(wanted)
            self._prepared.add((signature.name, frozenset(outputs)))
            step = functools.partial(self.run, signature.name, inputs, outputs=outputs)
            step() if run is None else run(step)
            count += 1
        return count

    def _logged(self, log: Any) -> tuple[str, dict[str, np.ndarray], list[str]]:
        """Returns a logged request's signature name, inputs and wanted outputs (all if empty)."""
        kind = log.WhichOneof("log_type")
        if kind == "predict_log":
            request = log.predict_log.request
            name, outputs = request.model_spec.signature_name, list(request.output_filter)
            return name, from_protos(request.inputs), outputs
        if kind not in ("regress_log", "classify_log"):
            raise KeyError(
                f"{kind or 'empty'}; only requests of Predict, Regress and Classify are run"
            )
        request = getattr(log, kind).request
        signature = self.signature(request.model_spec.signature_name)
        check_signature(REGRESS if kind == "regress_log" else CLASSIFY, signature)
        return signature.name, serialized(examples_of(request.input), signature), []

    def close(self) -> None:
        """Frees the memory; to be called after the last run."""
        self._session.close()
        # Code that still refers to this object, such as the caller, does not keep the graph alive.
        del self._session, self._tensors


def _options(end: float | None) -> tf.compat.v1.RunOptions | None:
    """Returns options by which TensorFlow ends a run at a time of the clock `time.monotonic()`."""
    if end is None:
        return None
    milliseconds = max(1, int(1000 * (end - time.monotonic())))
    return tf.compat.v1.RunOptions(timeout_in_ms=milliseconds)


def _load(session: tf.compat.v1.Session, folder: pathlib.Path) -> tf.compat.v1.MetaGraphDef:
    if not (folder / "saved_model.pb").is_file():
        raise FileNotFoundError(f"{folder}: holds no saved_model.pb")
    return tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(folder))


def describe(error: Exception) -> str:
    """Returns one line that says why a version could not be loaded."""
    if isinstance(error, tf.errors.OpError):
        error = from_tensorflow(error)
    return " ".join(str(error).split())[:500] or type(error).__name__
