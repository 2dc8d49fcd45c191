"""The collaborative scorers by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from mmrank.collaborative.als import AlternatingLeastSquares
from mmrank.collaborative.base import Scorer
from mmrank.collaborative.content import ContentFactors
from mmrank.collaborative.gmf import Gmf
from mmrank.collaborative.itemknn import ItemNeighbours
from mmrank.collaborative.options import CollaborativeOptions
from mmrank.collaborative.pmi import PmiVectors
from mmrank.collaborative.userknn import UserNeighbours
from mmrank.config import ConfigError
from mmrank.registry import Entry, Registry

IMPLICIT = ("implicit", "collaborative")


@dataclasses.dataclass(frozen=True)
class ScorerEntry(Entry):
    """A collaborative scorer. All scorers of a config share one section of options.

    Attributes:
      make: The class of the scorer, which takes the options as one object.
    """

    make: type[Scorer]
    Options: type = CollaborativeOptions

    def build(self, options: Any, *args: Any, **kwargs: Any) -> Scorer:
        return self.make(options, *args, **kwargs)


SCORERS = Registry(
    "scorer",
    {
        "itemknn": ScorerEntry(ItemNeighbours),
        "userknn": ScorerEntry(UserNeighbours),
        "pmi": ScorerEntry(PmiVectors),
        "als": ScorerEntry(AlternatingLeastSquares, needs=IMPLICIT),
        "gmf": ScorerEntry(Gmf),
        "content": ScorerEntry(ContentFactors, needs=IMPLICIT),
    },
)


def make_scorers(names: Sequence[str], options: CollaborativeOptions) -> dict[str, Scorer]:
    """The named scorers, not fitted yet.

    Raises:
      ConfigError: A name is unknown, or no name is given.
      MissingExtra: A scorer's package is not installed.

    Example:
      >>> from mmrank.collaborative.options import CollaborativeOptions
      >>> list(make_scorers(["itemknn", "pmi"], CollaborativeOptions(neighbours=20)))
      ['itemknn', 'pmi']
      >>> make_scorers(["itemkn"], CollaborativeOptions())
      Traceback (most recent call last):
      mmrank.config.ConfigError: ...'itemkn'...did you mean 'itemknn'?
    """
    if not names:
        raise ConfigError(f"scorers: name at least one of {', '.join(SCORERS)}")
    scorers = {name: SCORERS.make(name, options, where="scorers") for name in names}
    for name in names:
        SCORERS.check_installed(name)
    return scorers


def score_new_items(names: Sequence[str]) -> bool:
    """Whether any of the scorers has meaningful scores for items without an event."""
    return any(SCORERS[name].make.scores_new_items for name in names)
