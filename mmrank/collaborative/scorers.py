"""The collaborative scorers by name."""

from __future__ import annotations

from collections.abc import Sequence

from mmrank.collaborative.als import AlternatingLeastSquares
from mmrank.collaborative.base import Scorer
from mmrank.collaborative.content import ContentFactors
from mmrank.collaborative.gmf import Gmf
from mmrank.collaborative.itemknn import ItemNeighbours
from mmrank.collaborative.options import CollaborativeOptions
from mmrank.collaborative.pmi import PmiVectors
from mmrank.collaborative.userknn import UserNeighbours
from mmrank.config import ConfigError
from mmrank.outputs import require_extra
from mmrank.schema import did_you_mean

SCORERS: dict[str, type[Scorer]] = {
    "itemknn": ItemNeighbours,
    "userknn": UserNeighbours,
    "pmi": PmiVectors,
    "als": AlternatingLeastSquares,
    "gmf": Gmf,
    "content": ContentFactors,
}


def make_scorers(names: Sequence[str], options: CollaborativeOptions) -> dict[str, Scorer]:
    """The named scorers, not fitted yet.

    Raises:
      ConfigError: A name is unknown, or there is none.
      MissingExtra: A scorer's package is not installed.
    """
    if not names:
        raise ConfigError(f"scorers: name at least one of {', '.join(SCORERS)}")
    for name in names:
        if name not in SCORERS:
            raise ConfigError(f"scorers: unknown {name!r}{did_you_mean(name, SCORERS)}")
    for name in names:
        if issubclass(SCORERS[name], AlternatingLeastSquares):
            require_extra(f"the scorer {name}", "implicit", "collaborative")
    return {name: SCORERS[name](options) for name in names}


def score_new_items(names: Sequence[str]) -> bool:
    """Whether any of the scorers says something of items without an event."""
    return any(SCORERS[name].scores_new_items for name in names)
