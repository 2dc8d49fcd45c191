"""What every kind of media file must be to be used, judged from its bytes alone.

A new kind of media is one entry in `PROBES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mmrank.data.audio import probe_audio
from mmrank.data.media import probe_image
from mmrank.data.video import probe_video

# By kind of feature: None for a file that the kind's encoder can read, else the reason in a few
# words. A probe never raises for what a file holds.
PROBES: Mapping[str, Callable[[bytes], str | None]] = {
    "audio": probe_audio,
    "image": probe_image,
    "video": probe_video,
}
