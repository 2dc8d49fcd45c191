"""How pages are rearranged: the sections `rerank` and `interleave` of the server's config."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Annotated, Any

from mmrank.config import ConfigError
from mmrank.ranges import Count, Range
from mmrank.reranking.exploration import EXPLORATIONS, Exploration
from mmrank.reranking.interleaving import INTERLEAVINGS

NO_EXPLORATION = "none"


@dataclasses.dataclass(frozen=True)
class RerankOptions:
    """How /rank answers a request with `rerank`.

    Attributes:
      exploration: Which random changes are made to pages, so that other policies can be judged from
        the log: none, or one of `mmrank.reranking.exploration.EXPLORATIONS`.
      options: Options of the exploration.
      switch: File whose existence turns policy and exploration off, at once and without a restart.
        It need not exist, but its folder does. If the file cannot be looked for, both are off too.
      rules: File of rules (docs/reranking.md#guards), which is read again when it changes; None for
        no rules.
      alarm_share: The alarm is on while the guards closed a move that the policy would have made in
        more than this share of pages.
      alarm_window_minutes: Length of the time window (minutes) whose pages count for that.
      alarm_pages: Pages that a window needs for the alarm.

    Raises:
      ConfigError: The exploration or one of its options is unknown, or it does not respect rules;
        or the folder of the switch does not exist.

    Example:
      >>> RerankOptions(exploration="pair_swap", options={"epsilon": 0.02}).alarm_share
      0.5
      >>> RerankOptions(exploration="epsilon", rules="rules.yaml")
      Traceback (most recent call last):
      mmrank.config.ConfigError: rerank: the exploration epsilon would break rules; use pair_swap
    """

    exploration: str = NO_EXPLORATION
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    switch: str | None = None
    rules: str | None = None
    alarm_share: Annotated[float, Range(0, 1)] = 0.5
    alarm_window_minutes: Annotated[float, Range(0, above=True)] = 60.0
    alarm_pages: Count = 100

    def __post_init__(self) -> None:
        made = self.explorer()
        if made is None and self.options:
            raise ConfigError("rerank: options: there is no exploration that takes options")
        if made is not None and self.rules is not None and not made.respects_guards:
            raise ConfigError(
                f"rerank: the exploration {self.exploration} would break rules; use pair_swap"
            )
        if self.switch is not None and not pathlib.Path(self.switch).absolute().parent.is_dir():
            raise ConfigError(
                f"rerank: switch: the folder of {self.switch} does not exist; make the folder, but "
                "not the file, whose existence turns the policy off"
            )

    def explorer(self) -> Exploration | None:
        """Returns the exploration; None without."""
        if self.exploration == NO_EXPLORATION:
            return None
        made: Exploration = EXPLORATIONS.make(
            self.exploration, self.options, where="rerank.exploration"
        )
        return made

    def record(self) -> dict[str, Any]:
        """Returns kind and options of the exploration, for the log; empty without."""
        if self.exploration == NO_EXPLORATION:
            return {}
        given = EXPLORATIONS.options(self.exploration, self.options, "rerank.exploration")
        return {"kind": self.exploration, **dataclasses.asdict(given)}


@dataclasses.dataclass(frozen=True)
class InterleaveOptions:
    """How /rank answers a request with `interleave`: one page of the orders of two versions.

    Attributes:
      kind: One of `mmrank.reranking.interleaving.INTERLEAVINGS`, with its default options, which
        readers of the log assume.
      labels: Labels of the two versions for requests that name none; empty if each request has to.
      positions: Number of positions at the top whose probabilities are logged. Those further down
        are interleaved too.
      candidates: Most candidates of such a request. Interleaving takes time that grows with the
        square of their number.

    Raises:
      ConfigError: The kind is unknown, or there are not two labels.

    Example:
      >>> InterleaveOptions(labels=("stable", "canary")).kind
      'team_draft'
      >>> InterleaveOptions(labels=("stable",))
      Traceback (most recent call last):
      mmrank.config.ConfigError: interleave: labels: expected two labels, got 1
    """

    kind: str = "team_draft"
    labels: tuple[str, ...] = ()
    positions: Count = 20
    candidates: Count = 500

    def __post_init__(self) -> None:
        INTERLEAVINGS.entry(self.kind, "interleave.kind")
        if len(self.labels) not in (0, 2):
            raise ConfigError(f"interleave: labels: expected two labels, got {len(self.labels)}")
