"""How requests are gathered: in the server's config, or in TensorFlow Serving's own file."""

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
    """How requests are gathered, in the terms of TensorFlow Serving's batching parameters.

    Attributes:
      file: A file of BatchingParameters in protobuf's text format; what it names replaces the
        values here. `auto` takes that of the newest export, which is made for TensorFlow Serving.
      max_batch_size: Most rows of a batch; 1 gathers nothing. A larger request runs by itself.
      batch_timeout_micros: How long a batch that is not full waits for more although a thread is
        free.
      max_enqueued_batches: How many batches may wait; a request beyond is refused with
        RESOURCE_EXHAUSTED (429).
      num_batch_threads: Batches that run side by side; 0 for one a core.
      allowed_batch_sizes: A batch is filled up to the next of these, so that TensorFlow meets few
        shapes; the last equals max_batch_size. Empty for any size.
    """

    file: str | None = None
    max_batch_size: int = 32
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 64
    num_batch_threads: int = 0
    allowed_batch_sizes: tuple[int, ...] = ()

    @property
    def threads(self) -> int:
        """Batches that run side by side."""
        return self.num_batch_threads or os.cpu_count() or 1


@functools.cache
def _message() -> Any:
    """The message class of `session_bundle_config.proto`, which the API's wheel leaves out.

    Its further fields (the pool's name, padding, splitting) are known and have no use here.
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
    """The parameters with what a file says in place of theirs.

    Raises:
      ConfigError: It is missing, not such a file, or asks for what cannot be.
    """
    try:
        read = text_format.Parse(file.read_text(encoding="utf-8"), _message()())
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    except text_format.ParseError as error:
        raise ConfigError(f"{file}: no batching parameters: {error}") from error
    if read.pad_variable_length_inputs:
        raise ConfigError(
            f"{file}: pad_variable_length_inputs pads flags with their first value, which makes "
            "candidates of nothing; leave it out and let clients pad their lists"
        )
    values = {n: getattr(read, n).value for n in _WRAPPED if read.HasField(n)}
    sizes = tuple(read.allowed_batch_sizes)
    return check_batching(
        dataclasses.replace(parameters, **values, allowed_batch_sizes=sizes), str(file)
    )


def check_batching(parameters: Batching, where: str) -> Batching:
    """The same parameters.

    Raises:
      ConfigError: They contradict one another.
    """
    sizes = parameters.allowed_batch_sizes
    if sizes and (list(sizes) != sorted(set(sizes)) or sizes[-1] != parameters.max_batch_size):
        raise ConfigError(
            f"{where}: allowed_batch_sizes has to rise and to end with max_batch_size, "
            f"{parameters.max_batch_size}; got {list(sizes)}"
        )
    for name, least in (*dict.fromkeys(_WRAPPED, 0).items(), ("max_batch_size", 1)):
        if getattr(parameters, name) < least:
            raise ConfigError(f"{where}: {name} is {getattr(parameters, name)}, below {least}")
    return parameters
