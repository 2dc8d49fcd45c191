"""Tasks: their labels, the meaning of their outputs, and their figures."""

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


def test_targets_exclude_unknown_labels_and_other_candidates():
    """A label of 3 clicks is a click; the fourth candidate has a click but no known dwell time."""
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
def test_invalid_tasks_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        TaskSpec(**{"name": "click", "label": "click", **changes})


def outputs(**changes: object) -> TaskOutputs:
    order = parse_order("click^0.5 * dwell", ("click", "dwell"))
    return TaskOutputs((CLICK, DWELL), order, **changes)


def test_outputs_are_probabilities_seconds_and_an_order():
    raw = {"click": tf.constant([[0.7, -30.0]]), "dwell": tf.constant([[2.0, -4.0]])}
    given = outputs().predictions(raw)
    probabilities = 1 / (1 + np.exp([-0.7, 30.0]))
    seconds = [np.exp(2.0) - 1, 0.001]  # times are at least a millisecond
    np.testing.assert_allclose(given["click"][0], probabilities, rtol=1e-5)
    np.testing.assert_allclose(given["dwell"][0], seconds, rtol=1e-5)
    expected = 0.5 * np.log(probabilities) + np.log(seconds)
    np.testing.assert_allclose(outputs().scores(raw)[0], expected, rtol=1e-5)


def test_calibration_changes_probabilities_and_scores():
    raw = {"click": tf.constant([[0.7]]), "dwell": tf.constant([[2.0]])}
    calibrated = outputs(calibration={"click": (2.0, -1.0)})
    probability = 1 / (1 + np.exp(-(2 * 0.7 - 1)))
    assert float(calibrated.predictions(raw)["click"][0, 0]) == pytest.approx(probability, rel=1e-5)
    expected = 0.5 * np.log(probability) + np.log(np.exp(2.0) - 1)
    assert float(calibrated.scores(raw)[0, 0]) == pytest.approx(expected, rel=1e-5)


def test_a_single_task_scores_by_its_logit():
    raw = {"click": tf.constant([[0.7, -3.0]])}
    np.testing.assert_allclose(TaskOutputs((CLICK,)).scores(raw), [[0.7, -3.0]])


def test_figures_by_hand():
    """Probabilities .8, .6, .4 and .2; the first and third events happened."""
    probabilities = np.array([0.8, 0.6, 0.4, 0.2])
    raw = {
        "click": np.log(probabilities / (1 - probabilities)),
        "dwell": np.array([2.0, 1.0, 9.0, 9.0]),
    }
    labels = {
        "click": np.array([1, 0, 1, 0], np.float32),
        "dwell": np.array([np.e**2, 50.0, 0.0, np.nan], np.float32) - np.float32(1),
    }
    labels["dwell"][2] = np.e**3 - 1
    figures = task_figures(outputs(), raw, labels)
    assert figures["click"]["auc"] == pytest.approx(3 / 4)  # one of four pairs is reversed
    expected = -np.log([0.8, 1 - 0.6, 0.4, 1 - 0.2]).mean()
    assert figures["click"]["log_loss"] == pytest.approx(expected, rel=1e-5)
    # Four bins of one row: |.8 - 1|, |.6 - 0|, |.4 - 1|, |.2 - 0|.
    assert figures["click"]["ece"] == pytest.approx((0.2 + 0.6 + 0.6 + 0.2) / 4, rel=1e-5)
    # Among the clicked: 2 for log(1 + e² - 1) = 2, and 9 for 3.
    assert figures["dwell"]["rmse"] == pytest.approx(np.sqrt((0 + 36) / 2), rel=1e-5)
    mae = (0 + (np.e**9 - np.e**3)) / 2
    assert figures["dwell"]["mae"] == pytest.approx(mae, rel=1e-4)


def test_calibration_error_of_two_bins():
    """Ten rows at .1 with 2 events and thirty at .5 with 12: .25 · .1 + .75 · .1."""
    probabilities = np.repeat([0.1, 0.5], [10, 30])
    happened = np.zeros(40, bool)
    happened[[0, 1, *range(10, 22)]] = True
    assert calibration_error(happened, probabilities) == pytest.approx(0.1)
    order = np.random.default_rng(0).permutation(40)
    assert calibration_error(happened[order], probabilities[order]) == pytest.approx(0.1)


def test_bins_of_the_calibration_error_hold_equal_numbers_of_rows():
    """150 small probabilities, all far below 1 / 15: in order, fifteen bins of ten."""
    rng = np.random.default_rng(4)
    probabilities = np.sort(rng.beta(1, 200, 150))
    happened = np.zeros(150, bool)
    happened[0] = True  # the least likely, so that a single bin would look calibrated
    expected = 0.0
    for rows in np.array_split(np.arange(150), 15):
        expected += len(rows) / 150 * abs(happened[rows].mean() - probabilities[rows].mean())
    assert expected > 2 * abs(happened.mean() - probabilities.mean())
    order = rng.permutation(150)
    assert calibration_error(happened[order], probabilities[order]) == pytest.approx(expected)


def test_figures_without_both_outcomes_have_no_auc():
    labels = {"click": np.zeros(3, np.float32)}
    given = task_figures(TaskOutputs((CLICK,)), {"click": np.array([0.1, 0.2, 0.3])}, labels)
    assert np.isnan(given["click"]["auc"])
    assert np.isfinite(given["click"]["log_loss"])
    truth, part = task_truth(CLICK, labels)
    assert (truth[part] == 0).all()
