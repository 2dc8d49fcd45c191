"""The limits that an exported graph enforces: `python -m pipelines.benchmarks.graph_bounds`."""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import os
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import numpy as np

from mmrank.outputs import InputError, exit_code, log_progress
from pipelines.benchmarks.hostile.memory import Tree

SIGNATURE, COUNT = "serving_default", 2
EXPANDING = "\ufdfa"  # which NFKC expands to eighteen characters
EXAMPLE = """\
example:
  python -m pipelines.benchmarks.graph_bounds --export runs/quickstart-1/export/1
  python -m pipelines.benchmarks.graph_bounds --export runs/quickstart-1/export/1 --memory-gib 4

Loads the export with TensorFlow's C API, as TensorFlow Serving does, without the limits of a
server, and gives it long texts and absurd photos. Prints the result for each, its time and its
memory in addition to that at rest. Exit code 1: an input that must be refused was answered, or the
process ended.
"""


@dataclasses.dataclass(frozen=True)
class Case:
    """One value that replaces a good one.

    Attributes:
      words: Description of the value.
      kind: Kind of the value that it replaces: text or photo.
      make: Makes the bytes.
      refused: Whether the graph must refuse it.
    """

    words: str
    kind: str
    make: Callable[[], bytes]
    refused: bool


def cases() -> list[Case]:
    """All cases, the good ones first."""
    from pipelines.benchmarks.hostile import images
    from pipelines.benchmarks.hostile.target import photo

    rng = random.Random(0)
    expanding = EXPANDING.encode()
    return [
        Case("a short text", "text", lambda: b"red dress", False),
        Case("a photo of 16 pixels", "photo", photo, False),
        Case("a text of 1 MB that NFKC expands", "text", lambda: expanding * 350_000, False),
        Case("a text of 24 MB that NFKC expands", "text", lambda: expanding * 8_000_000, False),
        Case("a text of 24 MB of one letter", "text", lambda: b"x" * 24_000_000, False),
        Case("a text of 8 MB of spaces", "text", lambda: b" " * 8_000_000, False),
        Case("a photo of 25 megapixels", "photo", lambda: photo_of(5000), False),
        Case("a photo of 64 megapixels", "photo", lambda: photo_of(8000), True),
        Case("a PNG that says 10^18 pixels", "photo", lambda: images.png_bomb(rng), True),
        Case("a GIF of 400 frames of 4 megapixels", "photo", lambda: gif(400, 2000), True),
        Case(
            "a GIF of 1 MB of blocks of one byte",
            "photo",
            lambda: gif(0, 9)[:-1] + b"\x21\xfe" + b"\x01a" * 500_000,
            True,
        ),
        Case("a JPEG of 5,000 scans", "photo", lambda: jpeg(64, 5000), True),
        Case("a JPEG of 101 scans", "photo", lambda: jpeg(4900, 101), True),
        Case("a JPEG of 4 gigapixels", "photo", lambda: jpeg(65_535, 1), True),
        Case(
            "a JPEG of 23 MB of filling", "photo", lambda: b"\xff\xd8" + b"\xff" * 23_000_000, True
        ),
        Case(
            "a JPEG of 23 MB of restarts",
            "photo",
            lambda: b"\xff\xd8" + b"\xff\xd0" * 11_500_000,
            True,
        ),
        Case("a JPEG of 100 empty scans of 24 MP", "photo", lambda: jpeg(4900, 100), True),
    ]


def photo_of(side: int) -> bytes:
    """A square PNG of the given number of pixels a side."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (side, side), (200, 30, 40)).save(file, "PNG")
    return file.getvalue()


def jpeg(side: int, scans: int) -> bytes:
    """A progressive JPEG of some scans without content."""
    size = side.to_bytes(2, "big")
    frame = b"\xff\xc2\x00\x0b\x08" + size + size + b"\x01\x01\x11\x00"
    return (
        b"\xff\xd8" + frame + b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00\x2c" * scans + b"\xff\xd9"
    )


def gif(frames: int, side: int) -> bytes:
    """A GIF of some frames of one colour."""
    size = side.to_bytes(2, "little")
    head = b"GIF89a" + size + size + b"\x80\x00\x00" + bytes(6)
    return (
        head + (b"\x2c" + bytes(4) + size + size + b"\x00\x02\x02\x44\x01\x00") * frames + b"\x3b"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 all as required, 1 not, 2 for wrong input.

    Args:
      argv: The arguments; those of the process by default.
    """
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _child(args) if args.signature else _run(args))


def _run(args: argparse.Namespace) -> int:
    """Runs all cases in another process, because this one imports TensorFlow for the signature."""
    from mmrank.server.signature import signatures_of

    file = args.export / "saved_model.pb"
    if not file.is_file():
        raise InputError(f"--export: {args.export}: is not an export; give a numbered folder")
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    signature = signatures_of(model.meta_graphs[0])[SIGNATURE]
    card = json.loads((args.export / "assets.extra" / "ranker.json").read_text(encoding="utf-8"))
    spec = {
        "inputs": {
            n: [i.tensor, i.dtype.name, [COUNT if d is None else d for d in i.shape or ()]]
            for n, i in signature.inputs.items()
        },
        "outputs": [i.tensor for i in signature.outputs.values()],
        "media": [f["name"] for f in card["features"] if f["media"]],
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as names:
        json.dump(spec, names)
        names.flush()
        command = [sys.executable, "-m", "pipelines.benchmarks.graph_bounds"]
        command += ["--export", str(args.export), "--signature", names.name]
        process = subprocess.Popen(command)
        if args.memory_gib is not None:
            most = int(args.memory_gib * 2**30)
            resource.prlimit(process.pid, resource.RLIMIT_DATA, (most, most))
        return process.wait()


def _child(args: argparse.Namespace) -> int:
    from pipelines.benchmarks.hostile.c_api import CApiError, Session

    spec = json.loads(args.signature.read_text())
    session = Session(args.export)
    tree = Tree(os.getpid())
    good = {n: _filled(n, given[1], given[2], spec["media"]) for n, given in spec["inputs"].items()}
    tensors = {n: given[0] for n, given in spec["inputs"].items()}
    passed = True
    print(f"{'what':42}{'answer':12}{'ms':>8}{'MiB':>8}")
    for case in cases():
        feeds = {tensors[n]: _changed(n, a, case, spec["media"]) for n, a in good.items()}
        rest = tree.resident()
        tree.forget()
        started = time.monotonic()
        try:
            session.run(feeds, spec["outputs"])
            answer, message = "answered", ""
        except CApiError as error:
            answer, message = f"refused ({error.code})", _shortened(str(error))
        seconds = time.monotonic() - started
        wrong = (answer == "answered") == case.refused
        passed &= not wrong
        more = tree.peak() - rest
        tail = f"  {message}" + ("  WRONG" if wrong else "")
        print(f"{case.words:42}{answer:12}{1000 * seconds:8.0f}{more:8.0f}{tail}", flush=True)
    print(f"{tree.resident():,.0f} MiB at the end")
    return 0 if passed else 1


def _filled(name: str, dtype: str, shape: list[int], media: list[str]) -> np.ndarray:
    """A good value for an input."""
    from pipelines.benchmarks.hostile.target import photo

    if dtype == "string":
        array = np.empty(shape, object)
        array[...] = photo() if name in media else b"red dress"
        return array
    if name == "list_length":
        return np.full(shape, COUNT, np.int32)
    return np.ones(shape, dtype)


def _changed(name: str, array: np.ndarray, case: Case, media: list[str]) -> np.ndarray:
    """The input with a case's value at index 0, if it is of that kind."""
    of_kind = sorted(media) if case.kind == "photo" else ["query"]
    if array.dtype != object or name not in of_kind[:1]:
        return array
    changed = array.copy()
    changed.flat[0] = case.make()
    return changed


def _shortened(message: str) -> str:
    """The last part of TensorFlow's message, which gives the reason and not the node."""
    return message.splitlines()[0].split("}}")[-1].strip()[:90]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.graph_bounds",
        description="Runs an export with TensorFlow's C API on long texts and absurd photos.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--export", type=pathlib.Path, required=True, help="numbered folder")
    parser.add_argument(
        "--memory-gib", type=float, metavar="GIB", help="memory that it may allocate (RLIMIT_DATA)"
    )
    parser.add_argument("--signature", type=pathlib.Path, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
