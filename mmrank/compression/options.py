"""What `--compress` asks for, read before TensorFlow is loaded."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

from mmrank.config import ConfigError
from mmrank.outputs import require_extra
from mmrank.schema import did_you_mean

FLAG = "--compress"
# Steps in their order, by the names of the fields of `Compression`.
PRUNE, CLUSTER, ITEM_TABLE, DYNAMIC_RANGE = "prune", "cluster", "items", "dynamic_range"
ITEMS = ("float16", "int8")
DEFAULTS = {PRUNE: "0.5", CLUSTER: "32"}
KINDS = (PRUNE, CLUSTER, *ITEMS, DYNAMIC_RANGE)


@dataclasses.dataclass(frozen=True)
class Compression:
    """How an export is made smaller.

    Attributes:
      prune: Share of each weight matrix that becomes zero, the smallest numbers; None for none.
      cluster: How many different numbers each weight matrix holds; None for as many as it has.
      items: How the stored tokens of the items are kept, a name of `item_table.STORAGES`.
      dynamic_range: Whether the towers and the scorer are written for TensorFlow Lite besides, with
        weights of 8 bits.
    """

    prune: float | None = None
    cluster: int | None = None
    items: str = "full"
    dynamic_range: bool = False

    @property
    def name(self) -> str:
        """What it is called in a table: its last step with its number."""
        return ["as trained", *(name for _, name in self._steps())][-1]

    @property
    def step(self) -> str:
        """The name of its last step: prune, cluster, items or dynamic_range; empty for none."""
        return ["", *(field for field, _ in self._steps())][-1]

    def stages(self) -> list[Compression]:
        """What there is after each of its steps, beginning with none: each adds one."""
        stages = [Compression()]
        for field, _ in self._steps():
            stages.append(dataclasses.replace(stages[-1], **{field: getattr(self, field)}))
        return stages

    def _steps(self) -> Iterator[tuple[str, str]]:
        """Its fields that are not the default, with their names, in the order of application."""
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
    """How an export was made smaller, and what that did to the order.

    Attributes:
      how: The compression.
      before, after: NDCG@10 on the validation lists as trained and as exported; None where
        nothing was compressed.
      lite: Folder with the files for TensorFlow Lite, or None.
    """

    how: Compression = Compression()
    before: float | None = None
    after: float | None = None
    lite: pathlib.Path | None = None

    def card(self) -> dict[str, Any] | None:
        """It as JSON; None where nothing was compressed."""
        if self.how == Compression():
            return None
        steps = [stage.name for stage in self.how.stages()[1:]]
        return {"steps": steps, "validation_ndcg@10": {"before": self.before, "after": self.after}}


def parse_compression(texts: Iterable[str]) -> Compression:
    """What some texts such as `prune=0.6,int8` ask for.

    Args:
      texts: Kinds joined by commas, each with its number after `=` where it takes one.

    Raises:
      ConfigError: An unknown kind, one named twice, a number that does not fit, or two ways to
        keep the items.
      MissingExtra: A kind that needs what is not installed.
    """
    asked: dict[str, str] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        kind, _, value = part.partition("=")
        if kind not in KINDS:
            raise ConfigError(f"{FLAG} {part!r}: no such kind{did_you_mean(kind, KINDS)}")
        if kind in asked:
            raise ConfigError(f"{FLAG} {part!r}: {kind} is named twice; name it once")
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
