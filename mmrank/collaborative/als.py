"""Matrix factorisation of implicit feedback, by the package `implicit`."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from mmrank.collaborative.base import Asked, Scorer, dotted
from mmrank.outputs import require_extra


class AlternatingLeastSquares(Scorer):
    """Dot products of the candidate's factors with those of the shopper, solved for the history.

    Confidence of an event is 1 + confidence · weight, that of an item never met 1.

    Raises:
      MissingExtra: `implicit` is not installed (fit).

    Source: Hu, Koren and Volinsky 2008, "Collaborative filtering for implicit feedback datasets",
      equations 3 to 5; equation 4 is also how a new shopper is folded in.
    """

    def fit(self, matrix: sp.csr_matrix) -> None:
        factors = self.options.factors
        self.factors = np.zeros([matrix.shape[1], factors], np.float32)
        if not matrix.nnz:
            return
        require_extra("the scorer als", "implicit", "collaborative")
        from implicit.cpu.als import AlternatingLeastSquares as Library

        # Threads of BLAS inside those of the library make it slower; it warns of that.
        with threadpool_limits(1, "blas"):
            model = Library(
                factors=factors,
                regularization=self.options.regularization,
                num_threads=1,  # sums in one order, so that a seed gives the same factors
                random_state=self.options.seed,
            )
            # The package takes an entry for the whole confidence.
            confidence = matrix.astype(np.float32)
            confidence.data = 1.0 + np.float32(self.options.confidence) * confidence.data
            model.fit(confidence, show_progress=False)
        self.factors = np.nan_to_num(model.item_factors)

    def score(self, asked: Asked) -> np.ndarray:
        return dotted(self.fold_in(asked.histories), self.factors, asked)

    def fold_in(self, histories: sp.csr_matrix) -> np.ndarray:
        """Factors [lists, F] of shoppers, given their own rows alone; zeros without an event."""
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
