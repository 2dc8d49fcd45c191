"""`mmrank.fit`: DataFrames in, a trained and exported ranker out."""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mmrank.config import Config, ConfigError, from_mapping, read_plain
from mmrank.data.validation import checked_dataset
from mmrank.defaults import default_config
from mmrank.frames.columns import Columns, as_names
from mmrank.frames.fitted import FittedRanker
from mmrank.frames.writing import write_frames
from mmrank.job import check_data, check_job, measure_and_export, train
from mmrank.outputs import log_progress, refuse_filled
from mmrank.schema import did_you_mean
from mmrank.training.run_lock import LOCK, locked_run

Names = str | Sequence[str]
DATA = "data"


def fit(
    judged: pd.DataFrame,
    catalog: pd.DataFrame | None = None,
    *,
    item: str,
    query: Names | None = None,
    grade: str | None = None,
    labels: Mapping[str, str] | None = None,
    text: Names = (),
    image: Names = (),
    number: Names = (),
    category: Names = (),
    tags: Names = (),
    vector: Names = (),
    audio: Names = (),
    video: Names = (),
    reviews: Names = (),
    pair: Names = (),
    features: Sequence[Mapping[str, Any]] = (),
    group: str | None = None,
    user: str | None = None,
    time_column: str | None = None,
    split: str | None = None,
    media: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    progress: bool = True,
    **overrides: Any,
) -> FittedRanker:
    """A ranker that learned from two tables, measured on a tenth of the lists and exported.

    What `python -m mmrank.train` does, on a dataset folder that is written of the tables.

    Args:
      judged: A row per candidate of a list; candidates of one list compete.
      catalog: A row per item; None if the items' columns stand in `judged`.
      item: The column of item ids, in both.
      query: Columns of `judged` with texts of the query.
      grade: Its column of grades, from 0 for irrelevant.
      labels: Its columns of other labels, such as {"click": "clicked"}.
      text, image, number, category, tags, vector, audio, video, reviews: Columns of the catalogue
        by kind; cells of media are paths or the bytes of files.
      pair: Columns of `judged` with a number for query and item together.
      features: More features, as a schema.yaml has them.
      group: The column that tells lists apart; without it, the query and the shopper do.
      user, time_column, split: Columns of the shopper, the list's time and its split (train,
        valid or test; without it by a hash of the list).
      media: Folder or zip archive that the paths of media lead from (default: the working
        directory).
      out: Folder of the run; without it a temporary one, which lasts as long as what is returned.
      config: A config file, or a mapping of the same form; what it does not say is chosen by the
        data where it has no section `model`.
      progress: Whether to tell what is done.
      **overrides: Sections of the config over it, such as training={"epochs": 3}.

    Raises:
      ValueError: What the tables or the config have cannot be used; one line or a list of lines
        says what and how to mend it.
    """
    started = time.monotonic()
    if progress:
        log_progress()
    kinds = {
        "text": text,
        "image": image,
        "number": number,
        "category": category,
        "tags": tags,
        "vector": vector,
        "audio": audio,
        "video": video,
        "reviews": reviews,
    }
    columns = Columns(
        item=item,
        query=as_names(query),
        grade=grade,
        labels=dict(labels or {}),
        items={kind: as_names(names) for kind, names in kinds.items()},
        pair=as_names(pair),
        group=group,
        user=user,
        time=time_column,
        split=split,
        features=tuple(features),
    )
    plain = _plain(config, overrides)
    chosen = plain.get("model") is None or (config is None and "model" in overrides)
    given = from_mapping(Config, plain, "config")  # wrong values are told before anything is done
    if out is not None:
        folder = pathlib.Path(out)
        refuse_filled(folder, but=(LOCK,))
    else:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="mmrank-"))
    try:
        with locked_run(folder):
            schema = write_frames(columns, judged, catalog, folder / DATA, media)
            dataset = checked_dataset(folder / DATA)
            settings = default_config(schema, dataset, plain) if chosen else given
            check_job(settings, dataset.schema)
            check_data(settings, dataset)
            trained = train(settings, dataset, folder)
            finished = measure_and_export(trained, dataset, started)
    except BaseException:
        if out is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    fitted = FittedRanker(columns, finished, media)
    if out is None:
        weakref.finalize(fitted, shutil.rmtree, folder, ignore_errors=True)
    return fitted


def _plain(
    config: str | os.PathLike[str] | Mapping[str, Any] | None, overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """What the caller says of the run, overrides over the config, section by section."""
    if config is None:
        plain: dict[str, Any] = {}
    elif isinstance(config, Mapping):
        plain = dict(config)
    else:
        plain = read_plain(pathlib.Path(config))
    known = list(Config.__dataclass_fields__)
    for key, value in overrides.items():
        if key not in known:
            raise ConfigError(
                f"fit: no argument and no section of a config is called {key!r}"
                f"{did_you_mean(key, known)}"
            )
        plain[key] = _over(plain.get(key), value)
    return plain


def _over(below: Any, above: Any) -> Any:
    """One value over another, mappings key by key."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    return {**below, **{k: _over(below.get(k), v) for k, v in above.items()}}
