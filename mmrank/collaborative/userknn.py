"""User-based neighbours: items that similar users met."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from mmrank.collaborative.base import BLOCK, Asked, Scorer, pack, picked, strongest, unpack


class UserNeighbours(Scorer):
    """Sums of the weights that similar users gave the candidate, times their similarity.

    The similarity of two users is the cosine of their rows, in which an item weighs less the more
    users met it: log(1 + users / users who met it). Only the `neighbours` most similar users count,
    and never the user's own earlier row.

    Source: Herlocker et al. 1999, "An algorithmic framework for performing collaborative
      filtering"; the inverse user frequency is that of Breese et al. 1998, section 2.1.2.

    Example:
      Two users met items 0 and 1, a third one item 2. For a new user who met item 0, the first two
      are neighbours with a cosine of √½ each, since both items are equally rare:

      >>> import numpy as np
      >>> import scipy.sparse as sp
      >>> from mmrank.collaborative import Asked, CollaborativeOptions
      >>> scorer = UserNeighbours(CollaborativeOptions())
      >>> scorer.fit(sp.csr_matrix([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]]))
      >>> history = sp.csr_matrix([[1.0, 0, 0]])
      >>> asked = Asked(history, np.array([-1]), np.array([0, 0]), np.array([1, 2]))
      >>> scorer.score(asked).round(4).tolist()
      [1.4142, 0.0]
    """

    def fit(self, matrix: sp.csr_matrix) -> None:
        self.matrix = matrix

    def score(self, asked: Asked) -> np.ndarray:
        # Slow to import, and a server of rankers without these scores needs no part of it.
        from sklearn.preprocessing import normalize

        met = np.asarray((self.matrix > 0).sum(0)).ravel()
        rarity = sp.diags(np.log1p(self.matrix.shape[0] / np.maximum(met, 1)))
        others = normalize(self.matrix @ rarity).T.tocsr()
        own = normalize(asked.histories @ rarity)
        blocks = []
        for start in range(0, own.shape[0], BLOCK):
            alike = (own[start : start + BLOCK] @ others).tocoo()
            # A returning user is not a neighbour of themselves.
            other = alike.col != asked.users[start : start + BLOCK][alike.row]
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
