"""Encoders [N, ...] → [N, D], one file a kind of feature. They know nothing of lists.

A new kind is one file and one entry in `KINDS`. A history is no column, so it stands apart.
"""

from mmrank.encoders.attributes import Attributes
from mmrank.encoders.audio import Audio
from mmrank.encoders.base import FeatureKind
from mmrank.encoders.category import Category
from mmrank.encoders.collaborative import Collaborative
from mmrank.encoders.image import Image
from mmrank.encoders.number import Number
from mmrank.encoders.reviews import Reviews
from mmrank.encoders.tags import Tags
from mmrank.encoders.text import Text
from mmrank.encoders.vector import Vector
from mmrank.encoders.video import Video

KINDS: dict[str, type[FeatureKind]] = {
    "text": Text,
    "reviews": Reviews,
    "image": Image,
    "video": Video,
    "audio": Audio,
    "number": Number,
    "category": Category,
    "tags": Tags,
    "attributes": Attributes,
    "vector": Vector,
    "collaborative": Collaborative,
}
HISTORY = "history"
