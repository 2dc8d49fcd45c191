"""Scores from which user did what with which item, as of the time of each list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.collaborative.als import AlternatingLeastSquares
    from mmrank.collaborative.base import Asked, Scorer
    from mmrank.collaborative.content import ContentFactors
    from mmrank.collaborative.gmf import Gmf
    from mmrank.collaborative.itemknn import ItemNeighbours
    from mmrank.collaborative.matrix import Interactions, read_interactions
    from mmrank.collaborative.options import CollaborativeOptions
    from mmrank.collaborative.pmi import PmiVectors, shifted_positive_pmi
    from mmrank.collaborative.scorers import SCORERS, make_scorers
    from mmrank.collaborative.snapshots import AsOfScores
    from mmrank.collaborative.userknn import UserNeighbours

__all__ = [
    "SCORERS",
    "AlternatingLeastSquares",
    "AsOfScores",
    "Asked",
    "CollaborativeOptions",
    "ContentFactors",
    "Gmf",
    "Interactions",
    "ItemNeighbours",
    "PmiVectors",
    "Scorer",
    "UserNeighbours",
    "make_scorers",
    "read_interactions",
    "shifted_positive_pmi",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.collaborative.als": ["AlternatingLeastSquares"],
        "mmrank.collaborative.base": ["Asked", "Scorer"],
        "mmrank.collaborative.content": ["ContentFactors"],
        "mmrank.collaborative.gmf": ["Gmf"],
        "mmrank.collaborative.itemknn": ["ItemNeighbours"],
        "mmrank.collaborative.matrix": ["Interactions", "read_interactions"],
        "mmrank.collaborative.options": ["CollaborativeOptions"],
        "mmrank.collaborative.pmi": ["PmiVectors", "shifted_positive_pmi"],
        "mmrank.collaborative.scorers": ["SCORERS", "make_scorers"],
        "mmrank.collaborative.snapshots": ["AsOfScores"],
        "mmrank.collaborative.userknn": ["UserNeighbours"],
    },
)
