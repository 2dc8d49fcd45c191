"""Reviews: many texts of an item, each perhaps with its age and its helpful votes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from mmrank.data.conversion import well_formed
from mmrank.data.findings import Finding
from mmrank.data.kinds.base import Kind, RawForm, check_cells
from mmrank.data.reviews import ReviewKeys, pack, read_reviews
from mmrank.schema import Feature


class ReviewsKind(Kind):
    """The reviews of an item; an item whose reviews are all blank has none."""

    sides = ("item",)
    encoder = "mmrank.encoders.reviews:Reviews"
    facts = ("reviews",)
    measures = ("count",)

    def check(self, file: str, values: pd.Series, feature: Feature) -> Iterator[Finding]:
        keys = _keys(feature)
        return check_cells(
            file,
            values,
            feature,
            lambda value: read_reviews(value, keys),
            "reviews that cannot be read",
            "use a list of texts, or of mappings, and check the names of their fields",
        )

    def count_empty(self, values: pd.Series, feature: Feature) -> int | None:
        """The number of cells without a review that has a text; not those that are unreadable."""
        keys, count = _keys(feature), 0
        for value in values:
            with contextlib.suppress(ValueError):
                count += not read_reviews(value, keys)
        return count

    def raw(self, value: Any, form: RawForm) -> Any:
        """The reviews as one text; None if there are none.

        `form.facts["reviews"]` has `most`, the number kept, and `keys`, the names of the fields.
        """
        reviews = form.facts["reviews"]
        keys = ReviewKeys(**reviews["keys"])
        try:
            read = read_reviews(value, keys)
        except OverflowError as error:
            raise ValueError(str(error)) from error
        if any(r.age is None and r.time is not None for r in read):
            raise ValueError(f"give the age of a review in days as {keys.age!r}, not its time")
        return well_formed(pack(read, reviews["most"])) or None

    def raw_cell(self, value: Any, form: RawForm) -> Any:
        return self.raw(value, form)

    def options(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        keys = {f"{role}_key": key for role, key in facts["reviews"]["keys"].items()}
        return {"max_reviews": facts["reviews"]["most"], **keys}


def _keys(feature: Feature) -> ReviewKeys:
    named = {key: feature.options.get(f"{key}_key") for key in ("text", "age", "time", "helpful")}
    return ReviewKeys(**{key: name for key, name in named.items() if isinstance(name, str)})
