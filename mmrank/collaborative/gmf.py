"""The scorer of generalised matrix factorisation: training in Keras, scores in NumPy."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from mmrank.collaborative.base import Asked, Scorer, dotted


class Gmf(Scorer):
    """Logits h · (p ⊙ q) of a tower trained to distinguish met items from randomly drawn ones.

    Each fit continues from the weights of the previous one.

    Source: He et al. 2017, "Neural collaborative filtering"; see `gmf_tower.GmfTower`.

    Example:
      The logit is the sum of the products of the user's vector, the item's vector and the weights:

      >>> import numpy as np
      >>> import scipy.sparse as sp
      >>> from mmrank.collaborative import Asked, CollaborativeOptions
      >>> scorer = Gmf(CollaborativeOptions(factors=2))
      >>> met, offered = np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [3.0, 4.0]])
      >>> scorer.restore({"met": met, "offered": offered, "output": np.array([1.0, 0.5])})
      >>> asked = Asked(sp.csr_matrix([[1.0, 0.0]]), np.array([-1]), np.array([0]), np.array([1]))
      >>> scorer.score(asked).tolist()  # 1 · 3 · 1 + 2 · 4 · 0.5
      [7.0]
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
        users = sp.diags(inverse) @ (histories @ self.weights["met"])
        return dotted(users * self.weights["output"], self.weights["offered"], asked)

    def arrays(self) -> dict[str, np.ndarray]:
        assert self.weights is not None
        return self.weights

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.weights = arrays
