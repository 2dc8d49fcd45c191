"""Training lists in TFRecord shards, for data too large for tables on one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.records.batches import RecordBatches
    from mmrank.records.lists import RecordParser, RecordReader
    from mmrank.records.source import RecordLists

__all__ = [
    "RecordBatches",
    "RecordLists",
    "RecordParser",
    "RecordReader",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.records.batches": ["RecordBatches"],
        "mmrank.records.lists": ["RecordParser", "RecordReader"],
        "mmrank.records.source": ["RecordLists"],
    },
)
