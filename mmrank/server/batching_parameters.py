"""Batching parameters, from the server's config or from a file of TensorFlow Serving's format."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from mmrank.config import ConfigError

_WRAPPED = {
    "max_batch_size": 1,
    "batch_timeout_micros": 2,
    "max_enqueued_batches": 3,
    "num_batch_threads": 4,
}


@dataclasses.dataclass(frozen=True)
class Batching:
    """How requests are combined into batches, by TensorFlow Serving's batching parameters.

    Attributes:
      file: A file of BatchingParameters in protobuf's text format; its values replace those given
        here. `auto` reads the file in the newest export, which was made for TensorFlow Serving.
      max_batch_size: Most rows of a batch; 1 turns batching off. A larger request runs alone.
      batch_timeout_micros: How long (microseconds) a batch that is not full waits for more
        requests although a thread is free.
      max_enqueued_batches: How many batches may wait; further requests are refused with
        RESOURCE_EXHAUSTED (429).
      num_batch_threads: Number of batches that run concurrently; 0 for one per core.
      allowed_batch_sizes: A batch is filled up to the next of these sizes, so that TensorFlow sees
        few different shapes. The last size equals max_batch_size. Empty for any size.
    """

    file: str | None = None
    max_batch_size: int = 32
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 64
    num_batch_threads: int = 0
    allowed_batch_sizes: tuple[int, ...] = ()

    @property
    def threads(self) -> int:
        """Number of batches that run concurrently."""
        return self.num_batch_threads or os.cpu_count() or 1


@functools.cache
def _message() -> Any:
    """Returns the message class of `session_bundle_config.proto`, which the API's wheel lacks.

    The fields for the pool's name and splitting are declared, but are not used here. Padding is
    refused by `read_batching`.
    """
    file = descriptor_pb2.FileDescriptorProto(name="mmrank/batching.proto", package="mmrank")
    wrapped = file.message_type.add(name="Int64Value")
    wrapped.field.add(name="value", number=1, type=3, label=1)
    text = file.message_type.add(name="StringValue")
    text.field.add(name="value", number=1, type=9, label=1)
    flag = file.message_type.add(name="BoolValue")
    flag.field.add(name="value", number=1, type=8, label=1)
    main = file.message_type.add(name="BatchingParameters")
    for name, number in _WRAPPED.items():
        main.field.add(name=name, number=number, type=11, label=1, type_name=".mmrank.Int64Value")
    main.field.add(
        name="thread_pool_name", number=5, type=11, label=1, type_name=".mmrank.StringValue"
    )
    main.field.add(name="allowed_batch_sizes", number=6, type=3, label=3)
    main.field.add(name="pad_variable_length_inputs", number=7, type=8, label=1)
    main.field.add(
        name="enable_large_batch_splitting",
        number=8,
        type=11,
        label=1,
        type_name=".mmrank.BoolValue",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("mmrank.BatchingParameters"))


def read_batching(file: pathlib.Path, parameters: Batching) -> Batching:
    """Returns the parameters with their values replaced by those in a file.

    Raises:
      ConfigError: The file is missing, holds no batching parameters, or holds invalid ones.
    """
    try:
        read = text_format.Parse(file.read_text(encoding="utf-8"), _message()())
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    except text_format.ParseError as error:
        raise ConfigError(f"{file}: no batching parameters: {error}") from error
    if read.pad_variable_length_inputs:
        raise ConfigError(
            f"{file}: pad_variable_length_inputs pads flags with their first value, which turns "
            "padding into candidates; leave it out and have clients pad their lists"
        )
    values = {n: getattr(read, n).value for n in _WRAPPED if read.HasField(n)}
    sizes = tuple(read.allowed_batch_sizes)
    return check_batching(
        dataclasses.replace(parameters, **values, allowed_batch_sizes=sizes), str(file)
    )


def check_batching(parameters: Batching, where: str) -> Batching:
    """Returns the same parameters after checking them.

    Raises:
      ConfigError: A value is too small, or values contradict one another.
    """
    sizes = parameters.allowed_batch_sizes
    if sizes and (list(sizes) != sorted(set(sizes)) or sizes[-1] != parameters.max_batch_size):
        raise ConfigError(
            f"{where}: allowed_batch_sizes must increase and end with max_batch_size, "
            f"{parameters.max_batch_size}; got {list(sizes)}"
        )
    for name, least in (*dict.fromkeys(_WRAPPED, 0).items(), ("max_batch_size", 1)):
        if getattr(parameters, name) < least:
            raise ConfigError(
                f"{where}: {name} is {getattr(parameters, name)}; it must be at least {least}"
            )
    return parameters
