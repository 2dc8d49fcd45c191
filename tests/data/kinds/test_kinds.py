"""The dict of kinds: every entry has an encoder, and an unknown kind has the defaults."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from mmrank.data.kinds import KINDS, kind_of
from mmrank.data.kinds.base import AS_THEY_ARE, Kind
from mmrank.data.kinds.media import MediaKind
from mmrank.schema import COMPUTED, SIDES, Feature, SchemaError


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_but_the_history_has_an_encoder(name: str) -> None:
    from mmrank.encoders import HISTORY, FeatureKind, encoder_of

    if name == HISTORY:
        with pytest.raises(SchemaError, match="unknown kind 'history'"):
            encoder_of(name)
    else:
        encoder = encoder_of(name)
        assert issubclass(encoder, FeatureKind)
        assert KINDS[name].encoder == f"{encoder.__module__}:{encoder.__qualname__}"


def test_a_wrong_encoder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmrank.encoders import encoder_of

    class Wrong(Kind):
        encoder = "mmrank.encoders.category:CategoryOptions"

    monkeypatch.setitem(KINDS, "wrong", Wrong())
    with pytest.raises(TypeError, match=r"kind 'wrong': its encoder .* is not a FeatureKind"):
        encoder_of("wrong")


def test_sides_are_those_of_a_schema() -> None:
    for name, kind in KINDS.items():
        assert kind.sides, name
        assert set(kind.sides) <= set(SIDES), name


def test_computed_kinds_are_in_the_dict_too() -> None:
    assert set(COMPUTED) <= set(KINDS)


def test_files_are_the_values_of_media_kinds() -> None:
    assert {n for n, k in KINDS.items() if k.media} == {"image", "video", "audio"}
    assert all(isinstance(k, MediaKind) == k.media for k in KINDS.values())


def test_an_unknown_kind_has_the_defaults() -> None:
    kind = kind_of("colour")
    assert (kind.sides, kind.encoder, kind.cells, kind.media) == ((), "", AS_THEY_ARE, False)


@pytest.mark.parametrize(
    ("kind", "facts", "options"),
    [
        ("text", {}, {}),
        ("video", {"strip": [3, 32, 48]}, {"frames": 3, "height": 32, "width": 48}),
        ("audio", {"wave": [8000, 2.5]}, {"rate": 8000, "seconds": 2.5}),
        (
            "reviews",
            {"reviews": {"most": 4, "keys": {"text": "body", "age": "days"}}},
            {"max_reviews": 4, "text_key": "body", "age_key": "days"},
        ),
    ],
)
def test_values_are_read_with_the_options_of_an_export(
    kind: str, facts: dict[str, Any], options: dict[str, Any]
) -> None:
    assert KINDS[kind].options(facts) == options


def test_a_kind_of_words_is_not_a_kind_of_files() -> None:
    from mmrank.serving.files import FileForm

    with pytest.raises(TypeError, match="'text' is not a kind whose values are files"):
        _ = FileForm("text").media


def test_deciles_are_a_numbers_words() -> None:
    values = pd.Series([*range(100), None])
    bags = KINDS["number"].bag(values, Feature("price", "number", "item", "price"))
    assert bags[0] == ["0"]
    assert bags[99] == ["9"]
    assert bags[100] == []
    assert {b for (b,) in bags[:100]} == {str(n) for n in range(10)}
