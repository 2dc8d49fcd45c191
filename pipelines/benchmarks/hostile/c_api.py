"""A SavedModel run with TensorFlow's C API, as TensorFlow Serving loads it, without Python."""

from __future__ import annotations

import ctypes
import importlib.util
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

LIBRARY = "libtensorflow_cc.so.2"
SERVE = b"serve"
TEXT, TEXT_BYTES = 7, 24  # DT_STRING, and the bytes of one string in a tensor
NUMBERS = {"float32": 1, "int32": 3, "int64": 9, "bool": 10}


class CApiError(Exception):
    """An error status of TensorFlow.

    Attributes:
      code: The status code, as in gRPC.
    """

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


class _Output(ctypes.Structure):
    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


class Session:
    """A loaded SavedModel.

    Args:
      folder: Folder of the SavedModel.

    Raises:
      CApiError: It cannot be loaded.
      OSError: The library does not exist.
    """

    def __init__(self, folder: pathlib.Path):
        spec = importlib.util.find_spec("tensorflow")  # finds it without importing it
        if spec is None or not spec.submodule_search_locations:
            raise OSError("TensorFlow is not installed")
        root = pathlib.Path(spec.submodule_search_locations[0])
        self._tf = _typed(ctypes.CDLL(str(root / LIBRARY)))
        self._status = self._tf.TF_NewStatus()
        self._graph = self._tf.TF_NewGraph()
        tags = (ctypes.c_char_p * 1)(SERVE)
        options = self._tf.TF_NewSessionOptions()
        self._session = self._tf.TF_LoadSessionFromSavedModel(
            options, None, str(folder).encode(), tags, 1, self._graph, None, self._status
        )
        self._check()

    def run(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> int:
        """Runs the graph and returns the bytes of outputs.

        Args:
          feeds: Arrays by the names of tensors; texts as arrays of bytes objects.
          fetches: Names of tensors.

        Raises:
          CApiError: The graph refused them.
        """
        tf = self._tf
        inputs = (_Output * len(feeds))(*map(self._operation_output, feeds))
        values = (ctypes.c_void_p * len(feeds))(*map(self._tensor, feeds.values()))
        outputs = (_Output * len(fetches))(*map(self._operation_output, fetches))
        made = (ctypes.c_void_p * len(fetches))()
        tf.TF_SessionRun(
            self._session,
            None,
            *(inputs, values, len(feeds)),
            *(outputs, made, len(fetches)),
            *(None, 0, None, self._status),
        )
        size = sum(tf.TF_TensorByteSize(t) for t in made if t)
        for tensor in (*values, *made):
            if tensor:
                tf.TF_DeleteTensor(tensor)
        self._check()
        return int(size)

    def _operation_output(self, name: str) -> _Output:
        operation, _, index = name.partition(":")
        found = self._tf.TF_GraphOperationByName(self._graph, operation.encode())
        if not found:
            raise CApiError(5, f"no operation {operation}")
        return _Output(found, int(index or 0))

    def _tensor(self, array: np.ndarray) -> int:
        tf, shape = self._tf, (ctypes.c_int64 * array.ndim)(*array.shape)
        if array.dtype != object:
            given = np.ascontiguousarray(array)
            kind = NUMBERS[given.dtype.name]
            tensor = tf.TF_AllocateTensor(kind, shape, array.ndim, given.nbytes)
            ctypes.memmove(tf.TF_TensorData(tensor), given.ctypes.data, given.nbytes)
            return int(tensor)
        tensor = tf.TF_AllocateTensor(TEXT, shape, array.ndim, TEXT_BYTES * array.size)
        at = tf.TF_TensorData(tensor)
        for number, value in enumerate(array.ravel()):
            address = at + number * TEXT_BYTES
            tf.TF_StringInit(address)
            tf.TF_StringCopy(address, value, len(value))
        return int(tensor)

    def _check(self) -> None:
        code = self._tf.TF_GetCode(self._status)
        if code:
            message = self._tf.TF_Message(self._status).decode("utf-8", "replace")
            raise CApiError(code, message)


def _typed(library: ctypes.CDLL) -> ctypes.CDLL:
    """The library with the types of its functions: ctypes would treat pointers as integers."""
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    outputs, values = ctypes.POINTER(_Output), ctypes.POINTER(pointer)
    number, sizes = ctypes.c_int, ctypes.POINTER(ctypes.c_int64)
    names = ctypes.POINTER(text)
    types = {
        "TF_NewStatus": (pointer, ()),
        "TF_NewGraph": (pointer, ()),
        "TF_NewSessionOptions": (pointer, ()),
        "TF_LoadSessionFromSavedModel": (
            pointer,
            (pointer, pointer, text, names, number, pointer, pointer, pointer),
        ),
        "TF_GraphOperationByName": (pointer, (pointer, text)),
        "TF_AllocateTensor": (pointer, (number, sizes, number, size)),
        "TF_TensorData": (pointer, (pointer,)),
        "TF_TensorByteSize": (size, (pointer,)),
        "TF_DeleteTensor": (None, (pointer,)),
        "TF_StringInit": (None, (pointer,)),
        "TF_StringCopy": (None, (pointer, text, size)),
        "TF_GetCode": (number, (pointer,)),
        "TF_Message": (text, (pointer,)),
        "TF_SessionRun": (
            None,
            (
                *(pointer, pointer),
                *(outputs, values, number),
                *(outputs, values, number),
                *(pointer, number, pointer, pointer),
            ),
        ),
    }
    for name, (gives, takes) in types.items():
        function = getattr(library, name)
        function.restype, function.argtypes = gives, takes
    return library
