"""The model card of a ranker as JSON and Markdown, for those who decide whether to use it."""

from __future__ import annotations

import datetime
import json
import pathlib
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import mmrank
from mmrank.config import CONFIG_FILE, METRICS_FILE, TEACHER_FILE, load_config
from mmrank.data.splits import SPLITS
from mmrank.data.tables import Dataset
from mmrank.serving.model_card_text import as_markdown
from mmrank.trained_run import Run
from mmrank.versions import version_set_of

CARD_JSON = pathlib.PurePath("assets.extra", "model_card.json")
CARD_TEXT = pathlib.PurePath("assets.extra", "model_card.md")
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
    """Writes the model card of an export, as JSON for programs and as Markdown for people.

    Args:
      folder: The export.
      run: The run that was exported.
      dataset: The dataset whose catalogue is in the export.
      compression: How the export was compressed, as `Compressed.card` returns it; None if it was
        not.
    """
    card = model_card(run, dataset)
    if compression is not None:
        card["compression"] = compression
        card["limits"].append(_smaller(compression))
    text = json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / CARD_JSON).write_text(text + "\n", encoding="utf-8")
    (folder / CARD_TEXT).write_text(as_markdown(card), encoding="utf-8")


def model_card(run: Run, dataset: Dataset) -> dict[str, Any]:
    """Returns the card: model, data, figures with intervals, slices, limits and versions, as JSON.

    The figures are those of the run's own evaluation; None if it had none.
    """
    figures = _read(run.folder / METRICS_FILE)
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
        | {n: metadata.version(n) for n in version_set_of().bounds},
    }


def _read(file: pathlib.Path) -> dict[str, Any] | None:
    """Returns the content of a JSON file of a run; None if the file does not exist."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def _own_order(run: Run) -> str | None:
    """Returns the order that a run was evaluated by, which may differ from the exported one."""
    file = run.folder / CONFIG_FILE
    return (load_config(file) if file.is_file() else run.config).model.order


def _teacher(run: Run) -> dict[str, Any] | None:
    """Returns the teacher of a distilled run, its path cut to its name; None for other runs."""
    teacher = _read(run.folder / TEACHER_FILE)
    return None if teacher is None else teacher | {"run": pathlib.PurePath(teacher["run"]).name}


def _smaller(compression: Mapping[str, Any]) -> str:
    ndcg = compression["validation_ndcg@10"]
    steps = ", ".join(compression["steps"])
    if ndcg["before"] is None:
        return f"Compressed ({steps}) after the run's own evaluation."
    return (
        f"Compressed ({steps}) after the run's own evaluation: NDCG@10 on its validation lists "
        f"was {ndcg['before']:.4f} before and is {ndcg['after']:.4f} now."
    )


def _data(run: Run, dataset: Dataset) -> dict[str, Any]:
    """Returns the dataset whose catalogue is exported, and whether the run was trained on it."""
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
    """Returns the limits that users of the ranker should know, one sentence or two each."""
    lines = [
        "Scores order the candidates of one list; those of two lists cannot be compared.",
        "An item that is not in the exported catalogue is ranked as an item without any "
        "known feature.",
        f"Trained on lists of at most {run.config.data.max_candidates} candidates.",
    ]
    if figures is None:
        lines.append("The run has no evaluation figures, so it is not known how well it ranks.")
    else:
        lines.append(
            f"Figures are for {figures['lists']} {figures['split']} lists of "
            f"{figures['dataset']}; lists without a relevant item are "
            f"{CONVENTION.get(figures['no_relevant'], figures['no_relevant'])}."
        )
        own, order = figures["order"], run.config.model.order
        if _bare(own) != _bare(order):
            lines.append(f"Figures are for the order `{own}`, not for the exported `{order}`.")
    if run.data.resolve() != dataset.folder.resolve():
        lines.append(
            "The exported catalogue is not that of the training dataset "
            f"({run.fitted.schema.name})."
        )
    return lines


def _bare(order: str | None) -> str:
    return "".join((order or "").split())
