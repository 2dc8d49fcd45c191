"""Checks a request's tensors: bounded lists, images bounded by their headers, finite embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis.input_pb2 import ExampleListWithContext

from mmrank.data.image_bounds import MAX_SCANS, image_cost
from mmrank.server.errors import INVALID_ARGUMENT, ServingError
from mmrank.server.guard.audit import note
from mmrank.server.guard.budget import MEGA, Budget
from mmrank.server.guard.options import Limits
from mmrank.server.guard.wire import (
    EXAMPLE_VALUES,
    LIST_VALUES,
    TooManyParts,
    check_parts,
    check_values,
)
from mmrank.server.off_loop import on_thread, run_inline_or_in_thread

# BMP is left out: its pixels never take more than its file, and ordinary text may begin like it.
IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8")
SMALLEST = 24  # bytes; nothing shorter declares a size
# The signatures of serialized messages, by TF-Ranking's names, and what a row of each is.
LISTS, EXAMPLES = "tensorflow/serving/predict", "tensorflow/serving/regress"
MESSAGES = {LISTS: ExampleListWithContext, EXAMPLES: tf.train.Example}
# Inputs that only signatures over lists of items, or over ids of items to look up, have.
LISTED = frozenset({"items", "list_length"})
# Of more texts than this, the bytes are not counted on the event loop, but estimated.
COUNTED, VALUE_BYTES = 1 << 12, 8
NUMBERS = 64  # bytes of numbers that NumPy checks in the time of one byte of text
# Most features of an example. A list may have more: one for each FEATURE_BYTES of its message.
MANY_FEATURES, FEATURE_BYTES = 10_000, 16


class PayloadCheck:
    """Checks the inputs of a signature, and notes their number for the audit log.

    Args:
      limits: See `Limits`.
    """

    def __init__(self, limits: Limits):
        self._limits = limits

    async def __call__(self, signature: str, tensors: Mapping[str, np.ndarray]) -> None:
        """Checks that the tensors are within the limits.

        Args:
          signature: The signature's name.
          tensors: Inputs by name, of any types and shapes. Serialized messages are replaced, in
            place, by the form that was checked.

        Raises:
          ServingError: There are too many candidates, an image is too large by its header, an
            embedding is not finite, or a serialized message is invalid.
        """
        # Serialized messages take long whatever their size: a short one may hold many parts.
        run = on_thread if signature in MESSAGES else run_inline_or_in_thread
        await run(_effort(tensors), self._check, signature, tensors)

    def _check(self, signature: str, tensors: Mapping[str, np.ndarray]) -> None:
        budget = Budget(self._limits)
        if signature in MESSAGES:
            self._messages(signature, tensors, budget)
            return
        lists, longest, total = _extent(tensors)
        note(lists=lists, candidates=total)
        self._candidates(longest, total, budget)
        budget.take("memory", sum(map(_bytes_of, tensors.values())))
        values = (v for t in tensors.values() if t.dtype == object for v in t.flat)
        self._images((v for v in values if _is_image(v)), budget)
        for name, tensor in tensors.items():
            # Single numbers that are not finite become missing values in the graph.
            if tensor.ndim > 2 and tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
                raise _refused(f"input {name}: holds numbers that are not finite")

    def _messages(self, signature: str, tensors: Mapping[str, np.ndarray], budget: Budget) -> None:
        """Checks serialized lists [B], or examples [B] (lists of one); serializes them again."""
        kind, listed = MESSAGES[signature], signature == LISTS
        rows = [(n, t, r) for n, t in tensors.items() if t.dtype == object for r in range(t.size)]
        if not listed:
            self._candidates(1, len(rows), budget)
        lengths = []
        try:
            for name, tensor, row in rows:
                message = self._parsed(kind, tensor.flat[row])
                if message is None:
                    raise _refused(f"input {name}: row {row} is not a serialized {kind.__name__}")
                # Serialized as read here: if a feature is given twice, TensorFlow would use the
                # other value than this parser.
                tensor.flat[row] = message.SerializeToString()
                examples = (message.context, *message.examples) if listed else (message,)
                lengths.append(len(examples) - 1 if listed else 1)
                if listed:
                    self._candidates(lengths[-1], lengths[-1], budget)
                features = (f for e in examples for f in e.features.feature.values())
                values = (v for f in features for v in f.bytes_list.value)
                self._images((v for v in values if _is_image(v)), budget)
        finally:
            note(lists=len(lengths), candidates=sum(lengths))

    def _parsed(self, kind: Any, data: Any) -> Any:
        """Returns the message in some bytes; None if they are not a message."""
        try:
            raw = data.encode() if isinstance(data, str) else data
            if kind is ExampleListWithContext:
                check_parts(raw, (1,), self._limits.request_candidates)
                most = max(MANY_FEATURES, len(raw) // FEATURE_BYTES)
                check_parts(raw, (1, 1, 1), most)
            elif len(raw) > MANY_FEATURES:
                check_parts(raw, (1, 1), MANY_FEATURES)
            check_values(raw, LIST_VALUES if kind is ExampleListWithContext else EXAMPLE_VALUES)
            message = kind()
            message.ParseFromString(raw)
        except (DecodeError, TypeError, UnicodeEncodeError):
            return None
        except TooManyParts as error:
            raise _refused(str(error)) from None
        return message

    def _candidates(self, longest: int, total: int, budget: Budget) -> None:
        most = self._limits.candidates
        if longest > most:
            raise _refused(f"{longest:,} candidates or events in one list; the most is {most:,}")
        budget.take("candidates", total)

    def _images(self, images: Iterable[bytes], budget: Budget) -> None:
        for value in images:
            budget.take("files", 1)
            take_image(value, self._limits, budget)


def take_image(data: bytes, limits: Limits, budget: Budget) -> int:
    """Returns the cost of decoding an image in pixels, by its header; adds it to a budget.

    Raises:
      ServingError: The image is too large alone, or together with those before it.
    """
    pixels, problem = image_cost(data, int(limits.image_megapixels * MEGA))
    if problem is not None:
        raise _refused(
            f"an image is {problem}; send at most {limits.image_megapixels:g} megapixels, and "
            f"JPEGs of at most {MAX_SCANS} scans"
        )
    budget.take("pixels", pixels)
    return pixels


def _effort(tensors: Mapping[str, np.ndarray]) -> int:
    """Returns the bytes of text whose check takes as long as that of some tensors."""
    texts = [t for t in tensors.values() if t.dtype == object]
    numbers = sum(t.nbytes for t in tensors.values() if t.dtype != object)
    values = sum(t.size for t in texts)
    size = VALUE_BYTES * values if values > COUNTED else sum(map(_bytes_of, texts))
    return size + numbers // NUMBERS


def _bytes_of(tensor: np.ndarray) -> int:
    """Returns the bytes that a tensor takes in TensorFlow, which stores equal texts separately."""
    if tensor.dtype != object:
        return int(tensor.nbytes)
    return sum(len(v) for v in tensor.flat if isinstance(v, (bytes, str))) + 24 * tensor.size


def _is_image(value: object) -> TypeGuard[bytes]:
    return isinstance(value, bytes) and len(value) >= SMALLEST and value.startswith(IMAGES)


def _extent(tensors: Mapping[str, np.ndarray]) -> tuple[int, int, int]:
    """Returns the numbers of lists, of entries in the longest list, and of entries in all lists.

    Entries are candidates or events, including padding.
    """
    shapes = [t.shape for t in tensors.values() if t.ndim]
    rows = max((s[0] for s in shapes), default=0)
    if not LISTED & tensors.keys():  # single items, or a model that is not a ranker
        return rows, 0, rows
    columns = max((s[1] for s in shapes if len(s) > 1), default=0)
    return rows, columns, rows * max(columns, 1)  # each item to look up counts as one


def _refused(message: str) -> ServingError:
    return ServingError(INVALID_ARGUMENT, message)
