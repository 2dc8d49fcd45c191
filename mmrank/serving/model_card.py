"""What a ranker is, for whoever decides whether to use it: a model card as JSON and Markdown."""

from __future__ import annotations

import datetime
import json
import pathlib
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

import mmrank
from mmrank.build import Run
from mmrank.data.tables import SPLITS, Dataset
from mmrank.lane import LANE

CARD_JSON = pathlib.PurePath("assets.extra", "model_card.json")
CARD_TEXT = pathlib.PurePath("assets.extra", "model_card.md")
FIGURES = "metrics.json"  # of a run
SHOWN = ("ndcg@10", "mrr", "map", "auc")
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
    figures = None
    if (run.folder / FIGURES).is_file():
        read = json.loads((run.folder / FIGURES).read_text(encoding="utf-8"))
        kept = ("dataset", "split", "lists", "rows", "no_relevant", "relevant_grade", "level")
        figures = {n: read[n] for n in (*kept, "metrics", "slices", "tasks") if n in read}
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
        },
        "data": _data(dataset),
        "figures": figures,
        "limits": _limits(run, dataset, figures),
        "versions": {"mmrank": mmrank.__version__} | {n: metadata.version(n) for n in LANE},
    }


def _smaller(compression: Mapping[str, Any]) -> str:
    ndcg = compression["validation_ndcg@10"]
    steps = ", ".join(compression["steps"])
    if ndcg["before"] is None:
        return f"Made smaller ({steps}) after the run's own evaluation."
    return (
        f"Made smaller ({steps}) after the run's own evaluation: NDCG@10 on its validation lists "
        f"is {ndcg['after']:.4f}, and was {ndcg['before']:.4f} before."
    )


def _data(dataset: Dataset) -> dict[str, Any]:
    lists = dataset.lists[dataset.schema.lists.list]
    return {
        "name": dataset.schema.name,
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
    if run.data.resolve() != dataset.folder.resolve():
        said.append("The exported catalogue is not the one that the ranker was trained on.")
    return said


def as_markdown(card: Mapping[str, Any]) -> str:
    """A model card as Markdown."""
    model, data = card["model"], card["data"]
    lines = [
        f"# Ranker {card['run']}",
        "",
        f"Exported {card['exported']}. {model['parameters']:,} parameters, width {model['width']}, "
        f"fusion {model['fusion']}"
        + (f", rank model {model['rank_model']}" if model["rank_model"] else "")
        + (f", tasks {', '.join(model['tasks'])}" if model["tasks"] else "")
        + (f", order `{model['order']}`" if model["order"] else "")
        + ".",
        "",
        *_table(
            ("feature", "kind", "side"),
            ((f["name"], f["kind"], f["side"]) for f in model["features"]),
        ),
        "## Data",
        "",
        f"{data['name']}: {data['items']:,} items, {data['events']:,} events; lists: "
        + ", ".join(f"{count:,} {split}" for split, count in data["lists"].items())
        + ".",
        "",
        *_figures(card["figures"]),
        "## Limits",
        "",
        *(f"- {limit}" for limit in card["limits"]),
        "",
        "## Versions",
        "",
        *_table(("package", "version"), card["versions"].items()),
    ]
    return "\n".join(lines)


def _figures(figures: Mapping[str, Any] | None) -> list[str]:
    if figures is None:
        return []
    level = f"{figures['level']:.0%}"
    scored = {"all lists": figures["metrics"]["model"]} | {
        s["name"]: s["metrics"]["model"] for s in figures["slices"] if "model" in s["metrics"]
    }
    others = {n: m for n, m in figures["metrics"].items() if n != "model"}
    return [
        f"## Figures, with {level} intervals",
        "",
        *_table(("lists", *SHOWN), ((n, *map(_figure, _shown(m))) for n, m in scored.items())),
        "Beside it, on all lists:",
        "",
        *_table(("scorer", *SHOWN), ((n, *map(_figure, _shown(m))) for n, m in others.items())),
    ]


def _shown(metrics: Mapping[str, Any]) -> list[Mapping[str, Any] | None]:
    return [metrics.get(name) for name in SHOWN]


def _figure(figure: Mapping[str, Any] | None) -> str:
    if figure is None or figure.get("mean") is None:
        return "–"
    return f"{figure['mean']:.3f} ({figure['low']:.3f}–{figure['high']:.3f})"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A table in Markdown, and the empty line behind it."""
    head = list(head)
    cells = [head, ["---"] * len(head), *([str(c) for c in row] for row in rows)]
    return [*(f"| {' | '.join(row)} |" for row in cells), ""]
