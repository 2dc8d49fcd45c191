"""Numbers and units: values by hand, and agreement by a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.matching.quantities import BARE, Quantities, agreement, quantities_of
from mmrank.matching.words import words_of


def read(texts: list[str], width: int = 4) -> Quantities:
    return quantities_of(words_of(tf.constant(texts)), width)


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("", []),
        ("no number", []),
        ("3/4 in", [0.01905]),
        ('42"', [1.0668]),
        ("1 1/2 in. and 1-1/2 inch", [0.0381, 0.0381]),
        ("500ml or 0.5 l", [0.5, 0.5]),
        ("20 fl oz", [0.59147]),
        ("饮料500毫升", [0.5]),
        ("6 ft 2 in", [1.8288, 0.0508]),
        ("7", [7]),
        ("2 1/2", [2.5]),
        ("1/0 in", []),
        ("5 7 9 11 13", [5, 7, 9, 11]),
    ],
)
def test_amounts_are_parsed(text: str, amounts: list[float]) -> None:
    found = read([text, "3 m"])
    kinds, logs = found.kinds.numpy(), found.amounts.numpy()
    assert np.exp(logs[0][kinds[0] > 0]) == pytest.approx(amounts, rel=1e-3)
    # The last number of a text is not combined with the first word of the next text.
    assert np.exp(logs[1][:1]) == pytest.approx([3], rel=1e-4)


def test_a_number_at_the_end_of_a_text_takes_no_unit_from_the_next() -> None:
    assert read(["width 5", "in stock"]).kinds.numpy()[0, 0] == BARE


@pytest.mark.parametrize(
    ("asked", "offered", "had", "otherwise"),
    [
        ("3/4 in pipe", "0.75 inch pipe", 1, 0),
        ("3/4 in pipe", "1 in x 10 ft pipe", 0, 1),
        ("3/4 in pipe", "pipe 10 kg", 0, 0),
        ("500 ml", "0.5L", 1, 0),
        ("10 ft 3/4 in", "3/4 in. x 10 ft.", 1, 0),
        ("10 ft 3/4 in", "3/4 in. x 5 ft.", 0.5, 0.5),
        ("12 volt 7", "7 v", 0.5, 0.5),  # a 7 without unit matches 7 of any unit
        ("pipe", "3/4 in", 0, 0),
        ("60 w", "60 watts", 1, 0),
    ],
)
def test_agreement(asked: str, offered: str, had: float, otherwise: float) -> None:
    one, other = read([asked]), read([offered, offered])
    several = Quantities(*(tf.stack([getattr(other, n)]) for n in ("kinds", "amounts", "numbers")))
    same, different = agreement(one, several)
    np.testing.assert_allclose(same, [[had, had]], atol=1e-6)
    np.testing.assert_allclose(different, [[otherwise, otherwise]], atol=1e-6)
