"""Unavailable TF-Hub handles: one line with the feature and the remedy, for every kind."""

from __future__ import annotations

import pytest

from mmrank.config import ConfigError
from mmrank.encoders.audio import Audio
from mmrank.encoders.handles import hub_folder
from mmrank.encoders.text import Text
from mmrank.encoders.video import Video
from mmrank.schema import Feature

URL = "http://127.0.0.1:9/encoder/1"  # no server listens there


@pytest.mark.parametrize(
    ("kind", "name"), [(Text, "text"), (Audio, "audio"), (Video, "video")], ids=lambda v: str(v)
)
@pytest.mark.parametrize("trainable", [True, False])
def test_a_url_without_a_network(kind, name, trainable, tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    options = {"encoder": "hub", "handle": URL, "trainable": trainable}
    made = kind(Feature("content", name, "item", "content"), options)
    step = (lambda: made.encoder(8)) if trainable else made.weights_hash
    with pytest.raises(
        ConfigError, match=r"'content'.*is not available: tried .*download"
    ) as caught:
        step()
    assert "\n" not in str(caught.value)
    assert "TFHUB_CACHE_DIR" in str(caught.value)
    assert "set `handle` to that folder" in str(caught.value)


def test_folders_without_a_model(tmp_path):
    with pytest.raises(ConfigError, match=r"'title'.*tried a local folder: .*does not exist"):
        hub_folder("title", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"'title'.*no saved_model\.pb.*import_encoder"):
        hub_folder("title", str(tmp_path))
    (tmp_path / "saved_model.pb").touch()
    assert hub_folder("title", str(tmp_path)) == tmp_path
