"""TF-Ranking's canned networks: they ignore padding, and a gam is a sum over features."""

from __future__ import annotations

import numpy as np
import pytest

from mmrank.ranking.canned import canned_model


def scores(model, examples: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return model({"examples": examples.astype(np.float32), "mask": mask}, training=False).numpy()


@pytest.mark.parametrize("network", ["dnn", "gam"])
def test_padding_changes_nothing(network: str) -> None:
    examples = np.random.default_rng(0).normal(size=(2, 4, 3))
    mask = np.array([[True] * 4, [True, True, False, False]])
    model = canned_model(network, 3, (4,))
    found = scores(model, examples, mask)
    assert found.shape == (2, 4)
    alone = scores(model, examples[1:, :2], mask[1:, :2])
    np.testing.assert_allclose(found[1, :2], alone[0], rtol=1e-5)
    other = examples.copy()
    other[1, 2:] = 9.0
    np.testing.assert_allclose(scores(model, other, mask)[mask], found[mask], rtol=1e-5)
    assert (found[~mask] < found[mask].min()).all()


def test_a_gam_is_a_sum_over_features() -> None:
    """Changing one feature changes the score by the same amount, whatever the other feature is."""
    model = canned_model("gam", 2, (8,), batch_norm=False)
    grid = np.array([[[0, 0], [1, 0], [0, 1], [1, 1]]])
    ((a, b, c, d),) = scores(model, grid, np.ones((1, 4), bool))
    assert d - c == pytest.approx(b - a, abs=1e-5)


def test_contexts_of_a_gam_weigh_the_others() -> None:
    model = canned_model("gam", 2, (8,), batch_norm=False, contexts=[1])
    lists = np.array([[[0, 0], [1, 0]], [[0, 2], [1, 2]]])
    found = scores(model, lists, np.ones((2, 2), bool))
    assert np.isfinite(found).all()
    assert model.input["examples"].shape[-1] == 2
    with pytest.raises(ValueError, match="all features are equal within every list"):
        canned_model("gam", 2, (8,), contexts=[0, 1])


def test_an_unknown_network() -> None:
    with pytest.raises(ValueError, match="unknown network 'cnn'; known: dnn, gam"):
        canned_model("cnn", 2, (8,))
