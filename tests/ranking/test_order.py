"""The formula of the order: its value in plain NumPy, the log domain, and refusals."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf

from mmrank.ranking.order import parse_order

TASKS = ("click", "purchase", "dwell")
GIVEN = {
    "click": np.array([0.5, 0.02, 0.9], np.float64),
    "purchase": np.array([0.01, 0.3, 1e-9], np.float64),
    "dwell": np.array([12.0, 0.5, 300.0], np.float64),
}
C, P, D = GIVEN["click"], GIVEN["purchase"], GIVEN["dwell"]


def scores(text: str, given: dict[str, np.ndarray] = GIVEN) -> np.ndarray:
    logs = {n: tf.constant(np.log(v), tf.float32) for n, v in given.items()}
    return parse_order(text, TASKS).scores(logs).numpy()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("click^0.3 * purchase^0.7", np.log(C**0.3 * P**0.7)),
        ("click", np.log(C)),
        ("purchase / click * 2", np.log(2 * P / C)),
        ("(click + 2*purchase) * dwell^0.1", np.log((C + 2 * P) * D**0.1)),
        ("click^-0.5", np.log(C**-0.5)),
        ("click^(1/2) * dwell", np.log(C**0.5 * D)),
        ("2^0.5 * click", np.log(2**0.5 * C)),
        ("0.3*click + 0.7*purchase", 0.3 * C + 0.7 * P),
        ("click - purchase * dwell", C - P * D),
        ("-click * dwell", -C * D),
        ("click * (1 - purchase)", C * (1 - P)),
        ("(click - purchase)^2", (C - P) ** 2),
        ("1 + click^2^3", 1 + C**8),
        ("click / -2", C / -2),
        (" purchase * 1e3 ", np.log(P * 1000)),
    ],
)
def test_the_value_of_a_formula(text, expected):
    np.testing.assert_allclose(scores(text), expected, rtol=2e-6, atol=1e-6)


def test_products_are_ordered_beyond_the_range_of_floats():
    """Probabilities e^-200 and e^-201 are both 0 in float32, but one is larger."""
    logs = {n: tf.constant([-200.0, -201.0]) for n in ("click", "purchase")}
    given = parse_order("click^0.3 * purchase^0.7", TASKS).scores(logs).numpy()
    np.testing.assert_allclose(given, [-200.0, -201.0], rtol=1e-6)


def test_a_formula_lists_its_tasks():
    assert parse_order("purchase * click / purchase", TASKS).tasks == ("purchase", "click")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clck^0.3", "unknown task 'clck'; did you mean 'click'"),
        ("0.3 * 2", "contains no task; known: click, purchase, dwell"),
        ("click *", "not a formula; write it like click"),
        ("", "not a formula"),
        ("click ** 2", "not a formula"),
        ("click^purchase", "an exponent must be a number, not 'purchase'"),
        ("__import__('os').system('true')", "is not allowed"),
        ("click.__class__", "is not allowed"),
        ("click[0]", "is not allowed"),
        ("click if click else click", "is not allowed"),
        ("click and purchase", "is not allowed"),
        ("click * 'a'", "'a' is not a finite number"),
        ("click * True", "True is not a finite number"),
        ("click * 1e999", "inf is not a finite number"),
        ("click / 0", "divides by '0', which may be 0"),
        ("click / (purchase - dwell)", "divides by 'purchase - dwell', which may be 0"),
        ("(click - purchase)^0.5", "'click - purchase' may be negative"),
        ("click * 9^9^9^9", "no finite value"),
        ("click * (0 - 1)^0.5", "may be negative"),
        ("+".join(["click"] * 500), "not a formula"),
    ],
)
def test_invalid_formulas_are_refused(text, message):
    with pytest.raises(ValueError, match=f"^order .*{re.escape(message)}"):
        parse_order(text, TASKS)
