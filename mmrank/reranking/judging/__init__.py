"""What another policy would have earned, estimated from logged pages and their propensities."""

from mmrank.reranking.judging.estimators import ESTIMATORS
from mmrank.reranking.judging.overlap import Overlap, overlap_of
from mmrank.reranking.judging.pages import LoggedPages
from mmrank.reranking.judging.verdict import Estimate, Verdict, estimate, verdicts

__all__ = [
    "ESTIMATORS",
    "Estimate",
    "LoggedPages",
    "Overlap",
    "Verdict",
    "estimate",
    "overlap_of",
    "verdicts",
]
