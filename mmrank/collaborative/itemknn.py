"""Item-based neighbours: items similar to the items that the user met."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from mmrank.collaborative.base import BLOCK, Asked, Scorer, pack, picked, strongest, unpack


class ItemNeighbours(Scorer):
    """Sums of the candidate's similarities to the items of the history, weighted by the events.

    sim(i, j) = cos(i, j) · n / (n + shrinkage), with the items' columns of weights and n users who
    met both; each item keeps its `neighbours` most similar ones.

    Source: Sarwar et al. 2001, "Item-based collaborative filtering recommendation algorithms",
      section 3.1.1; shrinkage as in Bell and Koren 2007, "Scalable collaborative filtering with
      jointly derived neighborhood interpolation weights", equation 4 and text.

    Example:
      Two users met items 0 and 1, a third one item 2. A new user who met item 0 is asked about the
      others:

      >>> import numpy as np
      >>> import scipy.sparse as sp
      >>> from mmrank.collaborative import Asked, CollaborativeOptions
      >>> scorer = ItemNeighbours(CollaborativeOptions(shrinkage=0.0))
      >>> scorer.fit(sp.csr_matrix([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]]))
      >>> history = sp.csr_matrix([[1.0, 0, 0]])
      >>> scorer.score(Asked(history, np.array([-1]), np.array([0, 0]), np.array([1, 2]))).round(4)
      array([1., 0.])
    """

    def fit(self, matrix: sp.csr_matrix) -> None:
        matrix = matrix.astype(np.float32)
        norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(0)).ravel())
        inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
        unit = (matrix @ sp.diags(inverse)).tocsr()
        met = matrix.sign()
        by_item, met_by_item = unit.T.tocsr(), met.T.tocsr()
        blocks = []
        for start in range(0, matrix.shape[1], BLOCK):
            block = slice(start, start + BLOCK)
            similar = (by_item[block] @ unit).tocsr()
            together = (met_by_item[block] @ met).tocsr()
            similar.sort_indices()  # both have the same entries: in this order they match
            together.sort_indices()
            similar.data *= together.data / (together.data + self.options.shrinkage)
            rows = np.repeat(np.arange(similar.shape[0]), np.diff(similar.indptr))
            similar.data[similar.indices == rows + start] = 0.0
            blocks.append(strongest(similar, self.options.neighbours))
        # Row i: the items whose scores an event with item i raises.
        self.similar = sp.vstack(blocks).tocsr()

    def score(self, asked: Asked) -> np.ndarray:
        return picked(asked.histories, self.similar, asked)

    def arrays(self) -> dict[str, np.ndarray]:
        return pack("similar", self.similar)

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.similar = unpack("similar", arrays)
