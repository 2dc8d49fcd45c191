"""TensorFlow's C API by ctypes: a SavedModel runs, and errors of its graph are reported."""

from __future__ import annotations

import pathlib
import subprocess
import sys

from tests.server.conftest import save_toy

SCRIPT = """
import pathlib, sys
import numpy as np
from pipelines.benchmarks.hostile.c_api import CApiError, Session

folder = pathlib.Path(sys.argv[1])
session = Session(folder)
assert "tensorflow" not in sys.modules
names = dict(n.split("=") for n in sys.argv[2:])
x, text = np.ones([2, 3], np.float32), np.empty([2], object)
text[:] = [b"ab", b"x" * 5_000_000]
print(session.run({names["x"]: x, names["text"]: text}, [names["y"]]))
try:
    session.run({names["r"]: np.array([-1], np.float32)}, [names["root"]])
except CApiError as error:
    print(error.code, "x is below 0" in str(error))
try:
    Session(folder / "none")
except CApiError as error:
    print(error.code)
"""


def test_a_saved_model_runs(tmp_path: pathlib.Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    from mmrank.server.signature import signatures_of

    folder = save_toy(tmp_path / "1")
    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    signatures = signatures_of(model.meta_graphs[0])
    both, root = signatures["serving_default"], signatures["root"]
    names = {
        "x": both.inputs["x"],
        "text": both.inputs["text"],
        "y": both.outputs["y"],
        "r": root.inputs["x"],
        "root": root.outputs["y"],
    }
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), *(f"{n}={i.tensor}" for n, i in names.items())],
        capture_output=True,
        text=True,
        check=False,
    )
    # 2 · 3 numbers of four bytes; INVALID_ARGUMENT; NOT_FOUND.
    assert finished.stdout.split("\n") == ["24", "3 True", "5", ""], finished.stderr[-2000:]
