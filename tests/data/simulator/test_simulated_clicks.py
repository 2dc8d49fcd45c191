import numpy as np
import pytest

from mmrank.data.simulator.clicks import ClickModel

N = 200_000


def test_examination_is_a_power_of_the_position() -> None:
    model = ClickModel(eta=0.5)
    np.testing.assert_allclose(model.examination(np.array([1, 4, 9])), [1, 1 / 2, 1 / 3])


def test_no_position_bias_without_severity() -> None:
    np.testing.assert_array_equal(ClickModel(eta=0).examination(np.arange(1, 6)), 1)


def test_attraction_by_hand() -> None:
    found = ClickModel(noise=0.1).attraction(np.arange(4))
    np.testing.assert_allclose(found, [0.1, 0.1 + 0.9 / 7, 0.1 + 0.9 * 3 / 7, 1.0])


@pytest.mark.parametrize(("position", "grade"), [(1, 3), (4, 2), (10, 1)])
def test_click_rate_is_examination_times_attraction(position: int, grade: int) -> None:
    model = ClickModel()
    click, dwell, bought = model.visit(
        np.full(N, position), np.full(N, grade), np.random.default_rng(0)
    )
    attraction = 0.08 + 0.92 * (2**grade - 1) / 7
    expected = position**-0.8 * attraction
    assert click.mean() == pytest.approx(expected, abs=4 * np.sqrt(0.25 / N))
    assert (dwell[~click] == 0).all()
    assert (dwell[click] >= 1).all()
    assert not (bought & ~click).any()
    assert np.median(dwell[click]) == pytest.approx((7, 18, 40, 80)[grade], rel=0.05)
    assert bought[click].mean() == pytest.approx((0.01, 0.04, 0.14, 0.35)[grade], abs=0.02)
