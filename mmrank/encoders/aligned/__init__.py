"""Towers for photos and texts with vectors in one space: CLIP and SigLIP from their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.encoders.aligned.importing import import_clip, import_siglip
    from mmrank.encoders.aligned.towers import photo_tower, text_tower

__all__ = [
    "import_clip",
    "import_siglip",
    "photo_tower",
    "text_tower",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.encoders.aligned.importing": ["import_clip", "import_siglip"],
        "mmrank.encoders.aligned.towers": ["photo_tower", "text_tower"],
    },
)
