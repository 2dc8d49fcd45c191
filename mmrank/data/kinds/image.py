"""Photos, given by files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmrank.data.kinds.base import Seen
from mmrank.data.kinds.media import MediaKind
from mmrank.data.media import as_shown, probe_image


class ImageKind(MediaKind):
    """A photo; a missing or broken file is absent."""

    sides = ("query", "item")
    encoder = "mmrank.encoders.image:Image"
    endings = (".jpg", ".jpeg", ".png", ".gif", ".bmp")
    picture = True

    def probe(self, data: bytes) -> str | None:
        return probe_image(data)

    def convert(self, data: bytes, facts: Mapping[str, Any]) -> bytes:
        return as_shown(super().convert(data, facts))

    def default_size(self, seen: Seen) -> tuple[dict[str, Any], str] | None:
        side = 64 if seen.large else 48
        scale = 0.5 if seen.large else 0.35
        options = {
            "height": side,
            "width": side,
            "network": "EfficientNet",
            "width_coefficient": scale,
            "depth_coefficient": scale,
            "dropout": 0.1,
            "smallest_part": 0.7,
        }
        return options, f"{len(seen.dataset.catalog):,} items"
