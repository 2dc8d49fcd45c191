"""Opens video and sound files from their bytes with FFmpeg."""

from __future__ import annotations

import io
from typing import Any

# Formats of clips and recordings. None of them names other files, as playlists do.
CONTAINERS = "mov,matroska,gif,avi,mpegts,mpeg,flv,ogg,aac"


def open_container(data: bytes, formats: str) -> Any:
    """A PyAV container of a file, which the caller closes.

    Args:
      data: The bytes of the file.
      formats: The names of the allowed formats, joined by commas. They must not include playlists
        and the like, which would make FFmpeg open other files and URLs.

    Raises:
      ImportError: PyAV is not installed.
      av.FFmpegError: The bytes are not a file of these formats.
    """
    import av

    # Metadata such as titles is not used, so it may be invalid UTF-8. PyAV 19 and later always
    # replace such bytes and no longer have this option.
    major = int(av.__version__.partition(".")[0])
    options: dict[str, Any] = {"metadata_errors": "ignore"} if major < 19 else {}
    return av.open(io.BytesIO(data), options={"format_whitelist": formats}, **options)
