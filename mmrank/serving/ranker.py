"""An exported ranker used from Python: needs the export and TensorFlow, none of the training."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the ops of the tokenizer in the graph

from mmrank.outputs import one_line
from mmrank.ranking.order import Order, parse_order
from mmrank.serving.card import REMEDY, Card, read_card
from mmrank.serving.checksums import verify_checksums, verify_signature
from mmrank.serving.graph_check import check_graph
from mmrank.serving.request import Arrays, Inputs, RankError, item_id, refuse_frame
from mmrank.serving.versions import version_folder, versions

SCORES = "scores"
SMALLEST = float(np.finfo(np.float32).tiny)  # of a chance that has a logarithm


@dataclasses.dataclass(frozen=True)
class Ranked:
    """One candidate in its place.

    Attributes:
      index: Where it stood among the candidates given.
      item: The candidate as given: an item id, or a mapping of raw features.
      score: Its score; only differences within one list mean anything.
      outputs: What each task says of it: a chance, seconds, or another value.
    """

    index: int
    item: Any
    score: float
    outputs: Mapping[str, float] = dataclasses.field(default_factory=dict)


class Ranker:
    """A ranker read from its export. Make one with `Ranker.load`.

    Attributes:
      folder: The export it was read from.
      card: What the export says of itself.
      order: Another formula for the order than the export's, or None.
    """

    def __init__(self, folder: pathlib.Path, card: Card, module: Any, order: Order | None = None):
        self.folder, self.card, self.order = folder, card, order
        self._module = module

    @property
    def inputs(self) -> Inputs:
        """The features that it takes."""
        return self.card.inputs

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of its tasks, none if it scores by grades."""
        return self.card.tasks

    @property
    def signatures(self) -> Mapping[str, Any]:
        """The export's signatures by name; each takes and gives named tensors."""
        return self._module.signatures

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        order: str | None = None,
        verify: bool = False,
        allow: Collection[str] = (),
    ) -> Ranker:
        """The ranker in an export such as `RUN/export/1`, or the newest one in `RUN/export`.

        An export is a program: loading one runs what it holds, with your rights. Load what others
        hand over with `verify`, and see docs/threats.md.

        Args:
          path: The export, or the folder of the numbered exports.
          order: A formula over the ranker's tasks, such as `click^0.1 * purchase`, in place of the
            one that it was exported with.
          verify: Whether to look at it before anything of it is run: every file is compared with
            the list of checksums; the list has to be signed by the key in MMRANK_EXPORT_KEY, if
            the environment has one; and every op has to be one that only computes.
          allow: Ops that `verify` lets pass besides, such as those of a TF-Hub model.

        Raises:
          RankError: There is no export of mmrank at `path`, it is damaged, or `order` does not fit
            its tasks.
          ChecksumError: With `verify`, a file is not what was exported, or the signature not that
            of the key.
          UntrustedExport: With `verify`, it holds an op that may do more than compute.
        """
        folder = export_folder(pathlib.Path(path))
        if verify:
            verify_checksums(folder)
            verify_signature(folder)
            check_graph(folder, allow)
        card = read_card(folder)
        chosen = None if order is None else _order(order, card.tasks, folder)
        return cls(folder, card, _loaded(folder), chosen)

    def rank(
        self,
        query: str | bytes | os.PathLike[str] | Mapping[str, Any] | None = None,
        candidates: Iterable[Any] = (),
        user: Any = None,
        history: Iterable[Any] | None = None,
        pairs: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[Ranked]:
        """The candidates from best to worst; equal scores keep the order given.

        Args:
          query: The text of the query, its photo (the file's bytes or a `pathlib.Path`), or a
            mapping of the query's features, such as {"query": "red", "photo": "me.jpg"}.
          candidates: Item ids of the exported catalogue, or for each candidate a mapping of its
            raw features (a photo as its bytes or its path). What is left out is absent, and so is
            everything about an unknown item id.
          user: The value of the shopper's feature, or a mapping of the shopper's features.
          history: What the shopper did, in any order: (item id, event type, age in days), or
            mappings with the keys item, type and age_days.
          pairs: For each candidate a mapping of its query-item features; those of raw candidates
            may stand among the candidate's own.

        Raises:
          RankError: There is no candidate, ids and mappings are mixed, or a feature is unknown
            or of the wrong type.
        """
        listed = _listed(candidates)
        outputs = self.outputs(query, listed, user, history, pairs)
        scores = outputs.pop(SCORES)
        order = np.argsort(-scores, kind="stable")
        return [
            Ranked(
                int(i), listed[i], float(scores[i]), {n: float(v[i]) for n, v in outputs.items()}
            )
            for i in order
        ]

    def scores(
        self,
        query: str | bytes | os.PathLike[str] | Mapping[str, Any] | None = None,
        candidates: Iterable[Any] = (),
        user: Any = None,
        history: Iterable[Any] | None = None,
        pairs: Sequence[Mapping[str, Any]] | None = None,
    ) -> np.ndarray:
        """Scores [candidates] float32 in the order given; arguments and errors as of `rank`."""
        return self.outputs(query, candidates, user, history, pairs)[SCORES]

    def outputs(
        self,
        query: str | bytes | os.PathLike[str] | Mapping[str, Any] | None = None,
        candidates: Iterable[Any] = (),
        user: Any = None,
        history: Iterable[Any] | None = None,
        pairs: Sequence[Mapping[str, Any]] | None = None,
    ) -> dict[str, np.ndarray]:
        """`scores` and each task's output by name, [candidates] float32 in the order given.

        A task's output is a chance, or the seconds or other value that a regression learned.
        Arguments and errors as of `rank`.
        """
        listed = _listed(candidates)
        if pairs is not None and len(pairs) != len(listed):
            raise RankError(f"pairs: {len(pairs)} for {len(listed)} candidates; give one for each")
        pairs = [{}] * len(listed) if pairs is None else pairs
        context = self.inputs.context("query", query) | self.inputs.context("user", user)
        events = None if history is None else list(history)
        reads_history = self.inputs.history is not None or self.card.collaborative is None
        arrays = context | self.inputs.events(events if reads_history else None)
        wheres = [f"candidate {i}" for i in range(len(listed))]
        if isinstance(listed[0], Mapping):
            rows = [{**c, **p} for c, p in zip(listed, pairs, strict=True)]
            per_candidate = self.inputs.rows(("item", "pair"), rows, wheres)
            arrays["list_length"] = np.array([len(rows)], np.int32)
            signature = "serving_default"
        else:
            ids = [item_id(c, w) for c, w in zip(listed, wheres, strict=True)]
            pairs = self.card.with_scores(pairs, events, ids)
            per_candidate = self.inputs.rows(("pair",), pairs, wheres)
            per_candidate["items"] = np.array(ids, object)
            signature = "rank_items"
        arrays |= {n: a[None] for n, a in per_candidate.items()}
        return {n: a[0] for n, a in self.scored(signature, arrays).items()}

    def scored(self, signature: str, arrays: Arrays) -> dict[str, np.ndarray]:
        """`scores` and each task's output by name, [B, L] float32, under this ranker's order.

        Args:
          signature: `serving_default` or `rank_items`.
          arrays: Its inputs by name, of B lists padded to L candidates.
        """
        given = self._given(signature, arrays)
        if self.order is not None:
            logs = {n: tf.math.log(tf.maximum(given[n], SMALLEST)) for n in self.tasks}
            given = {**given, SCORES: self.order.scores(logs)}
        return {n: given[n].numpy() for n in (SCORES, *self.tasks)}

    def run(self, signature: str, arrays: Arrays) -> dict[str, np.ndarray]:
        """The outputs of one signature by name.

        Args:
          signature: Its name.
          arrays: Its inputs by name, texts as arrays of objects.
        """
        return {n: t.numpy() for n, t in self._given(signature, arrays).items()}

    def _given(self, signature: str, arrays: Arrays) -> Mapping[str, tf.Tensor]:
        tensors = {
            # An empty array of objects would not be known for texts.
            n: tf.constant(a, tf.string if a.dtype == object else a.dtype)
            for n, a in arrays.items()
        }
        return self.signatures[signature](**tensors)


def _loaded(folder: pathlib.Path) -> Any:
    """The SavedModel of an export.

    Raises:
      RankError: It is damaged.
    """
    try:
        return tf.saved_model.load(str(folder))
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, tf.errors.OpError) as error:
        raise RankError(f"{folder}: damaged: {one_line(error)}; {REMEDY}") from error


def _order(text: str, tasks: Sequence[str], folder: pathlib.Path) -> Order:
    if len(tasks) < 2:
        raise RankError(f"{folder}: order {text!r} combines several tasks, and it has {len(tasks)}")
    try:
        return parse_order(text, tasks)
    except ValueError as error:
        raise RankError(f"{folder}: {error}") from None


def _listed(candidates: Iterable[Any]) -> list[Any]:
    """The candidates, either all raw or none."""
    if isinstance(candidates, (str, bytes, Mapping)):
        raise RankError(f"candidates: expected a list, got one {type(candidates).__name__}")
    refuse_frame("candidates", candidates)
    listed = list(candidates)
    if not listed:
        raise RankError("candidates: there is none; give at least one")
    raw = [isinstance(c, Mapping) for c in listed]
    if any(raw) and not all(raw):
        raise RankError(
            f"candidates: {raw.index(True)} is a mapping of features and {raw.index(False)} an "
            "item id; give all of one sort in one call"
        )
    return listed


def export_folder(path: pathlib.Path) -> pathlib.Path:
    """The export at a path, or the newest of the numbered exports in it.

    Raises:
      RankError: There is none.
    """
    numbered = [version_folder(path, n) for n in versions(path)] if path.is_dir() else []
    for folder in (path, *reversed(numbered)):
        if (folder / "saved_model.pb").is_file():
            return folder
    raise RankError(f"{path}: holds no SavedModel and no numbered folder with one; {REMEDY}")
