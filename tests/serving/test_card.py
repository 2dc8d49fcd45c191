"""The card of an export: errors in it are reported in one line."""

from __future__ import annotations

import json
import pathlib

import pytest

from mmrank.serving.card import CARD, read_card
from mmrank.serving.request import RankError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no assets.extra/ranker.json, so mmrank did not write it"),
        ("", "damaged: Expecting value"),
        ('{"format": 1, "featu', "damaged: "),
        ("[]", "damaged: "),
        ('{"format": 1}', "damaged: 'features'"),
        ('{"format": 1, "features": [3], "history": null}', "damaged: "),
        ('{"format": 1, "features": [{"name": "a"}], "history": null}', "damaged: "),
        (json.dumps({"format": 99}), "in format 99, while this mmrank reads 1"),
    ],
)
def test_a_damaged_card_is_refused(tmp_path: pathlib.Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / CARD).parent.mkdir()
        (tmp_path / CARD).write_text(text, encoding="utf-8")
    with pytest.raises(RankError, match="export a run") as actual:
        read_card(tmp_path)
    assert message in str(actual.value)
    assert "\n" not in str(actual.value)
