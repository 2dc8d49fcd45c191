"""The effect of positions on logits: by hand, in each form, with unknown positions and dropout."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.ranking.losses import make_loss
from mmrank.ranking.position_tower import ADD, EXAMINATION, MIXTURE, POSITIONS, PositionTower

SCORES = tf.constant([[0.5, -1.0, 2.0, 0.0]])
SHOWN_AT = tf.constant([[1.0, 3.0, 250.0, np.nan]])
AT = [1, 3, POSITIONS, 0]  # rows of the table; row 0 is for unknown positions


def tower(form: str, **options: object) -> PositionTower:
    """A tower whose table has distinct numbers."""
    layer = PositionTower(form, **options)
    layer((SCORES, SHOWN_AT))
    rows, columns = layer.table.shape
    layer.table.assign(np.arange(rows)[:, None] / 10 + np.arange(columns)[None] * 100)
    return layer


def test_the_tower_begins_at_minus_log_of_the_position() -> None:
    layer = PositionTower(dropout=0.0)
    given = layer((tf.zeros([1, 3]), tf.constant([[1.0, 2.0, 10.0]])))
    np.testing.assert_allclose(given, -np.log([[1, 2, 10]]), rtol=1e-6)


def test_each_form_by_formula() -> None:
    bias = np.array(AT) / 10
    np.testing.assert_allclose(tower(ADD)((SCORES, SHOWN_AT)), SCORES.numpy() + bias, rtol=1e-6)
    both = tower(EXAMINATION)((SCORES, SHOWN_AT)).numpy()
    np.testing.assert_allclose(both[..., 0], [bias], rtol=1e-6)
    np.testing.assert_allclose(both[..., 1], SCORES)
    ways = tower(MIXTURE, behaviours=3)((SCORES, SHOWN_AT)).numpy()
    for m in range(3):
        np.testing.assert_allclose(ways[..., m], SCORES.numpy() + bias + 100 * m, rtol=1e-6)


def test_dropout_hides_positions_in_training_only() -> None:
    layer = tower(ADD, dropout=0.3)
    scores, positions = tf.zeros([400, 10]), tf.fill([400, 10], 7.0)
    np.testing.assert_allclose(layer((scores, positions), training=False), 0.7, rtol=1e-6)
    drawn = layer((scores, positions), training=True).numpy()
    assert set(np.unique(drawn.round(3))) == {np.float32(0.0), np.float32(0.7)}
    # 4,000 draws with probability 0.3 have a standard deviation of .007.
    assert abs((drawn == 0).mean() - 0.3) < 0.04


@pytest.mark.parametrize("options", [{"dropout": 1.0}, {"form": MIXTURE, "behaviours": 1}])
def test_invalid_options_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match="position_bias"):
        PositionTower(**options)


def test_em_losses_use_the_logits_of_the_tower() -> None:
    """Click EM by hand: cross-entropy of both logits with their posteriors, without padding."""
    labels = np.array([[1.0, 0.0, 0.0, -1.0]], np.float32)
    logits = tower(EXAMINATION)((SCORES, tf.constant([[1.0, 2.0, 3.0, 0.0]])))
    expected = 0.0
    for k in range(3):
        e, r = (1 / (1 + np.exp(-logits.numpy()[0, k, i].astype(float))) for i in (0, 1))
        examined = 1.0 if labels[0, k] else e * (1 - r) / (1 - e * r)
        relevant = 1.0 if labels[0, k] else r * (1 - e) / (1 - e * r)
        for probability, target in ((e, examined), (r, relevant)):
            expected -= target * np.log(probability) + (1 - target) * np.log(1 - probability)
    given = make_loss("click_em_loss")(labels, logits)
    np.testing.assert_allclose(given, expected / 3, rtol=1e-5)
    ways = tower(MIXTURE)((SCORES, SHOWN_AT))
    assert np.isfinite(make_loss("mixture_em_loss")(labels, ways))


def test_scores_and_table_have_gradients() -> None:
    layer = tower(ADD)
    scores = tf.Variable(SCORES)
    with tf.GradientTape() as tape:
        loss = make_loss("softmax_loss")(
            tf.constant([[0.0, 1.0, 0.0, -1.0]]), layer((scores, SHOWN_AT))
        )
    of_scores, of_table = tape.gradient(loss, [scores, layer.table])
    assert np.abs(of_scores[0, :3]).min() > 0
    assert of_scores[0, 3] == 0  # padding
    assert np.isfinite(tf.convert_to_tensor(of_table)).all()
