"""The scorer of generalised matrix factorisation: training in Keras, scores in NumPy."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from mmrank.collaborative.base import Asked, Scorer, dotted


class Gmf(Scorer):
    """Logits h · (p ⊙ q) of a tower trained to tell met items from drawn ones.

    A fit goes on from the weights of the one before.

    Source: He et al. 2017, "Neural collaborative filtering"; see `gmf_tower.GmfTower`.
    """

    weights: dict[str, np.ndarray] | None = None

    def fit(self, matrix: sp.csr_matrix) -> None:
        # TensorFlow takes seconds to import, and no other scorer needs it.
        from mmrank.collaborative.gmf_tower import train_gmf

        options = self.options
        self.weights = train_gmf(
            matrix,
            factors=options.factors,
            epochs=options.epochs,
            negatives=options.negatives,
            seed=options.seed,
            start=self.weights,
        )

    def score(self, asked: Asked) -> np.ndarray:
        assert self.weights is not None
        histories = asked.histories
        squares = np.asarray(histories.multiply(histories).sum(1)).ravel()
        root = np.sqrt(squares)
        inverse = np.divide(1.0, root, out=np.zeros_like(root), where=root > 0)
        shoppers = sp.diags(inverse) @ (histories @ self.weights["met"])
        return dotted(shoppers * self.weights["output"], self.weights["offered"], asked)

    def arrays(self) -> dict[str, np.ndarray]:
        assert self.weights is not None
        return self.weights

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.weights = arrays
