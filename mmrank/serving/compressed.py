"""Exports a compressed run, measured before and after, and refused if it ranks much worse."""

from __future__ import annotations

import logging
import pathlib
import tempfile
from collections.abc import Callable

import numpy as np

from mmrank.compression.lite import check_interpreter, write_lite
from mmrank.compression.options import CLUSTER, DYNAMIC_RANGE, PRUNE, Compressed, Compression
from mmrank.compression.quality import ScoredLists
from mmrank.compression.report import (
    CompressionRefused,
    Measured,
    as_table,
    check_loss,
    qualities,
)
from mmrank.compression.weights import (
    FEWEST,
    cluster_weights,
    compressible_weights,
    prune_weights,
)
from mmrank.data.tables import DataError, Dataset
from mmrank.evaluation.tasks import ranking_label
from mmrank.serving.computed import Computed
from mmrank.serving.export import export_run
from mmrank.serving.measured import NOTE, measure_export, measure_lite, sample_request
from mmrank.trained_run import Run

logger = logging.getLogger(__name__)


def export_compressed(
    run: Run,
    out: pathlib.Path,
    dataset: Dataset,
    how: Compression,
    max_loss: float,
    report: Callable[[str], None] = print,
    vectors: Computed | None = None,
) -> pathlib.Path:
    """Exports a compressed ranker to the folder OUT/N, and returns this folder.

    Each step of the compression is exported to a temporary folder and measured. The run's weights
    are restored at the end.

    Args:
      run: A trained ranker.
      out: As for `export_run`.
      dataset: The catalogue, and the validation lists to measure by.
      how: The compression.
      max_loss: Share of the NDCG@10 on the validation lists that may be lost.
      report: Receives the table of size, latency and NDCG@10 before and after, also if the
        compression is refused.
      vectors: As for `export_run`; they do not fit a ranker whose weights are changed.

    Raises:
      DataError: No validation list has a relevant item; or as for `export_run`.
      CompressionRefused: More than `max_loss` would be lost, or no weight is large enough to
        compress; nothing is exported.
      LiteError: TensorFlow Lite cannot convert the ranker, or cannot run it with this Python.
    """
    if how.dynamic_range:
        check_interpreter()
    rows = dataset.rows("valid")
    if rows.empty:
        raise DataError(f"{dataset.folder}: no validation list to measure the compression on")
    label = ranking_label(dataset, run.config)
    lists, request = ScoredLists(run, dataset, rows), sample_request(run, dataset)
    scores: dict[str, np.ndarray] = {}
    measured: dict[str, Measured] = {}
    kept = run.model.network.get_weights()
    try:
        with tempfile.TemporaryDirectory(prefix="mmrank-") as temporary:
            scratch = pathlib.Path(temporary)
            lite = scratch / "lite"
            for stage in how.stages():
                logger.info("%s: scoring %s validation candidates", stage.name, f"{len(rows):,}")
                _make(run, stage, lite)
                scores[stage.name] = (
                    lists.lite_scores(lite) if stage.dynamic_range else lists.scores(stage.items)
                )
                if stage != how:
                    folder = export_run(
                        run, scratch / "exports", dataset, Compressed(stage), vectors
                    )
                    measured[stage.name] = measure_export(folder, request)
            found = qualities(dataset, rows, label, scores)
            try:
                check_loss(", ".join([*found][1:]), found[how.name], max_loss)
            except CompressionRefused:
                report(as_table(found, measured))
                raise
            before, after = found[Compression().name].ndcg, found[how.name].ndcg
            whole = Compressed(how, before, after, lite if how.dynamic_range else None)
            final = export_run(run, out, dataset, whole, vectors)
            measured[how.name] = (
                measure_lite(run, dataset, lite)
                if how.dynamic_range
                else measure_export(final, request)
            )
    finally:
        run.model.network.set_weights(kept)
    report(as_table(found, measured, [NOTE]))
    return final


def _make(run: Run, stage: Compression, lite: pathlib.Path) -> None:
    """Performs the last step of a stage: changes the run's weights, or writes the Lite files.

    A stage that only stores items in another form needs no change here.
    """
    weights = compressible_weights(run.model.network.weights)
    if stage.step in (PRUNE, CLUSTER) and not weights:
        raise CompressionRefused(
            f"{stage.name}: no weight of the ranker has {FEWEST:,} numbers or more, so this would "
            f"save nothing; leave {stage.step} out"
        )
    if stage.step == PRUNE:
        assert stage.prune is not None
        prune_weights(weights, stage.prune)
    elif stage.step == CLUSTER:
        assert stage.cluster is not None
        cluster_weights(weights, stage.cluster)
    elif stage.step == DYNAMIC_RANGE:
        write_lite(run.model, lite)
