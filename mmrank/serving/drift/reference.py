"""The distribution of the training data, a file of the export to compare requests with."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from mmrank.outputs import write_whole
from mmrank.serving.drift.bins import Bins

FILE = "drift_reference.json"
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Reference:
    """The bins of every feature, with the training data's counts.

    Example:
      >>> import pathlib
      >>> import numpy as np
      >>> from mmrank.serving.drift.bins import fit_bins
      >>> prices = np.arange(1.0, 11.0)
      >>> reference = Reference(fit_bins("price", "number", prices, np.ones(10, bool)))
      >>> [bins.measure for bins in reference.of("price")], reference.of("title")
      (['value'], [])
      >>> reference.save(pathlib.Path("reference.json"))
      >>> Reference.load(pathlib.Path("reference.json")) == reference
      True
    """

    bins: Sequence[Bins]

    def of(self, feature: str) -> list[Bins]:
        """Returns the measures of a feature; empty for a feature that is not watched."""
        return [b for b in self.bins if b.feature == feature]

    def save(self, file: pathlib.Path) -> None:
        """Writes the reference as JSON, whole or not at all."""
        plain = {"format": FORMAT, "bins": [dataclasses.asdict(b) for b in self.bins]}
        write_whole(file, json.dumps(plain, ensure_ascii=False, indent=1) + "\n")

    @classmethod
    def load(cls, file: pathlib.Path) -> Reference | None:
        """Reads a file that `save` wrote; None if it does not exist or has another format."""
        if not file.is_file():
            return None
        plain = json.loads(file.read_text(encoding="utf-8"))
        if plain.get("format") != FORMAT:
            return None
        return cls([_bins(b) for b in plain["bins"]])


def _bins(plain: Mapping[str, Any]) -> Bins:
    fields: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in plain.items()}
    return Bins(**fields)
