"""The bins that a feature's values are counted in, by the measures of its kind.

Raw values of requests are counted, before any preprocessing: numbers between deciles of the
training data, texts by length and by script, frequent categories by name, lists of values by their
number, and files by presence. A category is named only if it occurs in at least `MIN_ROWS`
training rows and in 1% of them; for features of the user, in 5%, so that the bins of a user id name
nobody.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from mmrank.data.kinds import kind_of

DECILES = np.linspace(0, 1, 11)[1:-1]
MIN_SHARE, MIN_PERSONAL_SHARE, MIN_ROWS = 0.01, 0.05, 20
ABSENT, OTHER, THERE = "absent", "other", "present"
SCRIPTS = ("latin", "cjk", "both", "neither")
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")

# Present values of one feature → numbers, or names.
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


@dataclasses.dataclass(frozen=True)
class Bins:
    """One measure of one feature, and the distribution of the training data over its bins.

    Attributes:
      feature, measure: What is counted.
      edges: Ascending inclusive upper bounds, for a measure that returns numbers.
      names: Named values, for a measure that returns names; all others are `other`.
      separator: The separator of the values in one raw value, for a measure that counts them.
      expected: Counts of the training data, [bins].

    Example:
      >>> import numpy as np
      >>> bins = Bins("brand", "name", names=("Acme",))
      >>> bins.labels
      ('absent', 'Acme', 'other')
      >>> bins.count(np.array(["Acme", "Zeta", ""], object), np.ones(3, bool)).tolist()
      [1, 1, 1]
    """

    feature: str
    measure: str
    edges: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    separator: str = ""
    expected: tuple[int, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of each bin; `absent` is the first."""
        if self.measure in NUMERIC:
            ends = [f"<= {e:g}" for e in self.edges]
            return (ABSENT, *ends, f"> {self.edges[-1]:g}" if self.edges else THERE)
        return (ABSENT, *self.names, OTHER)

    def count(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Returns the number of values in each bin, [bins] int64.

        Args:
          values: Raw values [N]; texts as str or bytes.
          present: Their flags [N]. An empty text and a number that is not finite count as absent,
            as they do for the ranker.
        """
        present = np.asarray(present, bool) & _is_filled(values)
        measured = MEASURES[self.measure](values[present], self.separator)
        if self.measure in NUMERIC:
            at = np.searchsorted(np.asarray(self.edges), measured, side="left") + 1
        else:
            indices = {name: i for i, name in enumerate(self.names, start=1)}
            other = len(self.names) + 1
            at = np.array([indices.get(name, other) for name in measured], np.int64)
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
    """Returns the bins of a feature's measures, with the counts of the values they are fitted on.

    Args:
      feature: The feature's name.
      kind: The feature's kind.
      values: Raw values [N] of the training data.
      present: Their flags [N].
      separator: As `FeatureKind.separator`.
      personal: Whether the feature is of side user, so that rare values must not be named.

    Example:
      >>> import numpy as np
      >>> values = np.arange(1.0, 11.0)
      >>> [bins] = fit_bins("price", "number", values, np.ones(10, bool))
      >>> bins.labels[:3], bins.expected[:3]
      (('absent', '<= 1', '<= 2'), (0, 1, 1))
      >>> bins.count(np.array([0.5, 99.0]), np.array([True, False]))[:2].tolist()
      [1, 1]
    """
    fitted = []
    between = separator or ""
    there = np.asarray(present, bool) & _is_filled(values)
    for measure in kind_of(kind).measures:
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


def _is_filled(values: np.ndarray) -> np.ndarray:
    """Returns which raw values are finite numbers or texts that are not empty, [N] bool."""
    if values.dtype.kind in "fiu":
        return np.isfinite(values)
    return np.array([len(v) > 0 for v in values], bool)


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
