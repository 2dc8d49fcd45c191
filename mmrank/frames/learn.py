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
from mmrank.job import run_experiment
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
    """Trains a ranker on two tables, measures it on a tenth of the lists, and exports it.

    Writes the tables as a dataset folder and runs the same job as `python -m mmrank.train`.

    Args:
      judged: A row per candidate of a list; candidates of one list compete.
      catalog: A row per item; None if `judged` has the items' columns.
      item: The column of item ids, in both tables.
      query: Columns of `judged` with texts of the query.
      grade: The column of grades in `judged`, from 0 for irrelevant.
      labels: Columns of other labels in `judged`, such as {"click": "clicked"}.
      text, image, number, category, tags, vector, audio, video, reviews: Columns of the catalogue
        by kind; cells of media are paths or the bytes of files.
      pair: Columns of `judged` with a number for query and item together.
      features: Further features, in the form of a schema.yaml.
      group: The column of list ids; without it, query and user identify a list.
      user, time_column, split: Columns of the user, the list's time and its split (train, valid or
        test; without the column, lists are split by a hash).
      media: Folder or zip archive that the paths of media are relative to (default: the working
        directory).
      out: Folder of the run; without it a temporary folder, which is removed with the returned
        ranker.
      config: A config file, or a mapping of the same form. If it has no section `model`, settings
        that it leaves out are chosen from the data.
      progress: Whether to log the progress.
      **overrides: Sections that override those of the config, such as training={"epochs": 3}.

    Returns:
      The fitted ranker.

    Raises:
      ValueError: The tables or the config cannot be used; one line or several say what is wrong and
        how to fix it.

    Example:
      Twenty searches of three products, in which the expensive product is the relevant one:

      >>> import numpy as np
      >>> import pandas as pd
      >>> import mmrank
      >>> judged = pd.DataFrame(
      ...     {
      ...         "search": np.repeat(np.arange(20), 3),
      ...         "sku": ["A", "B", "C"] * 20,
      ...         "price": [9.0, 5.0, 1.0] * 20,
      ...         "grade": [2, 1, 0] * 20,
      ...     }
      ... )
      >>> ranker = mmrank.fit(
      ...     judged,
      ...     group="search",
      ...     item="sku",
      ...     grade="grade",
      ...     number="price",
      ...     model={"width": 8, "head": {"hidden": [8]}},
      ...     training={"epochs": 1},
      ...     evaluation={"baselines": []},
      ...     progress=False,
      ... )
      >>> ranked = ranker.rank(candidates=pd.DataFrame({"sku": ["X", "Y"], "price": [7.0, 2.0]}))
      >>> list(ranked.columns), ranked["rank"].tolist()
      (['sku', 'price', 'score', 'rank'], [1, 2])
      >>> ranker.score(judged).shape
      (60,)
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
    given = from_mapping(Config, plain, "config")  # raises for wrong values before any work
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
            finished = run_experiment(settings, dataset, folder, started=started)
            if finished is None:
                raise ConfigError(
                    "fit: only the first of several workers has a ranker in the end; train on "
                    "several hosts by `python -m mmrank.train`"
                )
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
    """Returns the caller's config as plain values, with the overrides merged over it."""
    if config is None:
        plain: dict[str, Any] = {}
    elif isinstance(config, Mapping):
        plain = dict(config)
    elif not isinstance(config, (str, os.PathLike)):
        raise ConfigError(f"config: expected a file or a mapping, got {type(config).__name__}")
    else:
        plain = read_plain(pathlib.Path(config))
    known = list(Config.__dataclass_fields__)
    for key, value in overrides.items():
        if key not in known:
            raise ConfigError(
                f"fit: {key!r} is neither an argument nor a section of a "
                f"config{did_you_mean(key, known)}"
            )
        plain[key] = _over(plain.get(key), value)
    return plain


def _over(below: Any, above: Any) -> Any:
    """Returns the value `above`; mappings are merged key by key over `below`."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    return {**below, **{k: _over(below.get(k), v) for k, v in above.items()}}
