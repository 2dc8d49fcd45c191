"""One loaded version of a model: a TensorFlow session, its signatures and its warm-up."""

from __future__ import annotations

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
DEFAULT_SIGNATURE = "serving_default"
logger = logging.getLogger(__name__)


class Servable:
    """A version ready to run. Make one with `Servable.load`.

    The graph runs in a session, as in TensorFlow Serving: it takes a timeout for each run, and
    closing it gives all memory back.

    Attributes:
      number: The version.
      folder: Where it was read from.
      signatures: What it can run, by name.
      meta: The graph's description, which metadata replies quote.
      users: Requests that hold it; it is closed when none does.
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
        # Each set of outputs is a graph of its own to TensorFlow, made ready in seconds and kept:
        # those of the warm-up, and all outputs together, however clients may choose.
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
        """The version in a folder.

        Args:
          number: The version.
          folder: A SavedModel.
          threads: For one op and for ops side by side; 0 leaves both to TensorFlow.

        Raises:
          OSError, ValueError, tf.errors.OpError: It cannot be loaded.
        """
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads
        )
        # A second pass over the graph makes no run faster, and loading twice as long.
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
        """A signature by name; the empty name is that of the default one.

        Raises:
          ServingError: There is none of that name.
        """
        key = name or DEFAULT_SIGNATURE
        if key not in self.signatures:
            known = ", ".join(sorted(self.signatures))
            raise ServingError(
                FAILED_PRECONDITION, f'Serving signature key "{key}" not found; there are {known}'
            )
        return self.signatures[key]

    def run(
        self,
        signature: str,
        tensors: Tensors,
        timeout: float | None = None,
        outputs: Iterable[str] = (),
    ) -> dict[str, np.ndarray]:
        """Runs one signature in the calling thread.

        Args:
          signature: Its name.
          tensors: Its inputs, which `Signature.check` has passed.
          timeout: Seconds after which TensorFlow gives up; None for none.
          outputs: Those wanted, all if none is named.

        Raises:
          ServingError: The graph refused the inputs, or the time was over.
        """
        given = self.signature(signature)
        wanted = given.select(outputs)
        found = self._fetch(given, tensors, wanted, timeout)
        return {name: found[name] for name in wanted}

    def _fetch(
        self, given: Signature, tensors: Tensors, wanted: Iterable[str], timeout: float | None
    ) -> dict[str, np.ndarray]:
        """The outputs wanted, or all if that set of them was not made ready."""
        key = given.name
        if (key, frozenset(wanted)) not in self._prepared:
            wanted = given.outputs
        fetches = {n: self._tensors[key, "out", n] for n in wanted}
        feeds = {self._tensors[key, "in", n]: value for n, value in tensors.items()}
        end = None if timeout is None else time.monotonic() + timeout
        try:
            try:
                return dict(self._session.run(fetches, feeds, options=_options(end)))
            except tf.errors.CancelledError:
                # Nobody cancels a run: an op failed, and one beside it, stopped for that, was told
                # of first. Once more, for the reason.
                return dict(self._session.run(fetches, feeds, options=_options(end)))
        except tf.errors.OpError as error:
            raise from_tensorflow(error) from None
        except (TypeError, ValueError) as error:  # a tensor that the runtime cannot take over
            raise ServingError(INVALID_ARGUMENT, f"signature {key}: {error}") from None

    def warm_up(
        self, stop: threading.Event | None = None, run: Callable[..., Any] | None = None
    ) -> int:
        """Runs the version's own warm-up requests, if it has any, and counts them.

        Args:
          stop: Ends it early once set.
          run: Calls what it is given; None for this thread.

        Raises:
          ServingError, ValueError, tf.errors.OpError: A record is broken, fails or is one too
            many. One is enough to refuse the version.
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
        """A logged request: its signature's name, inputs, and outputs wanted, all if none is."""
        kind = log.WhichOneof("log_type")
        if kind == "predict_log":
            request = log.predict_log.request
            name, outputs = request.model_spec.signature_name, list(request.output_filter)
            return name, from_protos(request.inputs), outputs
        if kind not in ("regress_log", "classify_log"):
            raise KeyError(f"{kind or 'empty'}; requests of Predict, Regress and Classify are run")
        request = getattr(log, kind).request
        signature = self.signature(request.model_spec.signature_name)
        check_signature(REGRESS if kind == "regress_log" else CLASSIFY, signature)
        return signature.name, serialized(examples_of(request.input), signature), []

    def close(self) -> None:
        """Gives the memory back; to be called when nobody runs it any more."""
        self._session.close()
        # Whoever has this object still, such as the one that closes it, has no graph by it.
        del self._session, self._tensors


def _options(end: float | None) -> tf.compat.v1.RunOptions | None:
    """Options of a run that TensorFlow ends at a time, by `time.monotonic()`."""
    if end is None:
        return None
    milliseconds = max(1, int(1000 * (end - time.monotonic())))
    return tf.compat.v1.RunOptions(timeout_in_ms=milliseconds)


def _load(session: tf.compat.v1.Session, folder: pathlib.Path) -> tf.compat.v1.MetaGraphDef:
    if not (folder / "saved_model.pb").is_file():
        raise FileNotFoundError(f"{folder}: holds no saved_model.pb")
    return tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(folder))


def describe(error: Exception) -> str:
    """One line about why a version could not be loaded."""
    if isinstance(error, tf.errors.OpError):
        error = from_tensorflow(error)
    return " ".join(str(error).split())[:500] or type(error).__name__
