"""Matrix factorisation of implicit feedback, by the package `implicit`."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from mmrank.collaborative.base import Asked, Scorer, dotted
from mmrank.outputs import require_extra


class AlternatingLeastSquares(Scorer):
    """Dot products of the candidate's factors with the user's, solved for the user's history.

    The confidence of an event is 1 + confidence · weight; the confidence of an item without an
    event is 1.

    Raises:
      MissingExtra: `implicit` is not installed (fit).

    Source: Hu, Koren and Volinsky 2008, "Collaborative filtering for implicit feedback datasets",
      equations 3 to 5; equation 4 also gives the factors of a new user.

    Example:
      With factors e₀ and e₁, regularization 1 and confidence 1, a user who met item 0 solves
      (1 + 1 + 1) f₀ = 1 + 1:

      >>> import numpy as np
      >>> import scipy.sparse as sp
      >>> from mmrank.collaborative import CollaborativeOptions
      >>> options = CollaborativeOptions(regularization=1.0, confidence=1.0)
      >>> scorer = AlternatingLeastSquares(options)
      >>> scorer.restore({"factors": np.eye(2)})
      >>> scorer.fold_in(sp.csr_matrix([[1.0, 0.0]])).round(4).tolist()
      [[0.6667, 0.0]]
    """

    def fit(self, matrix: sp.csr_matrix) -> None:
        factors = self.options.factors
        self.factors = np.zeros([matrix.shape[1], factors], np.float32)
        if not matrix.nnz:
            return
        require_extra("the scorer als", "implicit", "collaborative")
        from implicit.cpu.als import AlternatingLeastSquares as Library

        # BLAS threads inside the library's threads make it slower; the library warns of that.
        with threadpool_limits(1, "blas"):
            model = Library(
                factors=factors,
                regularization=self.options.regularization,
                num_threads=1,  # sums in one order, so that a seed gives the same factors
                random_state=self.options.seed,
            )
            # The package takes an entry as the whole confidence.
            confidence = matrix.astype(np.float32)
            confidence.data = 1.0 + np.float32(self.options.confidence) * confidence.data
            model.fit(confidence, show_progress=False)
        self.factors = np.nan_to_num(model.item_factors)

    def score(self, asked: Asked) -> np.ndarray:
        return dotted(self.fold_in(asked.histories), self.factors, asked)

    def fold_in(self, histories: sp.csr_matrix) -> np.ndarray:
        """Factors [lists, F] of users by their own rows [lists, items]; zeros without an event."""
        items, width = self.factors.astype(np.float64), self.factors.shape[1]
        gram = items.T @ items + self.options.regularization * np.eye(width)
        found = np.zeros([histories.shape[0], width])
        for row in range(histories.shape[0]):
            span = slice(histories.indptr[row], histories.indptr[row + 1])
            met = items[histories.indices[span]]
            if len(met):
                extra = self.options.confidence * histories.data[span]
                left = gram + (met * extra[:, None]).T @ met
                found[row] = np.linalg.solve(left, met.T @ (1.0 + extra))
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        return {"factors": self.factors}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.factors = arrays["factors"]
