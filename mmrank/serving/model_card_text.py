"""A model card as Markdown, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SHOWN = ("ndcg@10", "mrr", "map", "auc")
TASK_SHOWN = (("auc", "log_loss", "ece"), ("rmse", "mae"))  # for probabilities, for values


def as_markdown(card: Mapping[str, Any]) -> str:
    """Returns the text of a card that `model_card` made."""
    model, data = card["model"], card["data"]
    lines = [
        f"# Ranker {card['run']}",
        "",
        f"Exported {card['exported']}. {model['parameters']:,} parameters, width {model['width']}, "
        f"fusion {model['fusion']}"
        + (f", rank model {model['rank_model']}" if model["rank_model"] else "")
        + (f", tasks {', '.join(model['tasks'])}" if model["tasks"] else "")
        + (f", order `{model['order']}`" if model["order"] else "")
        + "."
        + _taught(model["teacher"]),
        "",
        *_table(
            ("feature", "kind", "side"),
            ((f["name"], f["kind"], f["side"]) for f in model["features"]),
        ),
        "## Data",
        "",
        ("" if data["of_training"] else f"Trained on {data['trained_on']}; exported with ")
        + f"{data['name']}: {data['items']:,} items, {data['events']:,} events; lists: "
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


def _taught(teacher: Mapping[str, Any] | None) -> str:
    if teacher is None:
        return ""
    return (
        f" A student of the ranker {teacher['run']}, whose scores at temperature "
        f"{teacher['temperature']:g} are {teacher['share']:.0%} of its labels."
    )


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
        "For comparison, on all lists:",
        "",
        *_table(("scorer", *SHOWN), ((n, *map(_figure, _shown(m))) for n, m in others.items())),
        *_task_figures(figures.get("tasks", {}).get("figures", ())),
    ]


def _task_figures(figures: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the tables of the probabilities and the values that the run's tasks predict.

    Empty for a run without tasks.
    """
    lines = []
    for shown in TASK_SHOWN:
        rows = [
            (f["task"], f["part"], f"{f['rows']:,}", f"{f['positives']:,}")
            + tuple(_plain(f["figures"][name]) for name in shown)
            for f in figures
            if set(f["figures"]) == set(shown)
        ]
        if rows:
            lines += _table(("task", "candidates", "rows", "positive", *shown), rows)
    return ["Tasks, each evaluated on its own label:", "", *lines] if lines else []


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _shown(metrics: Mapping[str, Any]) -> list[Mapping[str, Any] | None]:
    return [metrics.get(name) for name in SHOWN]


def _figure(figure: Mapping[str, Any] | None) -> str:
    if figure is None or figure.get("mean") is None:
        return "–"
    return f"{figure['mean']:.3f} ({figure['low']:.3f}–{figure['high']:.3f})"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Returns the lines of a Markdown table and the empty line after it."""
    head = list(head)
    cells = [head, ["---"] * len(head), *([str(c) for c in row] for row in rows)]
    return [*(f"| {' | '.join(row)} |" for row in cells), ""]
