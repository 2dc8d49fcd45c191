"""The bins that a feature's values are counted in, by kind of feature.

A value is counted as it stands in a request, before any preprocessing: numbers between deciles of
the training data, a text by its length and by its script, a category by name if it is frequent,
several values by their number, and a file by whether it is there. Only values that at least
`MIN_ROWS` training rows and one row of a hundred hold are named; of a shopper's features, one of
twenty, so that the bins of an id name nobody.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

DECILES = np.linspace(0, 1, 11)[1:-1]
MIN_SHARE, MIN_PERSONAL_SHARE, MIN_ROWS = 0.01, 0.05, 20
ABSENT, OTHER, THERE = "absent", "other", "present"
SCRIPTS = ("latin", "cjk", "both", "neither")
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")

# Values of one feature that are there → numbers, or names.
Measure = Callable[[np.ndarray, str], np.ndarray]


def _numbers(values: np.ndarray, separator: str) -> np.ndarray:
    return values.astype(np.float64)


def _names(values: np.ndarray, separator: str) -> np.ndarray:
    return np.array([_text(v) for v in values], object)


def _characters(values: np.ndarray, separator: str) -> np.ndarray:
    return np.array([len(_text(v)) for v in values], np.float64)


def _script(values: np.ndarray, separator: str) -> np.ndarray:
    kinds = []
    for value in values:
        text = _text(value)
        cjk, latin = _CJK.search(text) is not None, _LATIN.search(text) is not None
        kinds.append("both" if cjk and latin else "cjk" if cjk else "latin" if latin else "neither")
    return np.array(kinds, object)


def _count(values: np.ndarray, separator: str) -> np.ndarray:
    split = (_text(v).split(separator) for v in values)
    return np.array([sum(bool(part.strip()) for part in parts) for parts in split], np.float64)


def _presence(values: np.ndarray, separator: str) -> np.ndarray:
    return np.full(len(values), THERE, object)


MEASURES: Mapping[str, Measure] = {
    "value": _numbers,
    "name": _names,
    "characters": _characters,
    "script": _script,
    "count": _count,
    "presence": _presence,
}
NUMERIC = ("value", "characters", "count")
# What is measured of a feature; of kinds that are not named here, whether it is there.
BY_KIND: Mapping[str, Sequence[str]] = {
    "number": ("value",),
    "category": ("name",),
    "text": ("characters", "script"),
    "tags": ("count",),
    "attributes": ("count",),
    "reviews": ("count",),
    "history": ("value",),
}


@dataclasses.dataclass(frozen=True)
class Bins:
    """One measure of one feature, and how the training data is spread over its bins.

    Attributes:
      feature, measure: What is counted.
      edges: Ascending inclusive upper bounds, for a measure that gives numbers.
      names: Named values, for a measure that gives names; all others are `other`.
      separator: Between the values of one raw value, where they are counted.
      expected: Counts of the training data, [bins].
    """

    feature: str
    measure: str
    edges: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    separator: str = ""
    expected: tuple[int, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """What each bin is called; `absent` is the first."""
        if self.measure in NUMERIC:
            ends = [f"<= {e:g}" for e in self.edges]
            return (ABSENT, *ends, f"> {self.edges[-1]:g}" if self.edges else THERE)
        return (ABSENT, *self.names, OTHER)

    def count(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        """How many values fall into each bin, [bins] int64.

        Args:
          values: Raw values [N]; texts as str or bytes.
          present: Their flags [N]. An empty text and a number that is not finite are absent too,
            as they are to the ranker.
        """
        present = np.asarray(present, bool) & _said(values)
        measured = MEASURES[self.measure](values[present], self.separator)
        if self.measure in NUMERIC:
            at = np.searchsorted(np.asarray(self.edges), measured, side="left") + 1
        else:
            places = {name: i for i, name in enumerate(self.names, start=1)}
            other = len(self.names) + 1
            at = np.array([places.get(name, other) for name in measured], np.int64)
        counts = np.bincount(at.astype(np.int64), minlength=len(self.labels))
        counts[0] = len(present) - np.count_nonzero(present)
        return counts


def fit_bins(
    feature: str,
    kind: str,
    values: np.ndarray,
    present: np.ndarray,
    separator: str | None = None,
    personal: bool = False,
) -> list[Bins]:
    """The bins of a feature's measures, with the counts of the values they are fitted on.

    Args:
      feature: Its name.
      kind: Its kind.
      values: Raw values [N] of the training data.
      present: Their flags [N].
      separator: As `FeatureKind.separator`.
      personal: Whether it is of side user, so that rare values are named to nobody.
    """
    fitted = []
    between = separator or ""
    there = np.asarray(present, bool) & _said(values)
    for measure in BY_KIND.get(kind, ("presence",)):
        measured = MEASURES[measure](values[there], between)
        edges: tuple[float, ...] = ()
        names: tuple[str, ...] = ()
        if measure in NUMERIC and len(measured):
            edges = tuple(np.unique(np.quantile(measured, DECILES, method="lower")).tolist())
        elif measure == "script":
            names = SCRIPTS
        elif measure == "presence":
            names = (THERE,)
        elif measure == "name":
            share = MIN_PERSONAL_SHARE if personal else MIN_SHARE
            least = max(MIN_ROWS, share * len(present))
            names = tuple(n for n, count in Counter(measured).most_common() if count >= least)
        bins = Bins(feature, measure, edges, names, between)
        counts = bins.count(values, present)
        fitted.append(dataclasses.replace(bins, expected=tuple(counts.tolist())))
    return fitted


def _said(values: np.ndarray) -> np.ndarray:
    """Which raw values say something, [N] bool."""
    if values.dtype.kind in "fiu":
        return np.isfinite(values)
    return np.array([len(v) > 0 for v in values], bool)


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
