"""What an export says of itself: the features it takes, its tasks, whose item vectors it reads."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from mmrank.collaborative.served import FILE as COLLABORATIVE
from mmrank.collaborative.served import ServedScores
from mmrank.outputs import one_line, shown
from mmrank.serving.request import Column, Inputs, RankError, read_events

CARD = pathlib.PurePath("assets.extra", "ranker.json")
FORMAT = 1
COLLABORATIVE_KIND = "collaborative"
REMEDY = "export a run with `python -m mmrank.export --run RUN`"


@dataclasses.dataclass(frozen=True)
class Card:
    """What a client has to know of an export beside its signatures.

    Attributes:
      inputs: The features that it takes.
      tasks: Names of its tasks, none if it scores by grades.
      fingerprint: The `item_fingerprint` of its model; empty in an export older than these.
      collaborative: The collaborative scores of candidates given by id, or None.
    """

    inputs: Inputs
    tasks: tuple[str, ...] = ()
    fingerprint: str = ""
    collaborative: ServedScores | None = None

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the item tokens, in their order."""
        return self.names("item")

    def names(self, *sides: str) -> tuple[str, ...]:
        """Names of the features of some sides, in their order."""
        return tuple(c.name for c in self.inputs.columns.values() if c.side in sides)

    def with_scores(
        self, pairs: Sequence[Mapping[str, Any]], events: list[Any] | None, ids: Sequence[str]
    ) -> Sequence[Mapping[str, Any]]:
        """The pairs' features with their collaborative scores, where the caller gives none.

        Args:
          pairs: Query-item features of each candidate.
          events: What the shopper did, as `read_events` takes it.
          ids: Of each candidate; an unknown one gets no scores.
        """
        if self.collaborative is None or not events:
            return pairs
        vectors = self.collaborative.vectors(read_events(events), ids)
        name = next(c.name for c in self.inputs.columns.values() if c.kind == COLLABORATIVE_KIND)
        return [{name: v, **p} for v, p in zip(vectors, pairs, strict=True)]


def read_card(folder: pathlib.Path) -> Card:
    """The card in the folder of an export.

    Raises:
      RankError: There is none, or it is damaged or in another format.
    """
    file = folder / CARD
    if not file.is_file():
        raise RankError(f"{folder}: no {CARD}, so mmrank did not write it; {REMEDY}")
    scores = folder / CARD.parent / COLLABORATIVE
    try:
        served = ServedScores.load(scores) if scores.is_file() else None
    except (ValueError, LookupError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise RankError(f"{scores}: damaged: {one_line(error)}; {REMEDY}") from error
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
        known = card.get("format")
        if known == FORMAT:
            columns = {c["name"]: _column(c) for c in card["features"]}
            history = card["history"]
            name = None if history is None else _text(history["name"])
            tasks = tuple(map(_text, card.get("tasks", ())))
            return Card(Inputs(columns, name), tasks, _text(card.get("fingerprint", "")), served)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RankError(f"{file}: damaged: {one_line(error)}; {REMEDY}") from error
    raise RankError(
        f"{folder}: in format {shown(known)}, while this mmrank reads {FORMAT}; {REMEDY}"
    )


def _column(told: Mapping[str, Any]) -> Column:
    """The feature that the card tells of."""
    for key in ("name", "kind", "side", "dtype"):
        _text(told[key])
    if not isinstance(told["media"], bool):
        raise TypeError(f"media is {shown(told['media'])}")
    return Column(**told)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {shown(value)}")
    return value
