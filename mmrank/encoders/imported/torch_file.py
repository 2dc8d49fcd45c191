"""Reads the tensors of a PyTorch state file without running its code.

Such a file is a pickle with raw numbers, and a pickle may name any function for its reader to call.
This reader accepts only an ordered dict, tensor storages and the functions that build a tensor,
which can do nothing else. It refuses a file that names anything else.
"""

from __future__ import annotations

import collections
import dataclasses
import io
import math
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO, NoReturn

import numpy as np

from mmrank.outputs import InputError, shown

ZIP_START = b"PK\x03\x04"
_LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_DEEPEST, _MOST_NODES = 8, 1_000_000
_BFLOAT16 = "bfloat16"
_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": _BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
# Errors that reading a damaged pickle may raise.
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    struct.error,
    zipfile.BadZipFile,
    NotImplementedError,
    MemoryError,
)


def read_torch(file: pathlib.Path) -> Any:
    """Returns the content of a PyTorch file: dicts, lists, numbers, texts, and tensors as arrays.

    Both forms are read: the zip archive of PyTorch 1.6 and later, and the older run of pickles.
    bfloat16 becomes float32.

    Raises:
      InputError: The file is damaged, or names anything other than tensors.
    """
    try:
        with file.open("rb") as opened:
            zipped = opened.read(4) == ZIP_START
            opened.seek(0)
            return _read_zip(file, opened) if zipped else _read_legacy(file, opened)
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error}") from error
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(
            f"{file}: not a complete PyTorch state file: {shown(str(error))}"
        ) from error


class _Sealed:
    """An object whose attributes a pickle cannot set by its op BUILD."""

    def __setstate__(self, state: Any) -> NoReturn:
        raise pickle.UnpicklingError(f"gives a state to {type(self).__name__}")


@dataclasses.dataclass(frozen=True)
class _Storage(_Sealed):
    """A block of numbers that tensors view."""

    key: str
    dtype: str
    length: int


@dataclasses.dataclass(frozen=True)
class _Tensor(_Sealed):
    """A tensor whose numbers are not read yet."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Named(_Sealed):
    """A placeholder of a function or type that a pickle names."""

    name: str
    call: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        return self.call(*args)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    """Returns a tensor of `torch._utils._rebuild_tensor_v2`, checked against its storage."""
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or len(shape) != len(strides):
        raise pickle.UnpicklingError("a tensor without storage, or with strides of another rank")
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in numbers):
        raise pickle.UnpicklingError(f"a tensor with the numbers {shown(numbers)}")
    count = math.prod(shape)
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    # Otherwise a few bytes with strides of 0 could claim all memory.
    if count > storage.length or (count and last >= storage.length):
        raise pickle.UnpicklingError(
            f"a tensor of shape {list(shape)} does not fit its {storage.length} numbers"
        )
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _ordered(*args: Any) -> collections.OrderedDict:
    return collections.OrderedDict(*args)


def _unused(*_: Any) -> NoReturn:
    raise pickle.UnpicklingError("calls the type of a storage")


_KNOWN: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    **{f"torch.{name}": _unused for name in _DTYPES},
}


class _Closed(pickle.Unpickler):
    """An unpickler that resolves the names in `_KNOWN` and no others."""

    def __init__(self, file: pathlib.Path, opened: Any):
        super().__init__(opened)
        self._file = file

    def find_class(self, module: str, name: str) -> _Named:
        full = f"{module}.{name}"
        if full not in _KNOWN:
            raise InputError(
                f"{self._file}: refers to {full!r}, and a pickle can run what it refers to; only "
                "tensors are read. If you trust the file, save its state dict alone, best as "
                "safetensors"
            )
        return _Named(full, _KNOWN[full])

    def persistent_load(self, pid: Any) -> _Storage:
        kind, named, key, _, length, *view = pid
        dtype = _DTYPES.get(named.name.removeprefix("torch.")) if type(named) is _Named else None
        if kind != "storage" or dtype is None or any(v is not None for v in view):
            raise pickle.UnpicklingError(f"a storage of unknown form {shown(pid)}")
        if type(length) is not int or length < 0:
            raise pickle.UnpicklingError(f"a storage of {shown(length)} numbers")
        return _Storage(str(key), dtype, length)


def _read_zip(file: pathlib.Path, opened: BinaryIO) -> Any:
    with zipfile.ZipFile(opened) as archive:
        names = [n for n in archive.namelist() if n.endswith("/data.pkl")]
        if len(names) != 1:
            raise InputError(
                f"{file}: a zip archive without exactly one data.pkl, so not a PyTorch file"
            )
        root = names[0].removesuffix("data.pkl")
        order = f"{root}byteorder"
        if order in archive.namelist() and _stored(archive, archive.getinfo(order)) != b"little":
            raise InputError(f"{file}: written on a big-endian machine; save it again on another")
        pickled = _stored(archive, archive.getinfo(names[0]))
        tree = _Closed(file, io.BytesIO(pickled)).load()
        return _filled(tree, lambda storage: _numbers(storage, _entry(archive, root, storage)))


def _entry(archive: zipfile.ZipFile, root: str, storage: _Storage) -> bytes:
    info = archive.getinfo(f"{root}data/{storage.key}")
    if info.file_size != storage.length * _item_size(storage):
        raise pickle.UnpicklingError(f"storage {storage.key} does not have the size that it states")
    return _stored(archive, info)


def _stored(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Returns an entry's bytes unless it is compressed: a small file could fill all memory."""
    if info.compress_type != zipfile.ZIP_STORED:
        raise pickle.UnpicklingError(f"{info.filename} is compressed, which PyTorch never does")
    return archive.read(info)


def _read_legacy(file: pathlib.Path, opened: BinaryIO) -> Any:
    heads = [_Closed(file, opened).load() for _ in range(3)]
    if heads[:2] != [_LEGACY_MAGIC, _LEGACY_PROTOCOL]:
        raise InputError(f"{file}: not a PyTorch state file")
    if not heads[2].get("little_endian"):
        raise InputError(f"{file}: written on a big-endian machine; save it again on another")
    tree = _Closed(file, opened).load()
    keys = _Closed(file, opened).load()
    wanted: dict[str, _Storage] = {}
    _mapped(tree, lambda tensor: wanted.setdefault(tensor.storage.key, tensor.storage))
    numbers: dict[str, np.ndarray] = {}
    for key in keys:
        (length,) = struct.unpack("<q", opened.read(8))
        storage = wanted.get(key)
        if storage is None or storage.length != length:
            raise pickle.UnpicklingError(
                f"storage {shown(key)} does not have the size that it states"
            )
        numbers[key] = _numbers(storage, opened.read(length * _item_size(storage)))
    return _filled(tree, lambda storage: numbers[storage.key])


def _item_size(storage: _Storage) -> int:
    return 2 if storage.dtype == _BFLOAT16 else np.dtype(storage.dtype).itemsize


def _numbers(storage: _Storage, data: bytes) -> np.ndarray:
    if len(data) != storage.length * _item_size(storage):
        raise pickle.UnpicklingError(f"storage {storage.key} is truncated")
    if storage.dtype == _BFLOAT16:  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, storage.dtype)


def _filled(tree: Any, numbers_of: Callable[[_Storage], np.ndarray]) -> Any:
    """Returns the tree with tensors replaced by arrays, each a copy."""
    known: dict[_Storage, np.ndarray] = {}

    def array(tensor: _Tensor) -> np.ndarray:
        if tensor.storage not in known:
            known[tensor.storage] = numbers_of(tensor.storage)
        flat = known[tensor.storage]
        if not math.prod(tensor.shape):
            return np.zeros(tensor.shape, flat.dtype)
        strides = [s * flat.itemsize for s in tensor.strides]
        view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides)
        return view.copy()

    return _mapped(tree, array)


def _mapped(tree: Any, of: Callable[[_Tensor], Any]) -> Any:
    """Returns a tree of dicts and lists with its tensors replaced by the results of `of`."""
    left = _MOST_NODES

    def mapped(node: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if depth > _DEEPEST or left < 0:  # lists that repeat one list could grow without end
            raise pickle.UnpicklingError("nested too deeply")
        if isinstance(node, _Tensor):
            return of(node)
        if isinstance(node, dict):
            return {k: mapped(v, depth + 1) for k, v in node.items()}
        if isinstance(node, (list, tuple)):
            return [mapped(v, depth + 1) for v in node]
        return node

    return mapped(tree, 0)
