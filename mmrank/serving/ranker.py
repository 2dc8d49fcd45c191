"""An exported ranker used from Python. It needs the export and TensorFlow, no training code."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the ops of the tokenizer in the graph

from mmrank.outputs import one_line, shown
from mmrank.ranking.order import Order, parse_order
from mmrank.reranking.guards import Rules
from mmrank.serving.card import REMEDY, Card, read_card
from mmrank.serving.checksums import verify_checksums, verify_signature
from mmrank.serving.graph_check import check_graph
from mmrank.serving.rearranging import Rearranged, rearrange
from mmrank.serving.request import Arrays, Inputs, RankError, item_id, listed, refuse_frame
from mmrank.serving.steps import Run, Steps, finish
from mmrank.serving.versions import version_folder, versions

SCORES = "scores"
SMALLEST = float(np.finfo(np.float32).tiny)  # the least probability that has a logarithm


@dataclasses.dataclass(frozen=True)
class Ranked:
    """One ranked candidate.

    Attributes:
      index: Its index among the candidates given.
      item: The candidate as given: an item id, or a mapping of raw features.
      score: Its score; only differences within one list mean anything.
      outputs: Its output of each task: a probability, seconds, or another value.

    Example:
      >>> best = Ranked(index=1, item="P2", score=0.5, outputs={"click": 0.2})
      >>> best.item, best.outputs["click"]
      ('P2', 0.2)
    """

    index: int
    item: Any
    score: float
    outputs: Mapping[str, float] = dataclasses.field(default_factory=dict)


class Ranker:
    """A ranker read from its export. Make one with `Ranker.load`.

    Attributes:
      folder: The export it was read from.
      card: The export's card.
      order: A formula for the order that replaces the export's, or None.

    Example:
      >>> import pandas as pd
      >>> import mmrank
      >>> judged = pd.DataFrame(
      ...     {
      ...         "search": [row // 2 for row in range(40)],
      ...         "sku": ["A", "B"] * 20,
      ...         "price": [9.0, 1.0] * 20,
      ...         "grade": [1, 0] * 20,
      ...     }
      ... )
      >>> _ = mmrank.fit(
      ...     judged,
      ...     group="search",
      ...     item="sku",
      ...     grade="grade",
      ...     number="price",
      ...     out="runs/shop",
      ...     model={"width": 8, "head": {"hidden": [8]}},
      ...     training={"epochs": 1},
      ...     evaluation={"baselines": []},
      ...     progress=False,
      ... )
      >>> ranker = mmrank.Ranker.load("runs/shop/export")
      >>> ranked = ranker.rank(candidates=["A", "B"])
      >>> ranked[0].score >= ranked[1].score, sorted(place.item for place in ranked)
      (True, ['A', 'B'])
      >>> ranker.scores(candidates=[{"price": 7.0}, {"price": 2.0}, {}]).shape  # new products
      (3,)
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
        """Names of its tasks; empty if it scores by grades."""
        return self.card.tasks

    @property
    def signatures(self) -> Mapping[str, Any]:
        """The export's signatures by name; each takes and returns named tensors."""
        return self._module.signatures

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        order: str | None = None,
        verify: bool = False,
        allow: Collection[str] = (),
    ) -> Ranker:
        """Loads the ranker of an export such as `RUN/export/1`, or the newest in `RUN/export`.

        An export is a program: loading it runs its code with your rights. Load the exports of
        others with `verify`, and see docs/threats.md.

        Args:
          path: The export, or the folder of the numbered exports.
          order: A formula over the ranker's tasks, such as `click^0.1 * purchase`, that replaces
            the one that it was exported with.
          verify: Whether to check the export before any of it is run: every file has to match the
            list of checksums; the list has to be signed by the key in MMRANK_EXPORT_KEY, if the
            environment has one; and every op has to be one that only computes.
          allow: Further ops that `verify` accepts, such as those of a TF-Hub model.

        Raises:
          RankError: `path` holds no export of mmrank, the export is damaged, or `order` does not
            fit its tasks.
          ChecksumError: With `verify`, a file differs from what was exported, or the signature is
            not that of the key.
          UntrustedExport: With `verify`, the export holds an op that may do more than compute.
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
        policy: bool = False,
        rules: Rules | None = None,
    ) -> list[Ranked]:
        """Returns the candidates from best to worst; equal scores keep the order given.

        Args:
          query: The text of the query, its photo (the file's bytes or a `pathlib.Path`), or a
            mapping of the query's features, such as {"query": "red", "photo": "me.jpg"}.
          candidates: Item ids of the exported catalogue, or for each candidate a mapping of its
            raw features (a photo as its bytes or its path). A feature that is left out is absent;
            of an unknown item id, all features are absent.
          user: The value of the user's feature, or a mapping of the user's features.
          history: The user's events, in any order: (item id, event type, age in days), or
            mappings with the keys item, type and age_days.
          pairs: For each candidate a mapping of its query-item features; for raw candidates, these
            may be part of the candidate's own mapping instead.
          policy: Whether the export's policy rearranges the top of the list.
          rules: The rules that hold for it, such as `mmrank.reranking.read_rules` reads; only with
            `policy`.

        Raises:
          RankError: There are no candidates, ids and mappings are mixed, a feature is unknown or of
            the wrong type, or the export has no policy.
        """
        if rules is not None and not policy:
            raise RankError("rules: they hold for the policy's page; give policy=True too")
        given = self._listed(candidates)
        outputs = self.outputs(query, given, user, history, pairs)
        scores = outputs.pop(SCORES)
        order = np.argsort(-scores, kind="stable")
        if policy:
            how = Rearranged() if rules is None else Rearranged(rules)
            order = self._rearranged(how, given, scores, outputs, order)
        return [
            Ranked(int(i), given[i], float(scores[i]), {n: float(v[i]) for n, v in outputs.items()})
            for i in order
        ]

    def _rearranged(
        self,
        how: Rearranged,
        given: Sequence[Any],
        scores: np.ndarray,
        outputs: Mapping[str, np.ndarray],
        order: np.ndarray,
    ) -> np.ndarray:
        """Returns the order after the policy; arguments as for `rearrange`."""
        raw = isinstance(given[0], Mapping)
        ids = [""] * len(given) if raw else [item_id(c, "candidates") for c in given]

        def vectors(page: np.ndarray) -> Steps[Arrays]:
            if not raw:
                return (
                    yield Run("lookup_items", {"items": np.array([ids[i] for i in page], object)})
                )
            items = self.card.names("item")
            rows = [{n: v for n, v in given[i].items() if n in items} for i in page]
            where = [f"candidate {i}" for i in page]
            return (yield Run("encode_items", self.inputs.rows(("item",), rows, where)))

        steps = rearrange(
            self.card,
            how,
            order=order,
            ids=ids,
            products=list(given) if raw else [None] * len(given),
            outputs=outputs,
            scores=scores,
            vectors=vectors,
        )
        page = finish(steps, self.run)
        return page.order[page.base]

    def scores(
        self,
        query: str | bytes | os.PathLike[str] | Mapping[str, Any] | None = None,
        candidates: Iterable[Any] = (),
        user: Any = None,
        history: Iterable[Any] | None = None,
        pairs: Sequence[Mapping[str, Any]] | None = None,
    ) -> np.ndarray:
        """Returns scores [candidates] float32 in the order given.

        Arguments and errors as for `rank`.
        """
        return self.outputs(query, candidates, user, history, pairs)[SCORES]

    def outputs(
        self,
        query: str | bytes | os.PathLike[str] | Mapping[str, Any] | None = None,
        candidates: Iterable[Any] = (),
        user: Any = None,
        history: Iterable[Any] | None = None,
        pairs: Sequence[Mapping[str, Any]] | None = None,
    ) -> dict[str, np.ndarray]:
        """Returns `scores` and each task's output by name, [candidates] float32 in the order given.

        A task's output is a probability, or the seconds or other value that a regression predicts.
        Arguments and errors as for `rank`.
        """
        given = self._listed(candidates)
        pairs = _paired(pairs, len(given))
        asked = self.card.asked(query, user, history)
        arrays = asked.contexts | asked.history
        locations = [f"candidate {i}" for i in range(len(given))]
        if isinstance(given[0], Mapping):
            rows = [{**c, **p} for c, p in zip(given, pairs, strict=True)]
            per_candidate = self.inputs.rows(("item", "pair"), rows, locations)
            arrays["list_length"] = np.array([len(rows)], np.int32)
            signature = "serving_default"
        else:
            ids = [item_id(c, w) for c, w in zip(given, locations, strict=True)]
            pairs = self.card.with_scores(pairs, asked.events, ids)
            per_candidate = self.inputs.rows(("pair",), pairs, locations)
            per_candidate["items"] = np.array(ids, object)
            signature = "rank_items"
        arrays |= {n: a[None] for n, a in per_candidate.items()}
        return {n: a[0] for n, a in self.scored(signature, arrays).items()}

    def _listed(self, candidates: Iterable[Any]) -> list[Any]:
        """Returns the candidates as a list; raises RankError if ids and mappings are mixed."""
        found = listed(candidates, self.card.names("item"))
        raw = [isinstance(c, Mapping) for c in found]
        if any(raw) and not all(raw):
            raise RankError(
                f"candidates: {raw.index(True)} is a mapping of features and {raw.index(False)} "
                "an item id; give only mappings or only ids in one call"
            )
        return found

    def scored(self, signature: str, arrays: Arrays) -> dict[str, np.ndarray]:
        """Returns `scores` and each task's output by name, [B, L] float32.

        If this ranker has another order than its export, `scores` follow this order.

        Args:
          signature: `serving_default` or `rank_items`.
          arrays: The signature's inputs by name, [B, ...] of B lists or [B, L, ...] of their
            candidates, padded to L.
        """
        given = self._given(signature, arrays)
        if self.order is not None:
            logs = {n: tf.math.log(tf.maximum(given[n], SMALLEST)) for n in self.tasks}
            given = {**given, SCORES: self.order.scores(logs)}
        return {n: given[n].numpy() for n in (SCORES, *self.tasks)}

    def run(self, signature: str, arrays: Arrays) -> dict[str, np.ndarray]:
        """Runs one signature, and returns its outputs by name, [N, ...].

        Args:
          signature: The signature's name.
          arrays: Its inputs by name, [N, ...]; texts as arrays of objects.
        """
        return {n: t.numpy() for n, t in self._given(signature, arrays).items()}

    def _given(self, signature: str, arrays: Arrays) -> Mapping[str, tf.Tensor]:
        tensors = {
            # TensorFlow cannot infer that an empty array of objects holds texts.
            n: tf.constant(a, tf.string if a.dtype == object else a.dtype)
            for n, a in arrays.items()
        }
        return self.signatures[signature](**tensors)


def _loaded(folder: pathlib.Path) -> Any:
    """Loads the SavedModel of an export.

    Raises:
      RankError: The SavedModel is damaged.
    """
    try:
        return tf.saved_model.load(str(folder))
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, tf.errors.OpError) as error:
        raise RankError(f"{folder}: damaged: {one_line(error)}; {REMEDY}") from error


def _order(text: str, tasks: Sequence[str], folder: pathlib.Path) -> Order:
    if len(tasks) < 2:
        raise RankError(
            f"{folder}: order {text!r} combines several tasks, but the export has {len(tasks)}"
        )
    try:
        return parse_order(text, tasks)
    except ValueError as error:
        raise RankError(f"{folder}: {error}") from None


def _paired(pairs: Any, count: int) -> Sequence[Mapping[str, Any]]:
    """Returns the features of each pair, checked; empty mappings if `pairs` is None."""
    if pairs is None:
        return [{}] * count
    refuse_frame("pairs", pairs)
    if not isinstance(pairs, Sequence) or not all(isinstance(p, Mapping) for p in pairs):
        raise RankError(f"pairs: expected a mapping for each candidate, got {shown(pairs)}")
    if len(pairs) != count:
        raise RankError(f"pairs: {len(pairs)} for {count} candidates; give one for each")
    return pairs


def export_folder(path: pathlib.Path) -> pathlib.Path:
    """Returns the export at a path, or the newest of the numbered exports in it.

    Raises:
      RankError: There is no export.
    """
    numbered = [version_folder(path, n) for n in versions(path)] if path.is_dir() else []
    for folder in (path, *reversed(numbered)):
        if (folder / "saved_model.pb").is_file():
            return folder
    raise RankError(f"{path}: holds no SavedModel and no numbered folder with one; {REMEDY}")
