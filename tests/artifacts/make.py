"""Writes what test_artifacts.py reads with the other set of versions: a run and its export.

Run it once with a Python of each set, after a change that old runs or exports cannot be read by:

    python tests/artifacts/make.py

The folder `shop` is written by the first that finds none, so that both runs have the same data.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
import zipfile
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from mmrank.config import load_config, save_config
from mmrank.data.simulator import simulate
from mmrank.data.tables import Dataset, load_dataset
from mmrank.serving.export import export_run
from mmrank.serving.ranker import Ranker
from mmrank.trained_run import load_run
from mmrank.training.callbacks import Progress
from mmrank.training.loop import train_run
from mmrank.versions import version_set_of

HERE = pathlib.Path(__file__).resolve().parent


class Stop(RuntimeError):
    """Raised to stop training in its second epoch, so that the run can be continued."""


def main() -> None:
    """Writes the artefacts of the set of versions of this Python."""
    if not (HERE / "shop").exists():
        simulate(HERE / "shop", items=60, queries=24, users=6, seed=1)
    dataset = load_dataset(HERE / "shop")
    out = HERE / version_set_of().name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / "run"
        folder.mkdir()
        config = load_config(HERE / "config.yaml")
        save_config(config, folder / "config.yaml")
        Progress.on_train_batch_end = _stop_in_the_second_epoch  # type: ignore[method-assign]
        with contextlib.suppress(Stop):
            train_run(config, dataset, folder)
        run = load_run(folder)
        export = export_run(run, pathlib.Path(temporary) / "export", dataset)
        scores = {"run": run.score(dataset, dataset.lists), **served_scores(export, dataset)}
        shutil.rmtree(folder / "logs")
        _pack(folder, out / "run")
        _pack(export, out / "export")
    text = json.dumps({name: np.round(s.astype(float), 7).tolist() for name, s in scores.items()})
    (out / "scores.json").write_text(text + "\n", encoding="utf-8")


def served_scores(export: pathlib.Path, dataset: Dataset) -> dict[str, np.ndarray]:
    """Scores [rows] of an export for all lists: of items by their ids, and of the raw products."""
    ranker = Ranker.load(export)
    by_id, raw = [], []
    for _, rows in dataset.lists.groupby("list_id", sort=False):
        first = rows.iloc[0]
        history = _past(dataset, first["user_id"], first["_time"])
        asked = {"query": first["query"], "user": first["user_id"], "history": history}
        by_id.append(ranker.scores(candidates=list(rows["item_id"]), **asked))
        products = [_product(dataset, item) for item in rows["item_id"]]
        raw.append(ranker.scores(candidates=products, **asked))
    return {"rank_items": np.concatenate(by_id), "serving_default": np.concatenate(raw)}


def _past(dataset: Dataset, user: str, time: float) -> list[tuple[str, str, float]]:
    events = dataset.events
    assert events is not None
    past = events[(events["user_id"] == user) & (events["_time"] < time)]
    ages = (time - past["_time"]) / 86_400.0
    return list(zip(past["item_id"], past["event_type"], ages, strict=True))


def _product(dataset: Dataset, item: str) -> dict[str, Any]:
    row = dataset.catalog[dataset.catalog["item_id"] == item].iloc[0]
    product = {n: row[n] for n in ("title", "brand", "tags", "price") if row[n] == row[n]}
    with zipfile.ZipFile(dataset.folder / "images.zip") as archive:
        photo = archive.read(row["photo"]) if isinstance(row["photo"], str) else b""
    # The simulation cuts some photos off; a request would refuse them.
    return product | ({"photo": photo} if photo.endswith((b"\xff\xd9", b"IEND\xaeB`\x82")) else {})


def _stop_in_the_second_epoch(self: Progress, batch: int, logs: object = None) -> None:
    if self._epoch == 1:
        raise Stop


def _pack(folder: pathlib.Path, name: pathlib.Path) -> None:
    shutil.make_archive(str(name), "xztar", folder)


if __name__ == "__main__":
    main()
