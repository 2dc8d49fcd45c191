"""Item factors foretold from what items say of themselves, for those that few have met."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import RidgeCV

from mmrank.collaborative.als import AlternatingLeastSquares
from mmrank.data.content import content_bags
from mmrank.data.tables import Dataset

TOPICS = 128
TRUST = 3.0
PENALTIES = np.logspace(-2, 3, 6)


class ContentFactors(AlternatingLeastSquares):
    """Factors of `als`, drawn towards those that an item's content foretells the fewer have met it.

    (n · own + 3 · foretold) / (n + 3) for an item that n shoppers met: what is foretold stands in
    for an item without an event, and says little of one with many.

    Source: the map from attributes to factors: Gantner et al. 2010, "Learning attribute-to-feature
      mappings for cold-start recommendations", with a ridge regression as the map.
    """

    scores_new_items = True

    def know(self, dataset: Dataset) -> None:
        bags, _ = content_bags(dataset)
        self._content = topics(bags, self.options.seed)

    def fit(self, matrix: sp.csr_matrix) -> None:
        super().fit(matrix)
        met = np.asarray((matrix > 0).sum(0)).ravel()
        self.factors = with_foretold(self.factors, met, self._content)


def topics(bags: sp.csr_matrix, seed: int) -> np.ndarray:
    """The content of items in few numbers, [items, topics] float64.

    Args:
      bags: Words of items, [items, words].
      seed: Of the decomposition.

    Source: latent semantic analysis, Deerwester et al. 1990: a truncated SVD of tf-idf.
    """
    count = min(TOPICS, min(bags.shape) - 1)
    if count < 1:
        return bags.toarray().astype(np.float64)
    weighed = TfidfTransformer(sublinear_tf=True).fit_transform(bags)
    return TruncatedSVD(count, random_state=seed).fit_transform(weighed)


def with_foretold(factors: np.ndarray, met: np.ndarray, content: np.ndarray) -> np.ndarray:
    """The factors [items, F] float32 of all items, foretold ones mixed in.

    The map is a ridge regression from content to factors over the items that anybody met, its
    penalty chosen by leaving one out. Rarely met ones, whose factors are small, belong to it: what
    is foretold would otherwise be that of a popular item. With fewer such items than factors the
    factors stay as they are.

    Args:
      factors: [items, F].
      met: Shoppers who met each item, [items].
      content: [items, topics].
    """
    known = met > 0
    if known.sum() <= factors.shape[1]:
        return factors
    ridge = RidgeCV(alphas=PENALTIES).fit(content[known], factors[known])
    foretold = ridge.predict(content).reshape(factors.shape)
    own = (met / (met + TRUST))[:, None]
    return (own * factors + (1.0 - own) * foretold).astype(np.float32)
