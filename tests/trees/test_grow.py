"""Trees are chosen on validation lists, and no more trees are kept than improve them."""

from __future__ import annotations

import numpy as np
import pytest

from mmrank.outputs import UserError
from mmrank.trees.grow import STRIDE, grow
from mmrank.trees.part import Part

OPTIONS = {"rounds": 40, "learning_rate": 0.1, "patience": 10}


def part(seed: int, lists: int = 40, noise: float = 0.3) -> Part:
    """Lists of eight, graded by a product of two features, which no linear ranker learns."""
    random = np.random.default_rng(seed)
    features = random.normal(size=[8 * lists, 4]).astype(np.float32)
    grades = np.clip(features[:, 0] * features[:, 1] + noise * random.normal(size=8 * lists), 0, 3)
    return Part(features, grades.astype(np.float32), np.arange(0, 8 * lists + 1, 8))


def agreement(valid: Part) -> object:
    return lambda scores: float(np.corrcoef(scores, valid.grades)[0, 1])


def test_the_loss_and_depth_best_on_the_validation_lists_are_chosen() -> None:
    train, valid = part(0), part(1)
    figure = agreement(valid)
    both = grow(train, valid, figure, losses=["QueryRMSE", "YetiRank"], depths=[1, 4], **OPTIONS)
    alone = {
        (loss, depth): grow(train, valid, figure, losses=[loss], depths=[depth], **OPTIONS).figure
        for loss in ("QueryRMSE", "YetiRank")
        for depth in (1, 4)
    }
    assert (both.loss, both.depth) == max(alone, key=lambda k: alone[k])
    assert both.figure == pytest.approx(max(alone.values()))
    # The forest that is kept is the one that was measured, and it has learned the product.
    assert figure(both.forest.scores(valid.features)) == pytest.approx(both.figure, abs=1e-4)
    assert both.figure > 0.6
    assert both.depth == 4


def test_trees_that_do_not_help_on_the_validation_lists_are_cut() -> None:
    looks: list[int] = []

    def best_at_the_third_look(scores: np.ndarray) -> float:
        looks.append(len(scores))
        return -abs(len(looks) - 3.0)

    options = OPTIONS | {"rounds": 8 * STRIDE, "patience": 99}
    grown = grow(part(0), part(1), best_at_the_third_look, losses=["RMSE"], depths=[2], **options)
    assert len(looks) == 8
    assert len(grown.forest.leaves) == 3 * STRIDE


def test_the_same_seed_grows_the_same_trees() -> None:
    train, valid = part(0), part(1)
    once, again = (
        grow(train, valid, agreement(valid), losses=["YetiRank"], depths=[3], seed=5, **OPTIONS)
        for _ in range(2)
    )
    np.testing.assert_array_equal(once.forest.leaves, again.forest.leaves)


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.trees: loss NoSuchLoss"):
        grow(part(0), part(1), agreement(part(1)), losses=["NoSuchLoss"], depths=[2], **OPTIONS)
