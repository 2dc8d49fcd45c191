"""How the training data is spread, as a file of the export that requests are compared with."""

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
    """The bins of every feature, with the training data's counts."""

    bins: Sequence[Bins]

    def of(self, feature: str) -> list[Bins]:
        """The measures of a feature; none for one that is not watched."""
        return [b for b in self.bins if b.feature == feature]

    def save(self, file: pathlib.Path) -> None:
        """Writes it as JSON, whole or not at all."""
        plain = {"format": FORMAT, "bins": [dataclasses.asdict(b) for b in self.bins]}
        write_whole(file, json.dumps(plain, ensure_ascii=False, indent=1) + "\n")

    @classmethod
    def load(cls, file: pathlib.Path) -> Reference | None:
        """What `save` wrote; None where there is no such file, or one of another format."""
        if not file.is_file():
            return None
        plain = json.loads(file.read_text(encoding="utf-8"))
        if plain.get("format") != FORMAT:
            return None
        return cls([_bins(b) for b in plain["bins"]])


def _bins(plain: Mapping[str, Any]) -> Bins:
    fields: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in plain.items()}
    return Bins(**fields)
