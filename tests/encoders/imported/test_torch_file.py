"""PyTorch state files, written here by their published layout; none of them is ever run."""

from __future__ import annotations

import collections
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mmrank.encoders.imported.state_file import read_state
from mmrank.encoders.imported.torch_file import read_torch
from mmrank.outputs import InputError

STORAGES = {
    "f8": "DoubleStorage",
    "f4": "FloatStorage",
    "f2": "HalfStorage",
    "i8": "LongStorage",
    "i4": "IntStorage",
    "i2": "ShortStorage",
    "i1": "CharStorage",
    "u1": "ByteStorage",
    "b1": "BoolStorage",
}


class Named:
    """An object pickled as the global of a module that need not exist."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name


class Stored:
    """An object pickled as the reference to a storage."""

    def __init__(self, kind: str, key: str, length: int):
        self.kind, self.key, self.length = kind, key, length


class Called:
    """An object pickled as a call of a global."""

    def __init__(self, named: Named, *args: Any):
        self.named, self.args = named, args


class Writer(pickle._Pickler):
    """A pickler that writes the three classes above."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_named(self, obj: Named) -> None:
        self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())

    def save_called(self, obj: Called) -> None:
        self.save(obj.named)
        self.save(obj.args)
        self.write(pickle.REDUCE)

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, Stored):
            return ("storage", Named("torch", obj.kind), obj.key, "cpu", obj.length)
        return None

    dispatch[Named] = save_named
    dispatch[Called] = save_called


REBUILD = Named("torch._utils", "_rebuild_tensor_v2")
ORDERED = Named("collections", "OrderedDict")


def tensor(kind: str, key: str, length: int, offset: int, shape: Any, strides: Any) -> Called:
    hooks = Called(ORDERED)
    return Called(REBUILD, Stored(kind, key, length), offset, shape, strides, False, hooks)


def dumped(tree: Any) -> bytes:
    import io

    out = io.BytesIO()
    Writer(out, 2).dump(tree)
    return out.getvalue()


def write_zip(
    file: pathlib.Path, tree: Any, storages: dict[str, bytes], compression: int = zipfile.ZIP_STORED
) -> None:
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("archive/data.pkl", dumped(tree))
        archive.writestr("archive/byteorder", "little")
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)


def write_legacy(file: pathlib.Path, tree: Any, storages: dict[str, bytes], size: int = 4) -> None:
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [0x1950A86A20F9469CFC6C, 1001, system, tree, list(storages)]
    with file.open("wb") as out:
        for part in parts:
            out.write(dumped(part))
        for data in storages.values():
            out.write(struct.pack("<q", len(data) // size) + data)


WRITERS: list[Callable[..., None]] = [write_zip, write_legacy]


@pytest.mark.parametrize("write", WRITERS)
def test_shapes_strides_and_offsets_are_kept(write, tmp_path: pathlib.Path):
    numbers = np.arange(12, dtype="<f4")
    tree = {
        "plain": tensor("FloatStorage", "7", 12, 0, (3, 4), (4, 1)),
        "turned": tensor("FloatStorage", "7", 12, 0, (4, 3), (1, 4)),
        "part": tensor("FloatStorage", "7", 12, 5, (2, 2), (4, 2)),
        "scalar": tensor("FloatStorage", "7", 12, 11, (), ()),
        "empty": tensor("FloatStorage", "7", 12, 0, (0, 3), (3, 1)),
    }
    write(tmp_path / "a.pth", tree, {"7": numbers.tobytes()})
    state = read_torch(tmp_path / "a.pth")
    plain = numbers.reshape(3, 4)
    np.testing.assert_array_equal(state["plain"], plain)
    np.testing.assert_array_equal(state["turned"], plain.T)
    np.testing.assert_array_equal(state["part"], [[5, 7], [9, 11]])
    np.testing.assert_array_equal(state["scalar"], 11)
    assert state["empty"].shape == (0, 3)
    state["plain"][:] = 0  # it has memory of its own
    assert state["turned"].any()


@pytest.mark.parametrize("code", STORAGES)
def test_every_dtype(code, tmp_path: pathlib.Path):
    numbers = np.array([0, 1, 1, 0], code)
    tree = {"a": tensor(STORAGES[code], "0", 4, 0, (4,), (1,))}
    write_zip(tmp_path / "a.pt", tree, {"0": numbers.tobytes()})
    given = read_torch(tmp_path / "a.pt")["a"]
    assert given.dtype == numbers.dtype
    np.testing.assert_array_equal(given, numbers)


def test_bfloat16_is_the_upper_half_of_float32(tmp_path: pathlib.Path):
    numbers = np.array([1.5, -2.0, 0.15625], "<f4")  # with few digits, so that no bit is lost
    upper = (numbers.view("<u4") >> 16).astype("<u2")
    tree = {"a": tensor("BFloat16Storage", "0", 3, 0, (3,), (1,))}
    write_zip(tmp_path / "a.pt", tree, {"0": upper.tobytes()})
    np.testing.assert_array_equal(read_torch(tmp_path / "a.pt")["a"], numbers)


def test_checkpoints_parameters_and_prefixes_are_unwrapped(tmp_path: pathlib.Path):
    parameter = Named("torch._utils", "_rebuild_parameter")
    one = Called(parameter, tensor("HalfStorage", "0", 2, 0, (2,), (1,)), True, Called(ORDERED))
    tree = {"epoch": 3, "state_dict": {"module.fc.weight": one}}
    write_zip(tmp_path / "a.pt", tree, {"0": np.array([1, 2], "<f2").tobytes()})
    state = read_state(tmp_path / "a.pt")
    assert list(state) == ["fc.weight"]
    assert state["fc.weight"].dtype == np.float32


HARMFUL = [
    ("posix", "system"),
    ("builtins", "eval"),
    ("builtins", "getattr"),
    ("torch", "load"),
    ("torch.nn.modules.linear", "Linear"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("collections", "Counter"),
]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(("module", "name"), HARMFUL)
def test_a_pickle_that_refers_to_anything_else_is_refused(write, module, name, tmp_path):
    mark = tmp_path / "touched"
    write(tmp_path / "a.pth", {"a": Called(Named(module, name), f"touch {mark}")}, {})
    with pytest.raises(InputError, match=rf"a.pth: refers to '{module}.{name}'.*only tensors"):
        read_torch(tmp_path / "a.pth")
    assert not mark.exists()


def test_what_python_itself_pickles_is_refused(tmp_path: pathlib.Path):
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pathlib.Path.touch, (tmp_path / "touched",))

    (tmp_path / "a.pth").write_bytes(pickle.dumps(Harmful(), protocol=2))
    with pytest.raises(InputError, match="refers to"):
        read_torch(tmp_path / "a.pth")
    assert not (tmp_path / "touched").exists()


def built(target: Any, state: Any) -> bytes:
    """A pickle that sets the state of an object, as `__setstate__` receives it."""
    return dumped(target)[:-1] + dumped(state)[2:-1] + pickle.BUILD + pickle.STOP


@pytest.mark.parametrize(
    "target",
    [
        tensor("FloatStorage", "0", 4, 0, (4,), (1,)),
        Stored("FloatStorage", "0", 4),
        REBUILD,
        ORDERED,
    ],
)
def test_a_pickle_that_sets_the_state_of_an_object_is_refused(target, tmp_path: pathlib.Path):
    """Otherwise a tensor's shape could be set without being checked against its storage."""
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("archive/data.pkl", built(target, {"shape": (99,), "strides": (1,)}))
        archive.writestr("archive/data/0", bytes(16))
    with pytest.raises(InputError, match="gives a state to"):
        read_torch(tmp_path / "a.pth")


def test_the_state_of_an_ordered_dict_is_that_of_a_state_dict(tmp_path: pathlib.Path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("archive/data.pkl", built(Called(ORDERED), {"_metadata": {}}))
    assert read_torch(tmp_path / "a.pth") == collections.OrderedDict()


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (5,), (1,)),
        (1, (4,), (1,)),
        (0, (2, 2), (3, 1)),
        (0, (10**12,), (0,)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 2), (1,)),
        (0.0, (2,), (1,)),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(offset, shape, strides, tmp_path: pathlib.Path):
    tree = {"a": tensor("FloatStorage", "0", 4, offset, shape, strides)}
    write_zip(tmp_path / "a.pth", tree, {"0": bytes(16)})
    with pytest.raises(InputError, match="not a complete PyTorch state file: .*tensor"):
        read_torch(tmp_path / "a.pth")


def test_a_deeply_nested_tree_is_refused(tmp_path: pathlib.Path):
    tree: Any = [0] * 10
    for _ in range(7):
        tree = [tree] * 10  # the same list, so that the file stays small
    write_zip(tmp_path / "a.pth", tree, {})
    with pytest.raises(InputError, match="nested too deeply"):
        read_torch(tmp_path / "a.pth")


@pytest.mark.parametrize("write", WRITERS)
def test_a_truncated_file_is_refused(write, tmp_path: pathlib.Path):
    tree = {"a": tensor("FloatStorage", "0", 4, 0, (4,), (1,))}
    write(tmp_path / "a.pth", tree, {"0": bytes(16)})
    whole = (tmp_path / "a.pth").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "a.pth").write_bytes(whole[:length])
        with pytest.raises(InputError, match="a.pth"):
            read_torch(tmp_path / "a.pth")


def test_compressed_entries_are_refused(tmp_path: pathlib.Path):
    """PyTorch never compresses entries; if accepted, a small file could fill the memory."""
    tree = {"a": tensor("FloatStorage", "0", 1000, 0, (1000,), (1,))}
    write_zip(tmp_path / "a.pth", tree, {"0": bytes(4000)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="compressed"):
        read_torch(tmp_path / "a.pth")


def test_values_that_are_not_a_state_dict_are_refused(tmp_path: pathlib.Path):
    write_zip(tmp_path / "a.pth", {"a": "text"}, {})
    with pytest.raises(InputError, match="'a' is 'text', not a named tensor"):
        read_state(tmp_path / "a.pth")
    (tmp_path / "b.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="neither safetensors"):
        read_state(tmp_path / "b.safetensors")
