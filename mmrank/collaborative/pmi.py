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
    shoppers met both, n_i is the sum of n_ij over j, and p_j = n_j^0.75 / Σ n^0.75. Smoothing and
    shrinkage are there because rare items met together by chance would come out highest. Of its
    truncated SVD U · sqrt(S) are the word vectors and V · sqrt(S) the context vectors.

    Source: Levy and Goldberg 2014, "Neural word embedding as implicit matrix factorization",
      equation 11 and section 3.3 (symmetric SVD); Levy, Goldberg and Dagan 2015, "Improving
      distributional similarity with lessons learned from word embeddings", equation 3 (smoothing);
      the discount of rare pairs is the first factor of Pantel and Lin 2002, "Discovering word
      senses from text", section 3, with shrinkage for 1.
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
      matrix: [shoppers, items]; an entry above 0 says that the shopper met the item.
      shift: The k whose logarithm is taken off.
      shrinkage: Of pairs met together by few: PMI · n / (n + shrinkage).
    """
    met = (matrix > 0).astype(np.float32)
    pairs = (met.T @ met).tocoo()
    others = pairs.row != pairs.col
    row, column, seen = pairs.row[others], pairs.col[others], pairs.data[others]
    counts = np.bincount(row, seen, matrix.shape[1])
    smooth = counts**SMOOTHING
    chance = counts[row] * (smooth / max(smooth.sum(), 1.0))[column]
    information = np.log(seen / chance) * seen / (seen + shrinkage)
    values = np.maximum(information - np.log(shift), 0.0).astype(np.float32)
    result = sp.csr_matrix((values, (row, column)), shape=pairs.shape)
    result.eliminate_zeros()
    return result
