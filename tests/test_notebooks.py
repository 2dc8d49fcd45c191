"""The notebooks: generated from their scripts, and executable from top to bottom."""

from __future__ import annotations

import pathlib

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "notebooks"
SCRIPTS = sorted(FOLDER.glob("*.py"))


def cells(notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    """The content of the cells, without outputs and ids."""
    return [(c.cell_type, c.source) for c in notebook.cells]


def test_there_are_notebooks() -> None:
    assert [s.name for s in SCRIPTS] == ["quickstart.py"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_a_notebook_is_what_its_script_says(script: pathlib.Path) -> None:
    notebook = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    assert cells(notebook) == cells(jupytext.read(script)), (
        f"run: jupytext --to ipynb --update-metadata '{{}}' {script}"
    )
    assert not any(c.get("outputs") for c in notebook.cells)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_a_notebook_runs(
    script: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMRANK_NOTEBOOK_DIR", str(tmp_path))
    # The notebook may run next to the checkout, even if the package is not installed.
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    notebook = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    NotebookClient(notebook, timeout=800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(
        output.get("text", "") for c in notebook.cells for output in c.get("outputs", [])
    )
    assert "ndcg@10" in printed
    assert (tmp_path / "run" / "export" / "1" / "saved_model.pb").is_file()
