"""Vectors computed ahead: those of the export, bitwise the same however computed, and resumed."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmrank.build import build_model
from mmrank.config import Config
from mmrank.data.tables import DataError, Dataset
from mmrank.outputs import OutputError
from mmrank.serving import export as exporting
from mmrank.serving.computed import Computed
from mmrank.serving.export import export_run, with_absent
from mmrank.serving.fingerprint import item_fingerprint
from mmrank.serving.graphs import ranker_graphs
from mmrank.serving.ranker import Ranker
from mmrank.trained_run import Run
from pipelines.build_examples import build
from pipelines.embed_catalog import embed, main

ROOT = pathlib.Path(__file__).resolve().parents[2]
# About eight items per batch, so that sixty items make eight batches.
BATCH = 8


@pytest.fixture(scope="module")
def vectors(
    exported: pathlib.Path, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Computed:
    """The vectors of the catalogue, computed by three workers in three shards."""
    out = tmp_path_factory.mktemp("vectors") / "three"
    threads = {"workers": 3, "running": "multi_threading"}
    return embed(exported, dataset.folder, out, shards=3, batch=BATCH, **threads)


def all_of(vectors: Computed) -> tuple[list[str], bytes]:
    """The ids in the order of the files, and the bytes of everything stored for them."""
    parts = list(vectors.read())
    ids = [item for some, *_ in parts for item in some]
    return ids, b"".join(np.concatenate([p[at] for p in parts]).tobytes() for at in (1, 2, 3))


def test_vectors_equal_those_of_the_export(
    vectors: Computed,
    dataset: Dataset,
    run: Run,
    served: Callable[[str, dict[str, Any]], dict[str, np.ndarray]],
) -> None:
    ids = list(dataset.item_ids)
    assert vectors.items == len(ids)
    assert vectors.modalities == run.modalities
    found = vectors.of(ids[::-1], vectors.fingerprint)
    known = served("lookup_items", {"items": np.array([*ids[::-1], "nobody"], object)})
    # The batches differ, and with them the order of sums.
    np.testing.assert_allclose(found["tokens"], known["tokens"][:-1], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(found["present"], known["present"][:-1])
    whole = with_absent(found, ranker_graphs(run.model, run.fitted), run.fitted)
    np.testing.assert_allclose(whole["tokens"], known["tokens"], rtol=0, atol=1e-5)
    assert not whole["present"][-1].any()


@pytest.mark.slow
def test_vectors_fill_the_table_of_an_export(
    vectors: Computed,
    dataset: Dataset,
    run: Run,
    served: Callable[[str, dict[str, Any]], dict[str, np.ndarray]],
    id_request: dict[str, np.ndarray],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def encoded(*_: object) -> None:
        raise AssertionError("the catalogue is encoded again")

    monkeypatch.setattr(exporting, "catalogue_table", encoded)
    ranker = Ranker.load(export_run(run, tmp_path / "export", dataset, vectors=vectors))

    def filled(name: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        specs = ranker.signatures[name].structured_input_signature[1]
        tensors = {n: tf.constant(v, specs[n].dtype) for n, v in inputs.items()}
        return {n: t.numpy() for n, t in ranker.signatures[name](**tensors).items()}

    ids = list(dataset.item_ids)
    some = {"items": np.array([*ids, "nobody"], object)}
    found, known = filled("lookup_items", some), served("lookup_items", some)
    np.testing.assert_array_equal(  # bitwise equal
        found["tokens"][:-1], vectors.of(ids, vectors.fingerprint)["tokens"]
    )
    np.testing.assert_allclose(found["tokens"], known["tokens"], rtol=0, atol=1e-5)
    for flags in ("present", "known"):
        np.testing.assert_array_equal(found[flags], known[flags])
    scores = filled("rank_items", id_request)["scores"]
    np.testing.assert_allclose(
        scores, served("rank_items", id_request)["scores"], rtol=0, atol=1e-5
    )


@pytest.mark.slow
def test_vectors_of_another_model_are_refused(
    vectors: Computed, dataset: Dataset, run: Run, tmp_path: pathlib.Path
) -> None:
    tf.keras.utils.set_random_seed(6)
    other = dataclasses.replace(run, model=build_model(run.config, run.fitted))
    own = item_fingerprint(other.model, other.fitted)
    assert own != vectors.fingerprint
    said = f"vectors of the model {vectors.fingerprint}, not of {own}; compute them with an export"
    with pytest.raises(DataError, match=said):
        export_run(other, tmp_path / "export", dataset, vectors=vectors)
    assert not (tmp_path / "export").exists()


def test_vectors_do_not_depend_on_workers_and_shards(
    vectors: Computed, exported: pathlib.Path, dataset: Dataset, tmp_path: pathlib.Path
) -> None:
    alone = embed(exported, dataset.folder, tmp_path / "one", shards=1, batch=BATCH)
    assert len(alone.shards) == 1
    assert len(vectors.shards) == 3
    assert all_of(alone) == all_of(vectors)


def test_a_stopped_job_resumes(
    vectors: Computed, exported: pathlib.Path, dataset: Dataset, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    names = [str(shard["file"]) for shard in vectors.shards]
    for name in ("plan.json", names[0], names[2]):
        (out / name).write_bytes((vectors.folder / name).read_bytes())
    (out / ".0a.partial").write_bytes((vectors.folder / names[1]).read_bytes()[:100])
    os.utime(out / names[0], ns=(1, 1))
    with pytest.raises(DataError, match="not finished"):
        Computed.open(out)
    done = embed(exported, dataset.folder, out, shards=3, batch=BATCH)
    assert [s["sha256"] for s in done.shards] == [s["sha256"] for s in vectors.shards]
    assert (out / names[0]).stat().st_mtime_ns == 1  # kept, not computed again
    assert sorted(p.name for p in out.iterdir()) == sorted(["plan.json", "manifest.json", *names])


def test_unsuitable_folders_are_refused(
    vectors: Computed, exported: pathlib.Path, dataset: Dataset, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(DataError, match="started with another number of shards"):
        embed(exported, dataset.folder, vectors.folder, shards=2, batch=BATCH)
    with pytest.raises(DataError, match="--batch"):
        embed(exported, dataset.folder, vectors.folder, shards=3, batch=4)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OutputError, match="is not empty"):
        embed(exported, dataset.folder, tmp_path)
    held = os.open(vectors.folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        with pytest.raises(DataError, match="another job"):
            embed(exported, dataset.folder, vectors.folder, shards=3, batch=BATCH)
    finally:
        os.close(held)


def test_bad_arguments(
    exported: pathlib.Path,
    dataset: Dataset,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--data", str(dataset.folder), "--out", str(tmp_path / "out")]
    assert main(["--export", str(tmp_path / "none"), *arguments]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main(["--export", str(tmp_path), *arguments]) == 2
    assert "holds no SavedModel" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--export", str(exported), *arguments, "--shards", "0"])
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_records_score_as_the_run_does(
    run: Run,
    dataset: Dataset,
    tiny_config: Config,
    served: Callable[[str, dict[str, Any]], dict[str, np.ndarray]],
    tmp_path: pathlib.Path,
) -> None:
    """The records that Beam writes for training get the same scores from the serving signature."""
    build(dataset.folder, tmp_path / "out", encoders=tiny_config.model.encoders, shards=1)
    (file,) = (tmp_path / "out").glob("test-*")
    messages = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
    scores = served("tensorflow/serving/predict", {"inputs": np.array(messages, object)})["scores"]
    rows = dataset.rows("test")
    expected = dict(iter(pd.Series(run.score(dataset, rows)).groupby(rows["list_id"].to_numpy())))
    assert len(messages) == len(expected) > 1
    lengths = sorted(len(own) for own in expected.values())
    real = [row[row > -1e8] for row in scores]
    assert sorted(map(len, real)) == lengths
    for row in real:  # in the order of hashes, so each list is identified by its scores
        near = [np.abs(row - own).max() for own in expected.values() if len(own) == len(row)]
        assert min(near) < 1e-5


@pytest.mark.slow
def test_kill_nine(
    vectors: Computed, exported: pathlib.Path, dataset: Dataset, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "pipelines.embed_catalog", "--export", str(exported)]
    command += ["--data", str(dataset.folder), "--out", str(out), "--shards", "3"]
    command += ["--batch", str(BATCH)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as job:
        while not list(out.glob("items-*")) and job.poll() is None:
            time.sleep(0.01)
        job.send_signal(signal.SIGKILL)
    assert job.returncode == -signal.SIGKILL
    with pytest.raises(DataError, match="not finished"):
        Computed.open(out)
    found = list(embed(exported, dataset.folder, out, shards=3, batch=BATCH).read())
    wanted = list(vectors.read())
    assert [item for ids, *_ in found for item in ids] == [i for ids, *_ in wanted for i in ids]
    # The killed process had optimised its graphs, which changes the last bits.
    for at in (1, 2, 3):
        given, expected = (np.concatenate([p[at] for p in parts]) for parts in (found, wanted))
        np.testing.assert_allclose(given.astype(float), expected.astype(float), atol=1e-5)
