from __future__ import annotations

import pathlib
import shutil
import threading
import weakref
from typing import Any

import pytest

from mmrank.server.loading import load_version, stamp_of
from mmrank.server.machine import release_memory
from mmrank.server.servable import Servable
from mmrank.server.versions import Model
from mmrank.serving.checksums import CHECKSUMS


def load(folder: pathlib.Path, stamp: Any = None, **model: Any) -> Any:
    choice = Model(warm_up=False, **model)
    return load_version(1, folder, choice, [], threading.Event(), stamp or stamp_of(folder))


@pytest.fixture
def copied(exported: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of an export without its list of checksums, as left by a copier that was killed."""
    shutil.copytree(exported, tmp_path / "1")
    (tmp_path / "1" / CHECKSUMS).unlink()
    return tmp_path / "1"


@pytest.mark.slow
def test_an_export_without_its_checksums_is_incomplete(copied: pathlib.Path) -> None:
    with pytest.raises(
        ValueError, match="checksums.sha256 does not exist: the export is incomplete"
    ):
        load(copied)
    load(copied, checksums="off").close()


def test_a_foreign_model_needs_no_checksums(toy_folder: pathlib.Path) -> None:
    load(toy_folder).close()


def test_a_folder_that_is_still_written_is_not_served(toy_folder: pathlib.Path) -> None:
    count, size, newest = stamp_of(toy_folder)
    with pytest.raises(ValueError, match="its files changed while it was loaded"):
        load(toy_folder, (count, size - 1, newest))


def test_a_closed_version_releases_its_graph_while_still_referenced(
    toy_folder: pathlib.Path,
) -> None:
    servable = Servable.load(1, toy_folder)
    graph = weakref.ref(servable._session.graph)
    servable.close()
    release_memory()
    assert graph() is None
    assert servable.number == 1
