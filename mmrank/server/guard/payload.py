"""What a request's tensors may ask of the model: bounded lists, and images bounded by header."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TypeGuard

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis.input_pb2 import ExampleListWithContext

from mmrank.data.image_bounds import MAX_SCANS, declared_pixels, image_problem
from mmrank.server.errors import INVALID_ARGUMENT, ServingError
from mmrank.server.guard.audit import note
from mmrank.server.guard.options import Limits

# A BMP is never larger than its file, and words may begin like one.
IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8")
SMALLEST = 24  # bytes; nothing shorter declares a size
# The signatures of serialized messages, by TF-Ranking's names, and what a row of each is.
LISTS, EXAMPLES = "tensorflow/serving/predict", "tensorflow/serving/regress"
MESSAGES = {LISTS: ExampleListWithContext, EXAMPLES: tf.train.Example}
# Inputs that only signatures over lists of items have, or over items one by one.
LISTED = frozenset({"items", "list_length"})
MEGA = 1_000_000


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
        if signature in MESSAGES:
            await asyncio.to_thread(self._messages, signature, tensors)  # they have to be parsed
            return
        lists, longest, total = _extent(tensors)
        self._candidates(lists, longest, total)
        values = (v for t in tensors.values() if t.dtype == object for v in t.flat)
        images = [v for v in values if _is_image(v)]
        if images:  # megabytes of headers, too long for the event loop
            await asyncio.to_thread(self._images, images)
        for name, tensor in tensors.items():
            # Of a single number that is not finite the graph makes an absent one.
            if tensor.ndim > 2 and tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
                raise _refused(f"input {name}: holds numbers that are not finite")

    def _messages(self, signature: str, tensors: Mapping[str, np.ndarray]) -> None:
        """Checks serialized lists, or examples that are lists of one, [B], and writes them anew."""
        kind, listed = MESSAGES[signature], signature == LISTS
        lengths, values = [], []
        for name, tensor in tensors.items():
            for row, data in enumerate(tensor.flat if tensor.dtype == object else ()):
                message = kind()
                try:
                    message.ParseFromString(data.encode() if isinstance(data, str) else data)
                except (DecodeError, TypeError, UnicodeEncodeError):
                    raise _refused(
                        f"input {name}: row {row} is no serialized {kind.__name__}"
                    ) from None
                # As it was read here: of two values of one feature TensorFlow would take the other.
                tensor.flat[row] = message.SerializeToString()
                lengths.append(len(message.examples) if listed else 1)
                for example in (message.context, *message.examples) if listed else (message,):
                    for feature in example.features.feature.values():
                        values.extend(feature.bytes_list.value)
        self._candidates(len(lengths), max(lengths, default=0), sum(lengths))
        self._images([value for value in values if _is_image(value)])

    def _candidates(self, lists: int, longest: int, total: int) -> None:
        note(lists=lists, candidates=total)
        most = self._limits.candidates
        if longest > most:
            raise _refused(f"{longest:,} candidates or events in one list; the most is {most:,}")
        most = self._limits.request_candidates
        if total > most:
            raise _refused(f"{total:,} candidates in one request; the most is {most:,}")

    def _images(self, images: Sequence[bytes]) -> None:
        pixels = 0
        largest = int(self._limits.image_megapixels * MEGA)
        for value in images:
            problem = image_problem(value, largest)
            if problem is not None:
                raise _refused(
                    f"an image is {problem}; send at most {self._limits.image_megapixels:g} "
                    f"megapixels, and JPEGs of at most {MAX_SCANS} scans"
                )
            pixels += declared_pixels(value)
        if pixels > self._limits.request_megapixels * MEGA:
            raise _refused(
                f"the images have {pixels / MEGA:.0f} megapixels together; the most of a request "
                f"is {self._limits.request_megapixels:g}"
            )


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
