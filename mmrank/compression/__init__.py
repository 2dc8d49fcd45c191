"""Compression of rankers: item tokens of fewer bits, and pruned, clustered or quantised weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.compression.item_table import Float16Tokens, FullTokens, Int8Tokens, ItemTable
    from mmrank.compression.lite import LiteError, LiteRanker, write_lite
    from mmrank.compression.options import Compressed, Compression, parse_compression
    from mmrank.compression.report import CompressionRefused
    from mmrank.compression.weights import cluster_weights, prune_weights

__all__ = [
    "Compressed",
    "Compression",
    "CompressionRefused",
    "Float16Tokens",
    "FullTokens",
    "Int8Tokens",
    "ItemTable",
    "LiteError",
    "LiteRanker",
    "cluster_weights",
    "parse_compression",
    "prune_weights",
    "write_lite",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.compression.item_table": ["Float16Tokens", "FullTokens", "Int8Tokens", "ItemTable"],
        "mmrank.compression.lite": ["LiteError", "LiteRanker", "write_lite"],
        "mmrank.compression.options": ["Compressed", "Compression", "parse_compression"],
        "mmrank.compression.report": ["CompressionRefused"],
        "mmrank.compression.weights": ["cluster_weights", "prune_weights"],
    },
)
