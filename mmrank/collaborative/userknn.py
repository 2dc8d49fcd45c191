"""User-based neighbours: what shoppers like this one met."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.preprocessing import normalize

from mmrank.collaborative.base import BLOCK, Asked, Scorer, pack, picked, strongest, unpack


class UserNeighbours(Scorer):
    """Sums of the weights that similar shoppers gave the candidate, times their similarity.

    The similarity of two shoppers is the cosine of their rows, in which an item weighs less the
    more shoppers met it: log(1 + shoppers / those who met it). The `neighbours` most similar
    count, the shopper's own earlier self never.

    Source: Herlocker et al. 1999, "An algorithmic framework for performing collaborative
      filtering"; the inverse user frequency is that of Breese et al. 1998, section 2.1.2.
    """

    def fit(self, matrix: sp.csr_matrix) -> None:
        self.matrix = matrix

    def score(self, asked: Asked) -> np.ndarray:
        met = np.asarray((self.matrix > 0).sum(0)).ravel()
        rarity = sp.diags(np.log1p(self.matrix.shape[0] / np.maximum(met, 1)))
        others = normalize(self.matrix @ rarity).T.tocsr()
        own = normalize(asked.histories @ rarity)
        blocks = []
        for start in range(0, own.shape[0], BLOCK):
            alike = (own[start : start + BLOCK] @ others).tocoo()
            # One who comes back is no neighbour of himself.
            other = alike.col != asked.shoppers[start : start + BLOCK][alike.row]
            entries = (alike.data[other], (alike.row[other], alike.col[other]))
            blocks.append(
                strongest(sp.csr_matrix(entries, shape=alike.shape), self.options.neighbours)
            )
        if not blocks:
            return np.zeros(0)
        return picked(sp.vstack(blocks).tocsr(), self.matrix, asked)

    def arrays(self) -> dict[str, np.ndarray]:
        return pack("matrix", self.matrix)

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.matrix = unpack("matrix", arrays)
