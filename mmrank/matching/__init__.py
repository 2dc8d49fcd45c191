"""Compares a query with a candidate: words with words, numbers with numbers, vectors with vectors.

The steps of a comparison: `words` splits a text, `quantities` reads its numbers and units, `terms`
packs both into one row of numbers for each text, `text_features` compares two such rows, `rows`
joins the numbers of all features, `matcher` is the layer over all fields of a candidate, and `plan`
holds what is fitted on a catalogue. `extras` lists the comparisons that are made on request only.
TensorFlow ops alone turn raw texts into rows, before the request for stored items and within the
graph for others, so that training, evaluation and an export give the same numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.matching.cross_encoder import CrossEncoder
    from mmrank.matching.edits import Edits, edits_of, patterns_of
    from mmrank.matching.extra import Extra
    from mmrank.matching.extras import EXTRAS, fit_extras
    from mmrank.matching.matcher import Matcher
    from mmrank.matching.plan import MatchPlan, fit_plan
    from mmrank.matching.quantities import Quantities, agreement, quantities_of
    from mmrank.matching.terms import TermLayout, Terms
    from mmrank.matching.words import stems_of, words_of

__all__ = [
    "EXTRAS",
    "CrossEncoder",
    "Edits",
    "Extra",
    "MatchPlan",
    "Matcher",
    "Quantities",
    "TermLayout",
    "Terms",
    "agreement",
    "edits_of",
    "fit_extras",
    "fit_plan",
    "patterns_of",
    "quantities_of",
    "stems_of",
    "words_of",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.matching.cross_encoder": ["CrossEncoder"],
        "mmrank.matching.edits": ["Edits", "edits_of", "patterns_of"],
        "mmrank.matching.extra": ["Extra"],
        "mmrank.matching.extras": ["EXTRAS", "fit_extras"],
        "mmrank.matching.matcher": ["Matcher"],
        "mmrank.matching.plan": ["MatchPlan", "fit_plan"],
        "mmrank.matching.quantities": ["Quantities", "agreement", "quantities_of"],
        "mmrank.matching.terms": ["TermLayout", "Terms"],
        "mmrank.matching.words": ["stems_of", "words_of"],
    },
)
