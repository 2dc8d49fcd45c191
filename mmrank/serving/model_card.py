"""What a ranker is, for whoever decides whether to use it: a model card as JSON and Markdown."""

from __future__ import annotations

import datetime
import json
import pathlib
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import mmrank
from mmrank.build import Run
from mmrank.config import CONFIG_FILE, TEACHER_FILE, load_config
from mmrank.data.tables import SPLITS, Dataset
from mmrank.lane import LANE
from mmrank.serving.model_card_text import as_markdown

CARD_JSON = pathlib.PurePath("assets.extra", "model_card.json")
CARD_TEXT = pathlib.PurePath("assets.extra", "model_card.md")
FIGURES = "metrics.json"  # of a run
KEPT = (
    *("dataset", "split", "lists", "rows", "no_relevant", "relevant_grade", "level"),
    *("metrics", "slices", "tasks"),
)
CONVENTION = {
    "skip": "left out of every mean",
    "zero": "counted as 0",
    "one": "counted as 1",
}


def write_model_card(
    folder: pathlib.Path,
    run: Run,
    dataset: Dataset,
    compression: Mapping[str, Any] | None = None,
) -> None:
    """Writes the model card of an export, for programs and for people.

    Args:
      folder: The export.
      run: What was exported.
      dataset: The catalogue inside it.
      compression: How it was made smaller, as `Compressed.card` says it; None if it was not.
    """
    card = model_card(run, dataset)
    if compression is not None:
        card["compression"] = compression
        card["limits"].append(_smaller(compression))
    text = json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / CARD_JSON).write_text(text + "\n", encoding="utf-8")
    (folder / CARD_TEXT).write_text(as_markdown(card), encoding="utf-8")


def model_card(run: Run, dataset: Dataset) -> dict[str, Any]:
    """The card: model, data, figures with intervals, slices, limits and versions, as JSON.

    The figures are those of the run's own evaluation, absent if it had none.
    """
    figures = _read(run.folder / FIGURES)
    if figures is not None:
        figures = {n: figures[n] for n in KEPT if n in figures} | {"order": _own_order(run)}
    order = None if run.outputs is None or run.outputs.order is None else run.outputs.order.text
    features = [
        {"name": k.name, "kind": k.feature.kind, "side": k.feature.side}
        for k in run.fitted.columns.values()
    ]
    if run.fitted.history is not None:
        features.append({"name": run.fitted.history.name, "kind": "history", "side": "user"})
    return {
        "run": run.folder.name,
        "exported": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "model": {
            "features": features,
            "fusion": run.config.model.fusion.name,
            "rank_model": run.config.model.head.rank_model,
            "width": run.model.width,
            "parameters": run.model.network.count_params(),
            "tasks": [] if run.outputs is None else list(run.outputs.names),
            "order": order,
            "teacher": _teacher(run),
        },
        "data": _data(run, dataset),
        "figures": figures,
        "limits": _limits(run, dataset, figures),
        "versions": {"mmrank": mmrank.__version__, "python": platform.python_version()}
        | {n: metadata.version(n) for n in LANE},
    }


def _read(file: pathlib.Path) -> dict[str, Any] | None:
    """A JSON file of a run; None if it has no such file."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def _own_order(run: Run) -> str | None:
    """The order that a run was evaluated by, which may not be the one that is exported."""
    file = run.folder / CONFIG_FILE
    return (load_config(file) if file.is_file() else run.config).model.order


def _teacher(run: Run) -> dict[str, Any] | None:
    """The ranker that a distilled run learned from, without where that lies; None for any other."""
    told = _read(run.folder / TEACHER_FILE)
    return None if told is None else told | {"run": pathlib.PurePath(told["run"]).name}


def _smaller(compression: Mapping[str, Any]) -> str:
    ndcg = compression["validation_ndcg@10"]
    steps = ", ".join(compression["steps"])
    if ndcg["before"] is None:
        return f"Made smaller ({steps}) after the run's own evaluation."
    return (
        f"Made smaller ({steps}) after the run's own evaluation: NDCG@10 on its validation lists "
        f"is {ndcg['after']:.4f}, and was {ndcg['before']:.4f} before."
    )


def _data(run: Run, dataset: Dataset) -> dict[str, Any]:
    """The dataset whose catalogue is exported, and whether it is the one that was trained on."""
    lists = dataset.lists[dataset.schema.lists.list]
    return {
        "name": dataset.schema.name,
        "trained_on": run.fitted.schema.name,
        "of_training": run.data.resolve() == dataset.folder.resolve(),
        "items": len(dataset.catalog),
        "events": 0 if dataset.events is None else len(dataset.events),
        "lists": {
            split: int(lists[dataset.lists["_split"] == split].nunique()) for split in SPLITS
        },
    }


def _limits(run: Run, dataset: Dataset, figures: Mapping[str, Any] | None) -> list[str]:
    """What is to be known before the ranker is relied upon."""
    said = [
        "Scores order the candidates of one list; those of two lists cannot be compared.",
        "An item that is not in the exported catalogue is ranked as one of which nothing is known.",
        f"Trained on lists of at most {run.config.data.max_candidates} candidates.",
    ]
    if figures is None:
        said.append("The run has no figures of its own: nothing is known of how well it ranks.")
    else:
        said.append(
            f"Figures are of {figures['lists']} {figures['split']} lists of "
            f"{figures['dataset']}; lists without a relevant item are "
            f"{CONVENTION.get(figures['no_relevant'], figures['no_relevant'])}."
        )
        own, order = figures["order"], run.config.model.order
        if _bare(own) != _bare(order):
            said.append(f"Figures are of the order `{own}`, not of the exported `{order}`.")
    if run.data.resolve() != dataset.folder.resolve():
        said.append(
            "The exported catalogue is that of another dataset than the training's "
            f"({run.fitted.schema.name})."
        )
    return said


def _bare(order: str | None) -> str:
    return "".join((order or "").split())
