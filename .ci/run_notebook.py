"""Runs a notebook from top to bottom where mmrank is not installed yet, as in Colab.

The environment must have Keras 3 and NumPy 2, and TensorFlow, which the first cell may change:
pip install tensorflow keras 'numpy>=2' pandas matplotlib nbclient ipykernel
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import pathlib
import subprocess
import sys

import nbformat
from nbclient import NotebookClient

KERAS = "import keras, numpy; print(keras.__version__, numpy.__version__)"
SECONDS = 1200  # for one cell; the first installs


def main() -> None:
    """Runs the notebook and checks that it has trained, evaluated and exported a ranker."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebook", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="a folder to make")
    args = parser.parse_args()
    if importlib.util.find_spec("mmrank") is not None:
        sys.exit("mmrank is installed already, so that the notebook would not install it")
    there = subprocess.run(
        [sys.executable, "-c", KERAS], check=True, stdout=subprocess.PIPE, text=True
    )
    keras, numpy = there.stdout.split()[-2:]
    if (keras[0], numpy[0]) != ("3", "2"):
        sys.exit(f"the environment must have Keras 3 and NumPy 2, but has {keras} and {numpy}")
    args.out.mkdir(parents=True)
    os.environ["MMRANK_NOTEBOOK_DIR"] = str(args.out.resolve())
    notebook = nbformat.read(args.notebook, as_version=4)
    resources = {"metadata": {"path": str(args.notebook.resolve().parent)}}
    NotebookClient(notebook, timeout=SECONDS, resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    if not any("ndcg@10" in output.get("text", "") for output in outputs):
        sys.exit("the notebook has not printed a table with ndcg@10")
    if not (args.out / "run" / "export" / "1" / "saved_model.pb").is_file():
        sys.exit("the notebook has left no export")
    print(f"{args.notebook}: {len(notebook.cells)} cells ran next to Keras {keras}, NumPy {numpy}")


if __name__ == "__main__":
    main()
