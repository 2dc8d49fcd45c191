"""Normalises texts and splits them into word pieces, using only TensorFlow's own ops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.encoders.portable.unicode import case_fold_utf8, normalize_utf8
    from mmrank.encoders.portable.word_pieces import PortableWordPieces

__all__ = [
    "PortableWordPieces",
    "case_fold_utf8",
    "normalize_utf8",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.encoders.portable.unicode": ["case_fold_utf8", "normalize_utf8"],
        "mmrank.encoders.portable.word_pieces": ["PortableWordPieces"],
    },
)
