import numpy as np
import pytest

from mmrank.data.simulator.grades import held_share, true_grades


def test_held_share_by_hand() -> None:
    wanted = np.array([3, -1, 2, -1])
    attributes = np.array([[3, 0, 2, 0], [3, 1, 1, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(held_share(wanted, attributes), [1, 0.5, 0])


def test_a_query_without_attributes_fits_every_product() -> None:
    np.testing.assert_array_equal(held_share(np.full(4, -1), np.zeros((3, 4), int)), 1)


@pytest.mark.parametrize(
    ("same", "held", "named", "appeal", "grade"),
    [
        (False, 1.0, 2, 1.0, 0),  # another type, however well the other attributes match
        (True, 1.0, 0, 0.10, 0),  # u = 0.10
        (True, 1.0, 0, 0.60, 2),  # u = 0.60
        (True, 1.0, 0, 1.00, 3),  # u = 1, capped
        (True, 1.0, 1, 0.49, 2),  # u = 1/2 + 0.245 = 0.745
        (True, 1.0, 1, 0.51, 3),  # u = 1/2 + 0.255 = 0.755
        (True, 0.0, 1, 0.49, 0),  # u = 0.245
        (True, 0.5, 2, 0.60, 2),  # u = 1/3 + 0.2 = 0.533
        (True, 1.0, 2, 0.20, 2),  # u = 2/3 + 0.067 = 0.733
        (True, 1.0, 2, 0.30, 3),  # u = 2/3 + 0.1 = 0.767
    ],
)
def test_grade_by_hand(same: bool, held: float, named: int, appeal: float, grade: int) -> None:
    found = true_grades(np.array([same]), np.array([held]), named, np.array([appeal]))
    assert found.tolist() == [grade]
