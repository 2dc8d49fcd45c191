"""Finds the folder of a TF-Hub handle, and reports models that are not available."""

from __future__ import annotations

import pathlib

import tensorflow as tf
import tensorflow_hub

from mmrank.config import ConfigError
from mmrank.data.embedding_cache import files_hash


def hub_folder(feature: str, handle: str) -> pathlib.Path:
    """Returns the local folder of a TF-Hub model, downloaded if `handle` is a URL.

    Args:
      feature: The feature that needs the encoder, with which messages begin.
      handle: URL or local folder.

    Raises:
      ConfigError: The model is not available; the message says what was tried and how to fetch the
        model by hand.
    """
    try:
        folder = pathlib.Path(tensorflow_hub.resolve(handle))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise unreachable(feature, handle, _tried(handle), error, _REMEDY) from error
    if not (folder / "saved_model.pb").is_file():
        raise ConfigError(
            f"feature {feature!r}: handle {handle!r}: {folder} has no saved_model.pb, so it is "
            "not a TF-Hub model; `python -m mmrank.import_encoder` makes one from other files"
        )
    return folder


def hub_hash(feature: str, handle: str) -> str:
    """Returns a hash of a TF-Hub model's files. Arguments and errors are those of `hub_folder`."""
    folder = hub_folder(feature, handle)
    return files_hash([f for f in folder.rglob("*") if f.is_file()], folder)


def unreachable(
    feature: str, handle: str, tried: str, error: Exception, remedy: str
) -> ConfigError:
    """Returns the error that a pretrained model is not available, in one line.

    Args:
      feature: The feature that needs the encoder.
      handle: The handle in the config.
      tried: What was tried.
      error: The error that the attempt raised.
      remedy: What to do by hand.
    """
    lines = str(error).strip(" \n.").splitlines() or [type(error).__name__]
    reason = lines[0] if len(lines[0]) <= 200 else f"{lines[0][:200]}…"
    return ConfigError(
        f"feature {feature!r}: handle {handle!r} is not available: tried {tried}: {reason}; "
        f"{remedy}"
    )


_REMEDY = (
    "to copy it by hand, download and unpack it on a machine with network access, copy the "
    "folder with saved_model.pb here, and set `handle` to that folder"
)


def _tried(handle: str) -> str:
    if "://" in handle:
        return "TF-Hub's cache (TFHUB_CACHE_DIR) and the download"
    return "a local folder"
