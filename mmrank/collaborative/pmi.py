"""Item vectors from shifted positive pointwise mutual information of items met together."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import svds

from mmrank.collaborative.base import Asked, Scorer, dotted

SMOOTHING = 0.75


class PmiVectors(Scorer):
    """Dot products of the candidate's context vector with the mean word vector of the history.

    sppmi(i, j) = max(log(n_ij / (n_i · p_j)) · n_ij / (n_ij + shrinkage) − log(shift), 0): n_ij
    users met both, n_i is the sum of n_ij over j, and p_j = n_j^0.75 / Σ n^0.75. Without smoothing
    and shrinkage, rare items met together by chance would have the highest values. From the
    truncated SVD, U · sqrt(S) are the word vectors and V · sqrt(S) the context vectors.

    Source: Levy and Goldberg 2014, "Neural word embedding as implicit matrix factorization",
      equation 11 and section 3.3 (symmetric SVD); Levy, Goldberg and Dagan 2015, "Improving
      distributional similarity with lessons learned from word embeddings", equation 3 (smoothing);
      the discount of rare pairs is the first factor of Pantel and Lin 2002, "Discovering word
      senses from text", section 3, with shrinkage for 1.

    Example:
      >>> import numpy as np
      >>> import scipy.sparse as sp
      >>> from mmrank.collaborative import Asked, CollaborativeOptions
      >>> scorer = PmiVectors(CollaborativeOptions(factors=2, shrinkage=0.0))
      >>> scorer.fit(sp.csr_matrix([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]]))
      >>> history = sp.csr_matrix([[1.0, 0, 0]])
      >>> asked = Asked(history, np.array([-1]), np.array([0, 0]), np.array([1, 2]))
      >>> together, apart = scorer.score(asked)
      >>> round(float(together), 2), abs(round(float(apart), 2))  # log 2 for the pair met together
      (0.69, 0.0)
    """

    def fit(self, matrix: sp.csr_matrix) -> None:
        positive = shifted_positive_pmi(matrix, self.options.shift, self.options.shrinkage)
        items = matrix.shape[1]
        rank = min(self.options.factors, items - 1)
        self.words = np.zeros([items, self.options.factors], np.float32)
        self.contexts = np.zeros_like(self.words)
        if positive.nnz and rank > 0:
            start = np.random.default_rng(self.options.seed).random(items, np.float32)
            left, values, right = svds(positive, k=rank, v0=start)
            root = np.sqrt(np.maximum(values, 0.0))
            self.words[:, :rank], self.contexts[:, :rank] = left * root, right.T * root

    def score(self, asked: Asked) -> np.ndarray:
        total = np.asarray(asked.histories.sum(1)).ravel()
        inverse = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
        return dotted(sp.diags(inverse) @ (asked.histories @ self.words), self.contexts, asked)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"words": self.words, "contexts": self.contexts}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.words, self.contexts = arrays["words"], arrays["contexts"]


def shifted_positive_pmi(
    matrix: sp.csr_matrix, shift: float, shrinkage: float = 0.0
) -> sp.csr_matrix:
    """The matrix [items, items] of shifted positive PMI, its diagonal empty.

    Args:
      matrix: [users, items]; an entry above 0 means that the user met the item.
      shift: The k whose logarithm is subtracted.
      shrinkage: Shrinks pairs met together by few users: PMI · n / (n + shrinkage).

    Example:
      Two users met items 0 and 1 together, so that both have half of all pairs. Two meetings, where
      2 · ½ are expected at random, give log 2:

      >>> import scipy.sparse as sp
      >>> matrix = sp.csr_matrix([[1, 1, 0], [1, 1, 0], [0, 0, 1]])
      >>> positive = shifted_positive_pmi(matrix, shift=1.0)
      >>> positive.nnz, round(float(positive[0, 1]), 4)
      (2, 0.6931)
    """
    met = (matrix > 0).astype(np.float32)
    pairs = (met.T @ met).tocoo()
    others = pairs.row != pairs.col
    row, column, seen = pairs.row[others], pairs.col[others], pairs.data[others]
    counts = np.bincount(row, seen, matrix.shape[1])
    smooth = counts**SMOOTHING
    expected = counts[row] * (smooth / max(smooth.sum(), 1.0))[column]
    information = np.log(seen / expected) * seen / (seen + shrinkage)
    values = np.maximum(information - np.log(shift), 0.0).astype(np.float32)
    result = sp.csr_matrix((values, (row, column)), shape=pairs.shape)
    result.eliminate_zeros()
    return result
