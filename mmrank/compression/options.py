"""The options of `--compress`, read before TensorFlow is loaded."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

from mmrank.config import ConfigError
from mmrank.outputs import require_extra
from mmrank.schema import did_you_mean

FLAG = "--compress"
# Steps in the order of application, named as the fields of `Compression`.
PRUNE, CLUSTER, ITEM_TABLE, DYNAMIC_RANGE = "prune", "cluster", "items", "dynamic_range"
ITEMS = ("float16", "int8")
DEFAULTS = {PRUNE: "0.5", CLUSTER: "32"}
KINDS = (PRUNE, CLUSTER, *ITEMS, DYNAMIC_RANGE)


@dataclasses.dataclass(frozen=True)
class Compression:
    """How an export is compressed.

    Attributes:
      prune: Share of the numbers of each weight matrix to set to zero, the smallest; None to keep
        all.
      cluster: Number of distinct numbers to leave in each weight matrix; None to keep all.
      items: How the tokens of the items are stored, a name of `item_table.STORAGES`.
      dynamic_range: Whether the towers and the scorer are also written for TensorFlow Lite, with
        weights of 8 bits.

    Example:
      >>> compression = Compression(prune=0.5, items="int8")
      >>> compression.name, [stage.name for stage in compression.stages()]
      ('int8 items', ['as trained', 'prune=0.5', 'int8 items'])
    """

    prune: float | None = None
    cluster: int | None = None
    items: str = "full"
    dynamic_range: bool = False

    @property
    def name(self) -> str:
        """The compression's name in a table: its last step with its number."""
        return ["as trained", *(name for _, name in self._steps())][-1]

    @property
    def step(self) -> str:
        """The name of its last step: prune, cluster, items or dynamic_range; empty for none."""
        return ["", *(field for field, _ in self._steps())][-1]

    def stages(self) -> list[Compression]:
        """Returns the compressions after 0, 1, 2, … of its steps; each adds one step."""
        stages = [Compression()]
        for field, _ in self._steps():
            stages.append(dataclasses.replace(stages[-1], **{field: getattr(self, field)}))
        return stages

    def _steps(self) -> Iterator[tuple[str, str]]:
        """Yields its fields that differ from the default, with names, in order of application."""
        if self.prune is not None:
            yield PRUNE, f"{PRUNE}={self.prune:g}"
        if self.cluster is not None:
            yield CLUSTER, f"{CLUSTER}={self.cluster}"
        if self.items != "full":
            yield ITEM_TABLE, f"{self.items} items"
        if self.dynamic_range:
            yield DYNAMIC_RANGE, DYNAMIC_RANGE


@dataclasses.dataclass(frozen=True)
class Compressed:
    """How an export was compressed, and the effect on its NDCG@10.

    Attributes:
      how: The compression.
      before, after: NDCG@10 on the validation lists as trained and as exported; None if nothing
        was compressed.
      lite: Folder with the files for TensorFlow Lite, or None.

    Example:
      >>> Compressed(Compression(items="int8"), before=0.75, after=0.74).card()["steps"]
      ['int8 items']
      >>> Compressed().card() is None
      True
    """

    how: Compression = Compression()
    before: float | None = None
    after: float | None = None
    lite: pathlib.Path | None = None

    def card(self) -> dict[str, Any] | None:
        """Returns the compression for the model card, as JSON; None if nothing was compressed."""
        if self.how == Compression():
            return None
        steps = [stage.name for stage in self.how.stages()[1:]]
        return {"steps": steps, "validation_ndcg@10": {"before": self.before, "after": self.after}}


def parse_compression(texts: Iterable[str]) -> Compression:
    """Parses texts such as `prune=0.6,int8`.

    Args:
      texts: Kinds joined by commas, each with its number after `=` if it takes one.

    Raises:
      ConfigError: A kind is unknown or repeated, a number is not allowed, or both kinds of
        storage for the items are named.
      MissingExtra: A kind needs a package that is not installed.

    Example:
      >>> parse_compression(["int8,dynamic_range"])
      Compression(prune=None, cluster=None, items='int8', dynamic_range=True)
    """
    asked: dict[str, str] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        kind, _, value = part.partition("=")
        if kind not in KINDS:
            raise ConfigError(f"{FLAG} {part!r}: unknown kind{did_you_mean(kind, KINDS)}")
        if kind in asked:
            raise ConfigError(f"{FLAG} {part!r}: {kind} is given twice; give it once")
        if value and kind not in DEFAULTS:
            raise ConfigError(f"{FLAG} {part!r}: {kind} takes no value; write {kind}")
        asked[kind] = value or DEFAULTS.get(kind, "")
    items = [kind for kind in ITEMS if kind in asked]
    if len(items) > 1:
        raise ConfigError(f"{FLAG}: items are kept as float16 or as int8; name one of the two")
    if PRUNE in asked or CLUSTER in asked:
        require_extra(
            f"{FLAG} {PRUNE} or {CLUSTER}", "tensorflow_model_optimization", "compression"
        )
    return Compression(
        prune=_share(asked[PRUNE]) if PRUNE in asked else None,
        cluster=_number(asked[CLUSTER]) if CLUSTER in asked else None,
        items=items[0] if items else "full",
        dynamic_range=DYNAMIC_RANGE in asked,
    )


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise ConfigError(f"{FLAG} {PRUNE}={text}: give a share above 0 and below 1, such as 0.5")
    return share


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 2 <= int(text) <= 256):
        raise ConfigError(f"{FLAG} {CLUSTER}={text}: give a whole number from 2 to 256")
    return int(text)
