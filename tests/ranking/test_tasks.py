"""Tasks: their labels, what their outputs mean, and the figures of these."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.ranking.order import parse_order
from mmrank.ranking.task_metrics import calibration_error, task_figures, task_truth
from mmrank.ranking.task_outputs import TaskOutputs
from mmrank.ranking.tasks import TaskSpec, labels_read

CLICK = TaskSpec("click", "click")
DWELL = TaskSpec("dwell", "dwell", "mean_squared_loss", "log1p", among="click")
LABELS = {
    "click": tf.constant([[1.0, 0.0, np.nan, 3.0]]),
    "dwell": tf.constant([[9.0, 5.0, 7.0, np.nan]]),
}
MASK = tf.constant([[True, True, True, True]])


def test_targets_leave_out_what_is_unknown_and_who_takes_no_part():
    """A label of 3 clicks is a click; the fourth has a click and no known dwell time."""
    np.testing.assert_array_equal(CLICK.targets(LABELS, MASK), [[1, 0, -1, 1]])
    expected = [[np.log(10.0), -1, -1, -1]]
    np.testing.assert_allclose(DWELL.targets(LABELS, MASK), expected, rtol=1e-6)
    padded = DWELL.targets(LABELS, ~MASK)
    np.testing.assert_array_equal(padded, [[-1, -1, -1, -1]])
    graded = TaskSpec("graded", "click", "softmax_loss")
    np.testing.assert_array_equal(graded.targets(LABELS, MASK), [[1, 0, -1, 3]])


def test_labels_are_read_once():
    assert labels_read([CLICK, DWELL, TaskSpec("c", "click")]) == ("click", "dwell")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "scores"}, "'scores': not a name for a task"),
        ({"name": "a b"}, "'a b': not a name for a task"),
        ({"label": "clicks"}, "unknown label 'clicks'; did you mean 'click'"),
        ({"among": "purchases"}, "unknown label 'purchases'; did you mean 'purchase'"),
        ({"transform": "log"}, "unknown transform 'log'; did you mean 'log1p'"),
        ({"transform": "log1p"}, "use mean_squared_loss for a regression"),
    ],
)
def test_tasks_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        TaskSpec(**{"name": "click", "label": "click", **changes})


def outputs(**changes: object) -> TaskOutputs:
    order = parse_order("click^0.5 * dwell", ("click", "dwell"))
    return TaskOutputs((CLICK, DWELL), order, **changes)


def test_outputs_are_chances_seconds_and_an_order():
    raw = {"click": tf.constant([[0.7, -30.0]]), "dwell": tf.constant([[2.0, -4.0]])}
    given = outputs().predictions(raw)
    chances = 1 / (1 + np.exp([-0.7, 30.0]))
    seconds = [np.exp(2.0) - 1, 0.001]  # no time is below a millisecond
    np.testing.assert_allclose(given["click"][0], chances, rtol=1e-5)
    np.testing.assert_allclose(given["dwell"][0], seconds, rtol=1e-5)
    expected = 0.5 * np.log(chances) + np.log(seconds)
    np.testing.assert_allclose(outputs().scores(raw)[0], expected, rtol=1e-5)


def test_calibration_changes_chances_and_scores():
    raw = {"click": tf.constant([[0.7]]), "dwell": tf.constant([[2.0]])}
    calibrated = outputs(calibration={"click": (2.0, -1.0)})
    chance = 1 / (1 + np.exp(-(2 * 0.7 - 1)))
    assert float(calibrated.predictions(raw)["click"]) == pytest.approx(chance, rel=1e-5)
    expected = 0.5 * np.log(chance) + np.log(np.exp(2.0) - 1)
    assert float(calibrated.scores(raw)) == pytest.approx(expected, rel=1e-5)


def test_one_task_scores_by_what_the_network_gives():
    raw = {"click": tf.constant([[0.7, -3.0]])}
    np.testing.assert_allclose(TaskOutputs((CLICK,)).scores(raw), [[0.7, -3.0]])


def test_figures_by_hand():
    """Chances .8, .6, .4 and .2 of which the first and third happened."""
    chances = np.array([0.8, 0.6, 0.4, 0.2])
    raw = {"click": np.log(chances / (1 - chances)), "dwell": np.array([2.0, 1.0, 9.0, 9.0])}
    labels = {
        "click": np.array([1, 0, 1, 0], np.float32),
        "dwell": np.array([np.e**2, 50.0, 0.0, np.nan], np.float32) - np.float32(1),
    }
    labels["dwell"][2] = np.e**3 - 1
    figures = task_figures(outputs(), raw, labels)
    assert figures["click"]["auc"] == pytest.approx(3 / 4)  # of four pairs one is the wrong way
    expected = -np.log([0.8, 1 - 0.6, 0.4, 1 - 0.2]).mean()
    assert figures["click"]["log_loss"] == pytest.approx(expected, rel=1e-5)
    # Four bins of one: |.8 - 1|, |.6 - 0|, |.4 - 1|, |.2 - 0|.
    assert figures["click"]["ece"] == pytest.approx((0.2 + 0.6 + 0.6 + 0.2) / 4, rel=1e-5)
    # Among the clicked: 2 for log(1 + e² - 1) = 2, and 9 for 3.
    assert figures["dwell"]["rmse"] == pytest.approx(np.sqrt((0 + 36) / 2), rel=1e-5)
    mae = (0 + (np.e**9 - np.e**3)) / 2
    assert figures["dwell"]["mae"] == pytest.approx(mae, rel=1e-4)


def test_calibration_error_of_two_bins():
    """Ten rows at .1 of which 2 happened, thirty at .5 of which 12: .25 · .1 + .75 · .1."""
    chances = np.repeat([0.1, 0.5], [10, 30])
    happened = np.zeros(40, bool)
    happened[[0, 1, *range(10, 22)]] = True
    assert calibration_error(happened, chances) == pytest.approx(0.1)
    order = np.random.default_rng(0).permutation(40)
    assert calibration_error(happened[order], chances[order]) == pytest.approx(0.1)


def test_bins_of_the_calibration_error_hold_equal_numbers_of_rows():
    """150 rare chances, all far below 1 / 15: fifteen bins of ten in their order."""
    rng = np.random.default_rng(4)
    chances = np.sort(rng.beta(1, 200, 150))
    happened = np.zeros(150, bool)
    happened[0] = True  # the least likely, so that a single bin would look calibrated
    expected = 0.0
    for rows in np.array_split(np.arange(150), 15):
        expected += len(rows) / 150 * abs(happened[rows].mean() - chances[rows].mean())
    assert expected > 2 * abs(happened.mean() - chances.mean())
    order = rng.permutation(150)
    assert calibration_error(happened[order], chances[order]) == pytest.approx(expected)


def test_figures_without_both_outcomes_have_no_auc():
    labels = {"click": np.zeros(3, np.float32)}
    given = task_figures(TaskOutputs((CLICK,)), {"click": np.array([0.1, 0.2, 0.3])}, labels)
    assert np.isnan(given["click"]["auc"])
    assert np.isfinite(given["click"]["log_loss"])
    truth, part = task_truth(CLICK, labels)
    assert (truth[part] == 0).all()
