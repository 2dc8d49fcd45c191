"""The kinds of features, one room each: everything about a kind but the layers of its encoder.

A new kind is one file with a `Kind`, one file with its encoder (the class that the kind's `encoder`
names), and one entry in `KINDS`. Everything here works without TensorFlow.
"""

from __future__ import annotations

from mmrank.data.kinds.attributes import AttributesKind
from mmrank.data.kinds.audio import AudioKind
from mmrank.data.kinds.base import Kind
from mmrank.data.kinds.category import CategoryKind
from mmrank.data.kinds.computed import CollaborativeKind, HistoryKind
from mmrank.data.kinds.image import ImageKind
from mmrank.data.kinds.number import NumberKind
from mmrank.data.kinds.reviews import ReviewsKind
from mmrank.data.kinds.tags import TagsKind
from mmrank.data.kinds.text import TextKind
from mmrank.data.kinds.vector import VectorKind
from mmrank.data.kinds.video import VideoKind

__all__ = ["KINDS", "Kind", "kind_of"]

KINDS: dict[str, Kind] = {
    "text": TextKind(),
    "reviews": ReviewsKind(),
    "image": ImageKind(),
    "number": NumberKind(),
    "category": CategoryKind(),
    "tags": TagsKind(),
    "attributes": AttributesKind(),
    "vector": VectorKind(),
    "video": VideoKind(),
    "audio": AudioKind(),
    "history": HistoryKind(),
    "collaborative": CollaborativeKind(),
}
_UNKNOWN = Kind()


def kind_of(name: str) -> Kind:
    """The kind of this name. An unknown kind, which validation refuses, has all defaults.

    Example:
      >>> kind_of("category").sides
      ('query', 'user', 'item', 'pair')
      >>> kind_of("colour").sides
      ()
    """
    return KINDS.get(name, _UNKNOWN)
