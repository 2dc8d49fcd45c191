"""Which order of a page is shown: that of a policy, of the ranker, or of two rankers together."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from mmrank.config import ConfigError
from mmrank.data.page_log_lines import Interleaved
from mmrank.reranking.exploration import conditional_of
from mmrank.reranking.guards import Rules, start_order
from mmrank.reranking.interleaving import INTERLEAVINGS
from mmrank.server.monitor.guard_alarm import GuardAlarm
from mmrank.server.monitor.metrics import Metrics
from mmrank.server.monitor.page_metrics import PageMetrics
from mmrank.server.page_log_options import LogOptions
from mmrank.server.page_recorder import Asking, PageRecorder
from mmrank.server.rerank_options import InterleaveOptions, RerankOptions
from mmrank.server.rules_file import RulesFile
from mmrank.server.switch import Switch
from mmrank.serving.card import Card

if TYPE_CHECKING:
    from mmrank.serving.staged import StagedList

_NO_RULES = Rules()
POLICY, RANKER, INTERLEAVED = "policy", "ranker", "interleaved"


@dataclasses.dataclass(frozen=True)
class ShownOrder:
    """The order that a reply gives.

    Attributes:
      order: Indices of the candidates of the request by position, [n] int.
      by: What decided: policy, ranker or interleaved.
      page: The page's id for feedback; None if the page was not logged.
      probability: Probability of the order, given the request.
      explored: Whether it differs at random from what would be shown otherwise.
    """

    order: np.ndarray
    by: str
    page: str | None = None
    probability: float = 1.0
    explored: bool = False


class ShownPages:
    """Explores and logs the pages of one server. Any thread may call the methods.

    Args:
      rerank, interleave, log: The sections of the config.
      metrics: Where metrics are registered.
      seed: Seed of the random changes; None for a different one each time.

    Attributes:
      recorder: Logs the pages, and the feedback on them.
      rules: The rules of pages.
      interleave: As given.

    Raises:
      ConfigError: The rules cannot be read.
      LogError: The folder of the log cannot be written to.
    """

    def __init__(
        self,
        rerank: RerankOptions,
        interleave: InterleaveOptions,
        log: LogOptions,
        metrics: Metrics,
        seed: int | None = None,
    ):
        self.interleave, self.rules = interleave, RulesFile(rerank.rules)
        self._exploration, self._record = rerank.explorer(), rerank.record()
        self._interleaving = INTERLEAVINGS.make(interleave.kind)
        self._switch = Switch(rerank.switch)
        self._alarm = GuardAlarm(
            rerank.alarm_share, rerank.alarm_window_minutes, rerank.alarm_pages
        )
        self._metrics = PageMetrics(metrics.registry)
        for collector in (self._switch, self.rules, self._alarm):
            metrics.registry.register(collector)
        self.recorder = PageRecorder(log, self._metrics)
        self._random, self._lock = np.random.default_rng(seed), threading.Lock()

    @property
    def off(self) -> bool:
        """Whether policy, exploration and interleaving are switched off."""
        return self._switch.off

    def check(self, card: Card) -> None:
        """Checks that a version can be served with the exploration.

        Raises:
          ConfigError: The version's policy has guards, which the exploration would break.
        """
        explores = self._exploration is not None and not self._exploration.respects_guards
        if explores and card.policy is not None and card.policy.guarded:
            raise ConfigError(
                f"rerank: the exploration {self._record['kind']} would break the guards of the "
                "policy; use pair_swap"
            )

    def reranked(self, ranked: StagedList, asking: Asking, policy: bool) -> ShownOrder:
        """Returns the order that is shown of a rearranged page, and logs it.

        A page that cannot be logged, because a candidate has no id, is not explored either.

        Args:
          ranked: The ranked list, with its page.
          asking: Who asked for it.
          policy: Whether the policy rearranged it; otherwise, only the rules did.
        """
        page = ranked.page
        assert page is not None
        size, base = page.size, page.base
        order, conditional, record = base, np.ones(size), None
        if policy:
            self._alarm.page(page.bites > 0)
        if policy and self._exploration is not None and self._explorable(ranked, page.order):
            with self._lock:
                top = self._exploration.order(base[:size], page.open, self._random)
            cumulative = self._exploration.cumulative(base[:size], page.open, top)
            order, conditional = np.concatenate([top, base[size:]]), conditional_of(cumulative)
            record = {**self._record, "open": page.open.tolist()}
        fields: dict[str, Any] = {"size": size, "seen": page.seen, "base": base, "order": order}
        fields |= {"exploration": record, "conditional": conditional}
        return self._shown(ranked, page.order, asking, POLICY if policy else RANKER, fields)

    def unchanged(self, ranked: StagedList, asking: Asking, rules: Rules = _NO_RULES) -> ShownOrder:
        """Returns the ranker's order after rules, and logs it.

        Args:
          ranked: The ranked list.
          asking: Who asked for it.
          rules: The rules, which hold for the whole list.
        """
        excluded = frozenset(rules.exclude)
        kept = np.array([i for i in ranked.order if ranked.ids[i] not in excluded], int)
        base = start_order([ranked.ids[i] for i in kept], rules)
        fields: dict[str, Any] = {"size": len(base), "seen": None, "base": base, "order": base}
        fields |= {"exploration": None, "conditional": np.ones(len(base))}
        return self._shown(ranked, kept, asking, RANKER, fields)

    def interleaved(
        self, ranked: StagedList, other: StagedList, asking: Asking, version: int
    ) -> ShownOrder:
        """Returns an order interleaved from those of two versions, and logs it.

        Args:
          ranked: The list as the first version ranked it.
          other: The same candidates as the second version ranked them.
          asking: Who asked for it, and the first version.
          version: The second version.
        """
        ours = np.arange(len(ranked.order))
        # The second order in terms of the first one, as all orders of the log.
        theirs = np.argsort(ranked.order)[other.order]
        with self._lock:
            made = self._interleaving.interleave(ours, theirs, self._random)
        size = min(len(ours), self.interleave.positions)
        conditional = self._interleaving.conditional(ours, theirs, made.order)[:size]
        both = Interleaved(
            self.interleave.kind, (asking.version, version), made.teams, np.stack([ours, theirs])
        )
        fields: dict[str, Any] = {"size": size, "seen": None, "base": ours, "order": made.order}
        fields |= {"exploration": None, "conditional": conditional, "interleaved": both}
        return self._shown(ranked, ranked.order, asking, INTERLEAVED, fields)

    def _explorable(self, ranked: StagedList, candidates: np.ndarray) -> bool:
        return not self.recorder.logs or self.recorder.fits(ranked, candidates)

    def _shown(
        self,
        ranked: StagedList,
        candidates: np.ndarray,
        asking: Asking,
        by: str,
        fields: dict[str, Any],
    ) -> ShownOrder:
        """Returns a page as it is shown, and logs it; arguments as of `PageRecorder.page`."""
        order, probability = fields["order"], float(np.prod(fields["conditional"]))
        explored = bool((order != fields["base"]).any())
        self._metrics.page(by, explored)
        fields |= {"policy": by == POLICY, "probability": probability}
        page = self.recorder.page(ranked, candidates, asking, fields)
        return ShownOrder(candidates[order], by, page, probability, explored)
