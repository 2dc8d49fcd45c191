"""The card of an export: its input features, its tasks, and the fingerprint of its model."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmrank.collaborative.served import FILE as COLLABORATIVE
from mmrank.collaborative.served import ServedScores
from mmrank.data.kinds import KINDS
from mmrank.outputs import one_line, shown
from mmrank.reranking.columns import PageColumns
from mmrank.schema import did_you_mean
from mmrank.serving.request import Arrays, Column, Inputs, RankError, read_events

CARD = pathlib.PurePath("assets.extra", "ranker.json")
FORMAT = 1
COLLABORATIVE_KIND = "collaborative"
REMEDY = "export a run with `python -m mmrank.export --run RUN`"


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a request says apart from its candidates.

    Attributes:
      contexts: The features [1] of query and user, with their flags.
      history: The history [1, H]; empty for an export that reads none.
      events: The user's events as given; None without.
    """

    contexts: Arrays
    history: Arrays
    events: list[Any] | None


@dataclasses.dataclass(frozen=True)
class PolicyCard:
    """What a client has to know about the policy of an export.

    Attributes:
      size: Most candidates of a page.
      guarded: Whether guards limit what the policy may do.
      columns: The features and tasks that it reads. A request can say a price or a group only if
        the ranker takes it too; otherwise the export has those of the catalogue.
    """

    size: int
    guarded: bool
    columns: PageColumns


@dataclasses.dataclass(frozen=True)
class Card:
    """What a client has to know about an export in addition to its signatures.

    Attributes:
      inputs: The features that it takes.
      tasks: Names of its tasks; empty if it scores by grades.
      fingerprint: The `item_fingerprint` of its model; empty for an export older than fingerprints.
      collaborative: The collaborative scores of candidates given by id, or None.
      policy: The policy that rearranges pages, or None.

    Example:
      >>> from mmrank.serving.request import Column, Inputs
      >>> title = Column("title", "text", "item", "string", media=False)
      >>> query = Column("query", "text", "query", "string", media=False)
      >>> card = Card(Inputs({"query": query, "title": title}, history=None), tasks=("click",))
      >>> card.modalities, card.names("query", "user")
      (('title',), ('query',))
    """

    inputs: Inputs
    tasks: tuple[str, ...] = ()
    fingerprint: str = ""
    collaborative: ServedScores | None = None
    policy: PolicyCard | None = None

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the item tokens, in their order."""
        return self.names("item")

    def names(self, *sides: str) -> tuple[str, ...]:
        """Returns the names of the features of some sides, in their order."""
        return tuple(c.name for c in self.inputs.columns.values() if c.side in sides)

    def asked(self, query: Any, user: Any, history: Iterable[Any] | None) -> Asked:
        """Returns what a request says apart from its candidates.

        Args:
          query, user, history: As for `Ranker.rank`.

        Raises:
          RankError: A feature does not exist, a value does not fit, or the export reads no history.
        """
        contexts = self.inputs.context("query", query) | self.inputs.context("user", user)
        events = None if history is None else list(history)
        # Collaborative scores read the events of an export that has no history feature.
        read = self.inputs.history is not None or self.collaborative is None
        return Asked(contexts, self.inputs.events(events if read else None), events)

    def with_scores(
        self, pairs: Sequence[Mapping[str, Any]], events: list[Any] | None, ids: Sequence[str]
    ) -> Sequence[Mapping[str, Any]]:
        """Returns the pairs' features, with collaborative scores where the caller gives none.

        Args:
          pairs: Query-item features of each candidate.
          events: The user's events, as `read_events` takes them.
          ids: The item id of each candidate; an unknown id gets no scores.
        """
        if self.collaborative is None or not events:
            return pairs
        vectors = self.collaborative.vectors(read_events(events), ids)
        name = next(c.name for c in self.inputs.columns.values() if c.kind == COLLABORATIVE_KIND)
        return [{name: v, **p} for v, p in zip(vectors, pairs, strict=True)]


def read_card(folder: pathlib.Path) -> Card:
    """Reads the card in the folder of an export.

    Raises:
      RankError: The card does not exist, is damaged, or has another format.

    Example:
      >>> import json
      >>> import pathlib
      >>> price = {"name": "price", "kind": "number", "side": "item"}
      >>> price |= {"dtype": "float32", "media": False}
      >>> plain = {"format": 1, "features": [price], "history": None, "tasks": ["click"]}
      >>> pathlib.Path("assets.extra").mkdir()
      >>> _ = pathlib.Path("assets.extra/ranker.json").write_text(json.dumps(plain))
      >>> card = read_card(pathlib.Path("."))
      >>> card.names("item"), card.tasks
      (('price',), ('click',))
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
            policy = card.get("policy")
            return Card(
                Inputs(columns, name),
                tasks,
                _text(card.get("fingerprint", "")),
                served,
                None if policy is None else _policy(policy, tasks),
            )
    except RankError as error:
        raise RankError(f"{file}: {error}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RankError(f"{file}: damaged: {one_line(error)}; {REMEDY}") from error
    raise RankError(
        f"{folder}: in format {shown(known)}, while this mmrank reads {FORMAT}; {REMEDY}"
    )


def _column(fields: Mapping[str, Any]) -> Column:
    """Returns the feature that an entry of the card describes."""
    for key in ("name", "kind", "side", "dtype"):
        _text(fields[key])
    if not isinstance(fields["media"], bool):
        raise TypeError(f"media is {shown(fields['media'])}")
    kind = fields["kind"]
    if kind not in KINDS:
        raise RankError(
            f"unknown kind {kind!r}{did_you_mean(kind, KINDS)}; register a kind of your own in "
            f"KINDS before an export that uses it is loaded, or {REMEDY}"
        )
    facts = {key: fields[key] for key in KINDS[kind].facts if key in fields}
    return Column(**{k: v for k, v in fields.items() if k not in facts}, facts=facts)


def _policy(fields: Mapping[str, Any], tasks: Sequence[str]) -> PolicyCard:
    """Returns the policy that an entry of the card describes."""
    read = PageColumns(**{name: _text(value) for name, value in fields["columns"].items()})
    for name in (read.click, read.purchase, read.dwell):
        if name and name not in tasks:
            raise LookupError(f"the policy reads the task {shown(name)}, which does not exist")
    size, guarded = fields["size"], fields["guarded"]
    if type(size) is not int or size < 1 or not isinstance(guarded, bool):
        raise TypeError(f"policy: size {shown(size)}, guarded {shown(guarded)}")
    return PolicyCard(size, guarded, read)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {shown(value)}")
    return value
