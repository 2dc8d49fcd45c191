"""The extras by name: match features that are computed on request only."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmrank.config import ConfigError
from mmrank.data.kinds import kind_of
from mmrank.data.kinds.base import BY_WORDS
from mmrank.encoders.base import FeatureKind
from mmrank.matching.extra import Catalogue, Extra
from mmrank.matching.query_category import QueryCategory
from mmrank.matching.spelling import Spelling
from mmrank.matching.usual_number import UsualNumber
from mmrank.registry import Entry, Registry


@dataclasses.dataclass(frozen=True)
class ExtraEntry(Entry):
    """An extra, which is fitted on a catalogue.

    Attributes:
      make: Its class.
    """

    make: type[Extra]

    def build(self, options: Any, *args: Any, **kwargs: Any) -> Extra:
        fit: Callable[..., Extra] = self.make.fit
        return fit(*args, **vars(options), **kwargs)


EXTRAS = Registry(
    "extra",
    {
        "spelling": ExtraEntry(Spelling),
        "category": ExtraEntry(QueryCategory),
        "number": ExtraEntry(UsualNumber),
    },
)
logger = logging.getLogger(__name__)


def check_extras(names: Sequence[str], kinds: Mapping[str, FeatureKind]) -> None:
    """Checks that the model has the features that extras compare.

    Args:
      names: Names of extras, each one of `EXTRAS`.
      kinds: The features of the model by name.

    Raises:
      ConfigError: The model lacks a feature that an extra needs.
    """
    there = {(k.feature.side, k.feature.kind) for k in kinds.values()}
    asked = any(side == "query" and kind_of(kind).typed for side, kind in there)
    worded = any(side == "item" and kind_of(kind).matched_by == BY_WORDS for side, kind in there)
    for name in names:
        needs = EXTRAS[name].make.needs
        lacks = [
            words
            for words, found in (
                ("text of the query", asked),
                ("text of items", worded),
                (f"{needs} of items", needs is None or ("item", needs) in there),
            )
            if not found
        ]
        if lacks:
            raise ConfigError(
                f"model.match_extra: {name} needs a {lacks[0]}, which this model does not have; "
                f"leave {name} out"
            )


def fit_extras(names: Sequence[str], catalogue: Catalogue) -> dict[str, Extra]:
    """The extras with these names, fitted on a catalogue.

    Example:
      >>> import numpy as np
      >>> import pandas as pd
      >>> from mmrank.encoders.number import Number
      >>> from mmrank.schema import Feature
      >>> catalogue = Catalogue(
      ...     items=[Number(Feature("price", "number", "item", "price"), {})],
      ...     values=lambda kind: pd.Series([5.0, 9.0]),
      ...     worded=[],
      ...     stems=np.array([3.0], np.float32),  # one known stem
      ...     pairs=(np.array([0, 1]), np.array([0, 0])),  # that both items have
      ...     names={},
      ... )
      >>> fit_extras(["number"], catalogue)["number"].names()
      ['price/above_usual', 'price/from_usual']
    """
    fitted = {}
    for name in dict.fromkeys(names):
        fitted[name] = EXTRAS.make(name, {}, catalogue)
        learned = ", ".join(fitted[name].names()) or "nothing that distinguishes items"
        logger.info("match_extra: %s: %s", name, learned)
    return fitted
