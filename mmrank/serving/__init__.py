"""The trained ranker as a self-contained SavedModel, and its use from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.serving.card import Card, read_card
    from mmrank.serving.checksums import ChecksumError, verify_checksums
    from mmrank.serving.export import export_run
    from mmrank.serving.graph_check import UntrustedExport, check_graph
    from mmrank.serving.many_lists import score_lists
    from mmrank.serving.ranker import Ranked, Ranker
    from mmrank.serving.request import RankError
    from mmrank.serving.staged import StagedRanker

__all__ = [
    "Card",
    "ChecksumError",
    "RankError",
    "Ranked",
    "Ranker",
    "StagedRanker",
    "UntrustedExport",
    "check_graph",
    "export_run",
    "read_card",
    "score_lists",
    "verify_checksums",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.serving.card": ["Card", "read_card"],
        "mmrank.serving.checksums": ["ChecksumError", "verify_checksums"],
        "mmrank.serving.export": ["export_run"],
        "mmrank.serving.graph_check": ["UntrustedExport", "check_graph"],
        "mmrank.serving.many_lists": ["score_lists"],
        "mmrank.serving.ranker": ["Ranked", "Ranker"],
        "mmrank.serving.request": ["RankError"],
        "mmrank.serving.staged": ["StagedRanker"],
    },
)
