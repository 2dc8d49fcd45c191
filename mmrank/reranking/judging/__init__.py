"""What another policy would have earned, estimated from logged pages and their propensities."""

from mmrank.reranking.judging.estimators import ESTIMATORS
from mmrank.reranking.judging.pages import LoggedPages
from mmrank.reranking.judging.verdict import Estimate, Overlap, estimate, overlap_of

__all__ = ["ESTIMATORS", "Estimate", "LoggedPages", "Overlap", "estimate", "overlap_of"]
