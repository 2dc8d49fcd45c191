"""Unknown ids that equal known ones except for how they are written."""

from __future__ import annotations

import pandas as pd
import pytest

from mmrank.data.checks import check_references
from mmrank.data.lookalikes import other_writing
from mmrank.schema import did_you_mean


@pytest.mark.parametrize(
    ("unknown", "what"),
    [
        ("A1 ", "white space"),
        ("A\u00a01", "white space"),
        ("\u200bA1", "white space"),
        ("u\u0308", "the Unicode form"),
        ("\uff211", "the Unicode form"),  # a full-width A
        ("a1", "upper and lower case"),
        ("0042", "leading zeros"),
        ("42.0", "a trailing point and zeros"),
    ],
)
def test_each_way_of_writing_is_named(unknown: str, what: str) -> None:
    known = {"A1", "\u00fc", "42"}
    said = other_writing(pd.Series([unknown]), known)
    assert said == f", but equal to known ids except for {what}"


def test_unrelated_ids_are_not_explained() -> None:
    assert other_writing(pd.Series(["B7", "C8", "a1"]), {"A1"}) == ""


def test_a_finding_explains_the_difference() -> None:
    [finding] = check_references("judged.csv", pd.Series(["A1 ", "A2 "], name="sku"), {"A1", "A2"})
    said = "items that are not in the catalogue, but equal to known ids except for white space [2: "
    assert said in str(finding)
    assert "write the ids of both tables the same way, or add the items" in str(finding)


def test_column_names_are_explained_too() -> None:
    assert did_you_mean("brand", ["BRAND", "brandy"]) == "; did you mean 'BRAND'?"
    assert did_you_mean("gr\u00f6\u00dfe", ["gro\u0308\u00dfe"]).endswith(
        "which looks the same but has another Unicode form?"
    )
