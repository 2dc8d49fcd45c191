"""What a request's tensors may ask of the model: bounded lists, and images bounded by header."""

from __future__ import annotations

import asyncio
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
from mmrank.server.guard.wire import TooManyParts, check_parts

# A BMP is never larger than its file, and words may begin like one.
IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8")
SMALLEST = 24  # bytes; nothing shorter declares a size
# The signatures of serialized messages, by TF-Ranking's names, and what a row of each is.
LISTS, EXAMPLES = "tensorflow/serving/predict", "tensorflow/serving/regress"
MESSAGES = {LISTS: ExampleListWithContext, EXAMPLES: tf.train.Example}
# Inputs that only signatures over lists of items have, or over items one by one.
LISTED = frozenset({"items", "list_length"})
# What is larger is looked through on a thread.
INLINE_VALUES, INLINE_BYTES = 1 << 12, 1 << 15
# Features of an example, and of a list one for so many of its bytes.
MANY_FEATURES, FEATURE_BYTES = 10_000, 16


class PayloadCheck:
    """Checks the inputs of a signature, and notes their number for the audit log.

    Args:
      limits: See there.
    """

    def __init__(self, limits: Limits):
        self._limits = limits

    async def __call__(self, signature: str, tensors: Mapping[str, np.ndarray]) -> None:
        """Nothing, if the tensors are within the limits.

        Args:
          signature: Its name.
          tensors: Inputs by name, of any types and shapes. Serialized messages are put in the
            form in which they were checked.

        Raises:
          ServingError: There are too many candidates, an image is too large by its header, an
            embedding is not finite, or a serialized message is none.
        """
        if signature in MESSAGES or not _is_small(tensors):  # too long for the event loop
            await asyncio.to_thread(self._check, signature, tensors)
        else:
            self._check(signature, tensors)

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
            # Of a single number that is not finite the graph makes an absent one.
            if tensor.ndim > 2 and tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
                raise _refused(f"input {name}: holds numbers that are not finite")

    def _messages(self, signature: str, tensors: Mapping[str, np.ndarray], budget: Budget) -> None:
        """Checks serialized lists, or examples that are lists of one, [B], and writes them anew."""
        kind, listed = MESSAGES[signature], signature == LISTS
        rows = [(n, t, r) for n, t in tensors.items() if t.dtype == object for r in range(t.size)]
        if not listed:
            self._candidates(1, len(rows), budget)
        lengths = []
        try:
            for name, tensor, row in rows:
                message = self._parsed(kind, tensor.flat[row])
                if message is None:
                    raise _refused(f"input {name}: row {row} is no serialized {kind.__name__}")
                # As it was read here: of two values of one feature TensorFlow takes the other.
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
        """The message in some bytes; None if it is none."""
        try:
            raw = data.encode() if isinstance(data, str) else data
            if kind is ExampleListWithContext:
                check_parts(raw, (1,), self._limits.request_candidates)
                most = max(MANY_FEATURES, len(raw) // FEATURE_BYTES)
                check_parts(raw, (1, 1, 1), most)
            elif len(raw) > MANY_FEATURES:
                check_parts(raw, (1, 1), MANY_FEATURES)
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
    """What decoding an image costs in pixels, by its header, once it is taken from a budget.

    Raises:
      ServingError: It is too large by itself, or with those before it.
    """
    pixels, problem = image_cost(data, int(limits.image_megapixels * MEGA))
    if problem is not None:
        raise _refused(
            f"an image is {problem}; send at most {limits.image_megapixels:g} megapixels, and "
            f"JPEGs of at most {MAX_SCANS} scans"
        )
    budget.take("pixels", pixels)
    return pixels


def _is_small(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether looking through some tensors takes less than a millisecond or two."""
    if sum(t.size for t in tensors.values()) > INLINE_VALUES:
        return False
    return sum(map(_bytes_of, tensors.values())) <= INLINE_BYTES


def _bytes_of(tensor: np.ndarray) -> int:
    """What a tensor takes, each text counted where it stands, as TensorFlow will hold it."""
    if tensor.dtype != object:
        return int(tensor.nbytes)
    return sum(len(v) for v in tensor.flat if isinstance(v, (bytes, str))) + 24 * tensor.size


def _is_image(value: object) -> TypeGuard[bytes]:
    return isinstance(value, bytes) and len(value) >= SMALLEST and value.startswith(IMAGES)


def _extent(tensors: Mapping[str, np.ndarray]) -> tuple[int, int, int]:
    """Lists, the longest one's candidates or events, and all of them, padding included."""
    shapes = [t.shape for t in tensors.values() if t.ndim]
    rows = max((s[0] for s in shapes), default=0)
    if not LISTED & tensors.keys():  # items one by one, or a model that is no ranker
        return rows, 0, rows
    columns = max((s[1] for s in shapes if len(s) > 1), default=0)
    return rows, columns, rows * max(columns, 1)  # items to look up are one each


def _refused(message: str) -> ServingError:
    return ServingError(INVALID_ARGUMENT, message)
