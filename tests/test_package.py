"""The package's top level: a light import, a version, and `Ranker` on demand."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

import mmrank


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a new interpreter has loaded after the statement."""
    code = f"{statement}\nimport sys\nprint(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_import_is_light() -> None:
    loaded = loaded_by("import mmrank")
    assert not loaded & {"tensorflow", "keras", "pandas", "numpy"}


def test_reading_and_checking_data_needs_no_tensorflow() -> None:
    loaded = loaded_by("import mmrank.schema, mmrank.data.tables, mmrank.data.validation")
    assert not loaded & {"tensorflow", "keras", "tensorflow_ranking"}


def test_version_is_a_release() -> None:
    assert [part.isdigit() for part in mmrank.__version__.split(".")] == [True, True, True]


def test_ranker_is_imported_lazily(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("mmrank.serving.ranker")
    module.Ranker = object()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mmrank.serving", types.ModuleType("mmrank.serving"))
    monkeypatch.setitem(sys.modules, "mmrank.serving.ranker", module)
    assert mmrank.Ranker is module.Ranker


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Rankr'"):
        mmrank.Rankr  # noqa: B018
