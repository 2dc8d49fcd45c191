"""Where pretrained models lie: a TF-Hub handle's folder, and what to say where it cannot be had."""

from __future__ import annotations

import pathlib

import tensorflow as tf
import tensorflow_hub

from mmrank.config import ConfigError
from mmrank.data.embedding_cache import files_hash


def hub_folder(feature: str, handle: str) -> pathlib.Path:
    """The local folder of a TF-Hub model, downloaded if `handle` is a URL.

    Args:
      feature: Whose encoder it is, to begin a message with.
      handle: URL or local folder.

    Raises:
      ConfigError: It cannot be had; the message says what was tried, and what to do by hand.
    """
    try:
        folder = pathlib.Path(tensorflow_hub.resolve(handle))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise unreachable(feature, handle, _tried(handle), error, _REMEDY) from error
    if not (folder / "saved_model.pb").is_file():
        raise ConfigError(
            f"feature {feature!r}: handle {handle!r}: there is no saved_model.pb in {folder}, so "
            "it is no TF-Hub model; `python -m mmrank.import_encoder` makes one of other files"
        )
    return folder


def hub_hash(feature: str, handle: str) -> str:
    """A hash of the files of a TF-Hub model. Arguments and errors are those of `hub_folder`."""
    folder = hub_folder(feature, handle)
    return files_hash([f for f in folder.rglob("*") if f.is_file()], folder)


def unreachable(
    feature: str, handle: str, tried: str, error: Exception, remedy: str
) -> ConfigError:
    """The error that a pretrained model cannot be had, in one line.

    Args:
      feature: Whose encoder it is.
      handle: As the config names it.
      tried: What was tried.
      error: What came of it.
      remedy: What to do by hand.
    """
    lines = str(error).strip(" \n.").splitlines() or [type(error).__name__]
    reason = lines[0] if len(lines[0]) <= 200 else f"{lines[0][:200]}…"
    return ConfigError(
        f"feature {feature!r}: handle {handle!r} cannot be had: tried {tried}: {reason}; {remedy}"
    )


_REMEDY = (
    "to bring it by hand, download and unpack it where there is a network, copy the folder with "
    "saved_model.pb here, and set `handle` to that folder"
)


def _tried(handle: str) -> str:
    if "://" in handle:
        return "TF-Hub's cache (TFHUB_CACHE_DIR) and the download"
    return "a local folder"
