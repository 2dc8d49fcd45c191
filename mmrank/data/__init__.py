"""Reading a shop's data: tables, media, text and batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.data.batches import Batches, ListArrays
    from mmrank.data.dialect import Dialect, find_dialect
    from mmrank.data.embedding_cache import EmbeddingCache
    from mmrank.data.findings import DataError, Finding
    from mmrank.data.media import MediaStore, open_media
    from mmrank.data.pseudonyms import Pseudonyms
    from mmrank.data.reading import read_table
    from mmrank.data.reviews import Review, ReviewKeys, read_reviews
    from mmrank.data.simulator import simulate
    from mmrank.data.tables import Dataset, load_dataset
    from mmrank.data.units import UNITS
    from mmrank.data.validation import ValidationReport, checked_dataset, validate_dataset

__all__ = [
    "UNITS",
    "Batches",
    "DataError",
    "Dataset",
    "Dialect",
    "EmbeddingCache",
    "Finding",
    "ListArrays",
    "MediaStore",
    "Pseudonyms",
    "Review",
    "ReviewKeys",
    "ValidationReport",
    "checked_dataset",
    "find_dialect",
    "load_dataset",
    "open_media",
    "read_reviews",
    "read_table",
    "simulate",
    "validate_dataset",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.data.batches": ["Batches", "ListArrays"],
        "mmrank.data.dialect": ["Dialect", "find_dialect"],
        "mmrank.data.embedding_cache": ["EmbeddingCache"],
        "mmrank.data.findings": ["DataError", "Finding"],
        "mmrank.data.media": ["MediaStore", "open_media"],
        "mmrank.data.pseudonyms": ["Pseudonyms"],
        "mmrank.data.reading": ["read_table"],
        "mmrank.data.reviews": ["Review", "ReviewKeys", "read_reviews"],
        "mmrank.data.simulator": ["simulate"],
        "mmrank.data.tables": ["Dataset", "load_dataset"],
        "mmrank.data.units": ["UNITS"],
        "mmrank.data.validation": ["ValidationReport", "checked_dataset", "validate_dataset"],
    },
)
