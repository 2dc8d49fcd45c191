"""Clips, given by files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmrank.data.containers import CONTAINERS, open_container
from mmrank.data.kinds.media import FileProblem, MediaKind, MediaLimits
from mmrank.data.video import ClipError, clip_strip, probe_video


class VideoKind(MediaKind):
    """A clip; a missing or broken file is absent."""

    sides = ("item",)
    encoder = "mmrank.encoders.video:Video"
    facts = ("strip",)
    endings = (".mp4", ".webm", ".avi", ".mpeg", ".flv", ".ogv")

    def probe(self, data: bytes) -> str | None:
        return probe_video(data)

    def check_cost(self, data: bytes, limits: MediaLimits) -> None:
        check_clip(data, limits)

    def convert(self, data: bytes, facts: Mapping[str, Any]) -> bytes:
        """A strip of the clip's frames, of which `facts` gives number, height and width."""
        frames, height, width = facts["strip"]
        try:
            return clip_strip(data, frames, height, width)
        except ClipError as error:
            raise FileProblem(str(error)) from error

    def options(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        return dict(zip(("frames", "height", "width"), facts["strip"], strict=True))


def check_clip(data: bytes, limits: MediaLimits) -> None:
    """Checks the number of frames and pixels of a clip by its packets; as `check_cost`."""
    import av

    try:
        with open_container(data, CONTAINERS) as container:
            if not container.streams.video:
                return
            stream = container.streams.video[0]
            context = stream.codec_context
            pixels = 0 if context is None else context.width * context.height
            frames = 0
            for packet in container.demux(stream):
                frames += bool(packet.size)
                if frames > limits.clip_frames:
                    raise FileProblem(f"too long: more than {limits.clip_frames:,} frames")
                if frames * pixels > limits.clip_megapixels * 1e6:
                    raise FileProblem(
                        f"too large: more than {limits.clip_megapixels:,g} megapixels in all frames"
                    )
    except av.FFmpegError:
        return
